"""Class-balanced crop of the target, by its pseudo-labels.

Shapes: B batch, C classes, H, W image size, T candidate crops.
"""

from collections.abc import Sequence

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

    def choose(self, labels: Tensor, num_classes: int, chance: Chance) -> list[tuple[int, int]]:
        """Choose the top left corner of each image's crop by its labels (B, H, W).

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
        if max(room) == 0:
            return [(0, 0)] * len(labels)
        scores = crop_score(self._counts(labels, corners, num_classes), self.largest_share)
        best = scores.argmax(dim=1).cpu()
        chosen = corners[torch.arange(len(labels)), best]
        return [(int(top), int(left)) for top, left in chosen]

    def _counts(self, labels: Tensor, corners: Tensor, num_classes: int) -> Tensor:
        rows = [
            torch.stack([self._class_counts(label, corner, num_classes) for corner in candidates])
            for label, candidates in zip(labels, corners.tolist(), strict=True)
        ]
        return torch.stack(rows)

    def _class_counts(self, label: Tensor, corner: Sequence[int], num_classes: int) -> Tensor:
        crop = self._crop_one(label, corner)
        return torch.bincount(crop[crop != IGNORE_INDEX], minlength=num_classes)

    def _crop_one(self, image: Tensor, corner: Sequence[int]) -> Tensor:
        top, left = corner
        return image[..., top : top + self.height, left : left + self.width]

    def __call__(self, images: Tensor, corners: Sequence[Sequence[int]]) -> Tensor:
        """Crop images (B, ..., H, W) at the chosen corners."""
        pairs = zip(images, corners, strict=True)
        return torch.stack([self._crop_one(image, corner) for image, corner in pairs])
