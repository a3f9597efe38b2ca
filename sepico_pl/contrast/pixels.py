"""Labels at embedding resolution, and the pixels that take part in the contrast.

Shapes: B batch, C classes, D embedding width, H, W label size, h, w embedding size, N selected
pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sepico_pl.types import IGNORE_INDEX


def downscale_labels(labels: Tensor, scale: int, num_classes: int, min_share: float) -> Tensor:
    """Keep, for each cell of scale x scale pixels, its majority class if its share is large enough.

    SePiCo's released code (the label downscaling of DAFormer, Hoyer et al. 2022). Pixels to
    ignore take part as a class of their own; rows and columns beyond the last whole cell are
    dropped.

    Args:
        labels: (B, H, W) int64, class ids or `IGNORE_INDEX`.
        scale: side of a cell in pixels, >= 1.
        num_classes: C.
        min_share: smallest share of the cell, in [0, 1], with which a class represents it.

    Returns:
        (B, H // scale, W // scale) int64.
    """
    height, width = labels.shape[-2] // scale, labels.shape[-1] // scale
    whole = labels[:, : height * scale, : width * scale]
    cells = whole.reshape(-1, height, scale, width, scale).transpose(2, 3).flatten(3)
    cells = cells.masked_fill(cells == IGNORE_INDEX, num_classes)
    counts = cells.new_zeros(*cells.shape[:3], num_classes + 1, dtype=torch.int32)
    counts.scatter_add_(3, cells, torch.ones_like(cells, dtype=torch.int32))
    count, majority = counts.max(dim=3)
    left_out = (majority == num_classes) | (count / scale**2 < min_share)
    return majority.masked_fill(left_out, IGNORE_INDEX)


def nearest_labels(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """Sample labels (B, H, W) int64 at the nearest pixels of a grid of `size` (h, w)."""
    return F.interpolate(labels[:, None].float(), size=size, mode="nearest")[:, 0].long()


def labels_at(
    labels: Tensor, size: tuple[int, int], num_classes: int, min_share: float | None
) -> Tensor:
    """Bring labels to embedding resolution.

    By pooling where the label size is a whole multiple of `size` (the official code needs that),
    else by nearest sampling to the next whole multiple first. `min_share=None` samples the nearest
    label.

    Args:
        labels: (B, H, W) int64, class ids or `IGNORE_INDEX`.
        size: (h, w) of the embedding map.
        num_classes: C.
        min_share: see `downscale_labels`; None for nearest sampling.

    Returns:
        (B, h, w) int64.
    """
    if min_share is None:
        return nearest_labels(labels, size)
    scale = max(1, round(labels.shape[-1] / size[1]))
    whole = (size[0] * scale, size[1] * scale)
    if labels.shape[-2:] != whole:
        labels = nearest_labels(labels, whole)
    return downscale_labels(labels, scale, num_classes, min_share)


def select_pixels(
    embeddings: Tensor, labels: Tensor, num_classes: int, min_share: float | None
) -> tuple[Tensor, Tensor]:
    """Pick the embeddings whose cell has a class.

    Args:
        embeddings: (B, D, h, w).
        labels: (B, H, W) int64, class ids or `IGNORE_INDEX`.
        num_classes: C.
        min_share: see `labels_at`.

    Returns:
        The embeddings (N, D) and the classes (N,) of the selected pixels; N may be 0.
    """
    size = (embeddings.shape[-2], embeddings.shape[-1])
    cells = labels_at(labels, size, num_classes, min_share)
    places = (cells != IGNORE_INDEX).nonzero(as_tuple=True)
    return embeddings.movedim(1, -1)[places], cells[places]
