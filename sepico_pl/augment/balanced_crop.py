"""Class-balanced crop of the target, by its pseudo-labels.

Shapes: B batch, C classes, H, W image size, T candidate crops.
"""

import torch
from torch import Tensor

from sepico_pl.augment.chance import Chance
from sepico_pl.types import IGNORE_INDEX, InputError, Size


def crop_score(counts: Tensor, largest_share: float) -> Tensor:
    """Score crops by how many classes they hold, and how evenly.

    Sum over classes with more than one pixel of ln(count); 0 where fewer than two classes are
    present or the largest holds `largest_share` of the counted pixels or more.

    Args:
        counts: (..., C) pixels of each class in a crop, those to ignore left out.
        largest_share: in (0, 1].

    Returns:
        (...) float64.
    """
    counts = counts.double()
    total = counts.sum(dim=-1)
    several = (counts > 0).sum(dim=-1) >= 2
    balanced = counts.amax(dim=-1) < largest_share * total
    logs = torch.where(counts > 1, counts.clamp(min=1).log(), 0.0)
    return torch.where(several & balanced, logs.sum(dim=-1), 0.0)


class ClassBalancedCrop:
    """Crop every spatial tensor of a target batch where its pseudo-labels are most balanced.

    Args:
        size: height and width of the crop.
        tries: random candidates per image; the best wins, the first among equals.
        largest_share: see `crop_score`.
    """

    def __init__(self, *, size: Size, tries: int, largest_share: float) -> None:
        """Remember the crop."""
        self.height, self.width = size
        self.tries = tries
        self.largest_share = largest_share

    def keeps(self, images: Tensor) -> bool:
        """Whether the crop is the whole of images (B, ..., H, W)."""
        return images.shape[-2:] == (self.height, self.width)

    def choose(self, labels: Tensor, num_classes: int, chance: Chance) -> Tensor:
        """Choose the top left corner of each image's crop by its labels (B, H, W): (B, 2) int64.

        Raises:
            InputError: if the crop is larger than the image.
        """
        room = (labels.shape[-2] - self.height, labels.shape[-1] - self.width)
        if min(room) < 0:
            message = (
                f"data.crop_size: a crop of {self.height}x{self.width} does not fit target images "
                f"of {labels.shape[-2]}x{labels.shape[-1]} (height x width); choose a smaller crop"
            )
            raise InputError(message)
        corners = chance.crop_corners(len(labels), self.tries, room)
        corners = corners.to(labels.device, non_blocking=True)
        scores = crop_score(self._counts(labels, corners, num_classes), self.largest_share)
        best = scores.argmax(dim=1)
        return corners.take_along_dim(best[:, None, None], dim=1)[:, 0]

    def _counts(self, labels: Tensor, corners: Tensor, num_classes: int) -> Tensor:
        """Count the classes in crops of labels (B, H, W) at corners (B, T, 2): (B, T, C)."""
        labels = labels.masked_fill(labels == IGNORE_INDEX, num_classes)
        counts = labels.new_zeros(*corners.shape[:2], num_classes + 1)
        for count, candidates in zip(counts.unbind(1), corners.unbind(1), strict=True):
            crops = self(labels, candidates).flatten(1)
            count.scatter_add_(1, crops, torch.ones_like(crops))
        return counts[..., :num_classes]

    def __call__(self, images: Tensor, corners: Tensor) -> Tensor:
        """Crop images (B, H, W) or (B, K, H, W) at corners (B, 2); no host waits for them."""
        maps = images if images.ndim == 4 else images[:, None]
        image = torch.arange(len(maps), device=maps.device)[:, None, None, None]
        channel = torch.arange(maps.shape[1], device=maps.device)[:, None, None]
        row = corners[:, :1] + torch.arange(self.height, device=maps.device)
        column = corners[:, 1:] + torch.arange(self.width, device=maps.device)
        cropped = maps[image, channel, row[:, None, :, None], column[:, None, None, :]]
        return cropped.view(len(images), *images.shape[1:-2], self.height, self.width)
