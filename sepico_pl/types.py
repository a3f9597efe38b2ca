"""What every room shares: batches, image collections and the error a user sees.

Shapes: B batch, C classes, H and W image height and width, h and w the same at embedding
resolution.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypedDict, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

IGNORE_INDEX = 255
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

ByteArray = NDArray[np.uint8]
Colour = tuple[int, int, int]


class InputError(ValueError):
    """Something the user gave cannot be used; the message names it and the remedy, on one line."""


class SourceBatch(TypedDict):
    """Source crops: image (B, 3, H, W) float, normalised; label (B, H, W) int64, 255 ignored."""

    image: Tensor
    label: Tensor


class TargetBatch(TypedDict):
    """Unlabelled, uncropped target images: image (B, 3, H, W) float, ImageNet-normalised."""

    image: Tensor


class AdaptationBatch(TypedDict):
    """What one training step receives; there is no field for a target label."""

    source: SourceBatch
    target: TargetBatch


class EvaluationBatch(TypedDict):
    """Images (B, 3, H, W) at the network's input size, labels (B, H', W') int64 at their own."""

    image: Tensor
    label: Tensor


@dataclass(frozen=True)
class ClassSet:
    """Class names in the order of their ids, each with its RGB colour (0..255)."""

    names: tuple[str, ...]
    palette: tuple[Colour, ...]

    def __len__(self) -> int:
        """Return the number of classes C."""
        return len(self.names)


@runtime_checkable
class UnlabelledImages(Protocol):
    """A collection of RGB images: item i is (H, W, 3) uint8."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> ByteArray: ...


@runtime_checkable
class LabelledImages(Protocol):
    """Pairs of image (H, W, 3) uint8 RGB and label (H, W) uint8 class ids, 255 ignored."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[ByteArray, ByteArray]: ...

    def label(self, index: int) -> ByteArray:
        """Return label `index` alone, (H, W) uint8."""
        ...

    def name(self, index: int) -> str:
        """Return what to call item `index` in a message (a file name, or a scene number)."""
        ...


@dataclass(frozen=True)
class DomainPair:
    """A source and a target domain: all the data one experiment needs."""

    classes: ClassSet
    source_train: LabelledImages
    target_train: UnlabelledImages
    source_val: LabelledImages
    target_val: LabelledImages


Size = Sequence[int]
"""Height and width in pixels, in this order."""
