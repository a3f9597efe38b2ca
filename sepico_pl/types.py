"""What every room shares: batches, image collections and the error a user sees.

Importing it imports no torch, so that commands which only read files answer at once.

Shapes: B batch, C classes, H and W image height and width, h and w the same at embedding
resolution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import (
    TYPE_CHECKING,
    Any,
    NamedTuple,
    NotRequired,
    Protocol,
    TypedDict,
    runtime_checkable,
)

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

IGNORE_INDEX = 255
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

ByteArray = NDArray[np.uint8]
Config = dict[str, Any]
"""A configuration, or a part of one, as plain types."""
Colour = tuple[int, int, int]


class InputError(ValueError):
    """Something the user gave cannot be used; the message names it and the remedy, on one line."""


class SourceBatch(TypedDict):
    """Source crops: image (B, 3, H, W) float, normalised; label (B, H, W) int64, 255 ignored."""

    image: Tensor
    label: Tensor


class TargetBatch(TypedDict):
    """Unlabelled, uncropped target images: image (B, 3, H, W) float, ImageNet-normalised.

    A night image may come with a reference (B, 3, H, W), the same place by day.
    """

    image: Tensor
    reference: NotRequired[Tensor]


class AdaptationBatch(TypedDict):
    """What one training step receives; there is no field for a target label."""

    source: SourceBatch
    target: TargetBatch


class Preview(NamedTuple):
    """What one training step learnt the target from, for people to look at.

    Attributes:
        target: the weak target crops (B, 3, H, W), normalised.
        pseudo_label: the teacher's labels of them (B, H, W) int64.
        confidence: their probability (B, H, W); a vote with class weights may exceed 1.
        mixed: the strong class mix (B, 3, H, W), normalised.
        mixed_label: its labels (B, H, W) int64, 255 ignored.
    """

    target: Tensor
    pseudo_label: Tensor
    confidence: Tensor
    mixed: Tensor
    mixed_label: Tensor


class EvaluationBatch(TypedDict):
    """Images (B, 3, H, W) at the network's input size, labels (B, H', W') int64 at their own."""

    image: Tensor
    label: Tensor


@dataclass(frozen=True)
class ClassSet:
    """Class names in the order of their ids, each with its RGB colour (0..255).

    Attributes:
        subsets: class ids by the name of the mean IoU over them, where several are in use.
    """

    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    subsets: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of classes C."""
        return len(self.names)


@runtime_checkable
class UnlabelledImages(Protocol):
    """A collection of RGB images: item i is (H, W, 3) uint8."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> ByteArray: ...

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of item `index`, without decoding it."""
        ...

    def name(self, index: int) -> str:
        """Return what to call item `index` in a message (a file name, or a scene number)."""
        ...


@runtime_checkable
class ReferencedImages(UnlabelledImages, Protocol):
    """Unlabelled images, each with a reference (H, W, 3) uint8 of the same place by day."""

    def reference(self, index: int) -> ByteArray:
        """Return the reference of item `index`."""
        ...


@runtime_checkable
class LabelledImages(Protocol):
    """Pairs of image (H, W, 3) uint8 RGB and label (H, W) uint8 class ids, 255 ignored."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[ByteArray, ByteArray]: ...

    def label(self, index: int) -> ByteArray:
        """Return label `index` alone, (H, W) uint8."""
        ...

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of item `index`, without decoding it."""
        ...

    def name(self, index: int) -> str:
        """Return what to call item `index` in a message (a file name, or a scene number)."""
        ...


@dataclass(frozen=True)
class DomainPair:
    """A source and a target domain: all the data one experiment needs.

    A validation set is None where there is none. Files are looked for when they are first needed.
    """

    classes: ClassSet
    source_train: LabelledImages
    target_train: UnlabelledImages
    source_val: LabelledImages | None
    target_val: LabelledImages | None


Size = Sequence[int]
"""Height and width in pixels, in this order."""
