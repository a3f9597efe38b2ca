"""Class mix: source classes pasted onto target images (DACS, Tranheden et al., WACV 2021)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sepico_pl.ranks import sum_over_ranks
from sepico_pl.types import IGNORE_INDEX


def classes_present(labels: Tensor) -> Tensor:
    """Return the ids (K,) in the labels (B, H, W) of all ranks, ascending, 255 among them.

    On the host, which waits for them.
    """
    ids = labels.flatten()
    counts = ids.new_zeros(IGNORE_INDEX + 1).scatter_add_(0, ids, torch.ones_like(ids))
    return sum_over_ranks(counts).cpu().nonzero()[:, 0]


def class_masks(labels: Tensor, classes: Sequence[Tensor]) -> Tensor:
    """Mark each image's pixels of its classes: labels (B, H, W), B tensors of ids: (B, H, W)."""
    chosen = torch.zeros(len(labels), IGNORE_INDEX + 1, dtype=torch.bool)
    for row, ids in zip(chosen, classes, strict=True):
        row[ids] = True
    chosen = chosen.to(labels.device, non_blocking=True)
    return chosen.gather(1, labels.flatten(1)).view_as(labels)


def paste(mask: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Lay the masked source over the target: mask (B, H, W) bool over (B, H, W) or (B, K, H, W)."""
    return torch.where(mask if source.ndim == mask.ndim else mask[:, None], source, target)
