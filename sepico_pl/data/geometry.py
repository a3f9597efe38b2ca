"""Geometric transforms of image and label together, on the CPU, by albumentations.

Arrays: image (H, W, 3) uint8 RGB, label (H, W) uint8; sizes are (height, width).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch import Tensor

from sepico_pl.types import (
    IGNORE_INDEX,
    IMAGENET_MEAN,
    IMAGENET_STD,
    ByteArray,
    InputError,
    Size,
)

if TYPE_CHECKING:  # it takes time to import, and networks are used without it
    import albumentations as A


def fitted_size(size: Size, box: Size) -> tuple[int, int]:
    """Return the largest height and width within `box` of the aspect ratio of `size`.

    As mmseg's Resize: the longer side within the box's longer one, the shorter within its shorter.
    """
    height, width = size
    scale = min(max(box) / max(size), min(box) / min(size))
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def fit(image: ByteArray, label: ByteArray | None, box: Size) -> tuple[ByteArray, ByteArray | None]:
    """Resize to `fitted_size`; labels by nearest."""
    height, width = fitted_size(image.shape[:2], box)
    resized = resize_image(image, (height, width))
    if label is None or label.shape == (height, width):
        return resized, label
    nearest = cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST)
    return resized, nearest.astype(np.uint8, copy=False)


def resize_image(image: ByteArray, size: Size) -> ByteArray:
    """Resize an image bilinearly to height and width."""
    if image.shape[:2] == tuple(size):
        return image
    resized = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return resized.astype(np.uint8, copy=False)


def common_size(sizes: Iterable[Size], box: Size) -> tuple[int, int]:
    """Return the commonest size that images of `sizes` have after `fit`."""
    return Counter(fitted_size(size, box) for size in sizes).most_common(1)[0][0]


def to_size(image: ByteArray, box: Size, size: Size, where: tuple[float, float]) -> ByteArray:
    """Fit an image into `box`, and make it `size`: where it is not, scale it to cover, and crop.

    Args:
        image: of any size.
        box: height and width to fit into.
        size: height and width to return.
        where: of the crop in what is left over, vertically and horizontally, each in [0, 1].
    """
    height, width = image.shape[:2]
    if fitted_size((height, width), box) == tuple(size):
        return resize_image(image, size)
    scale = max(size[0] / height, size[1] / width)
    covering = (max(size[0], round(height * scale)), max(size[1], round(width * scale)))
    top, left = (
        round(place * (long - short))
        for place, long, short in zip(where, covering, size, strict=True)
    )
    return resize_image(image, covering)[top : top + size[0], left : left + size[1]]


def to_tensor(image: ByteArray) -> Tensor:
    """Normalise by ImageNet's mean and deviation: (3, H, W) float32."""
    channels_first = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    mean = torch.tensor(IMAGENET_MEAN)[:, None, None]
    std = torch.tensor(IMAGENET_STD)[:, None, None]
    return (channels_first / 255 - mean) / std


def label_tensor(label: ByteArray) -> Tensor:
    """Return label ids as (H, W) int64."""
    return torch.from_numpy(label.astype(np.int64))


def is_balanced(label: ByteArray, largest_share: float) -> bool:
    """Whether several classes are present and none holds `largest_share` of the labelled pixels."""
    counts = np.bincount(label[label != IGNORE_INDEX].ravel())
    return int((counts > 0).sum()) > 1 and bool(counts.max() < largest_share * counts.sum())


class RandomCropFlip:
    """Crop and mirror a source image with its label, trying again until the crop is accepted.

    Args:
        size: height and width of the crop; smaller images are padded (label 255).
        tries: how many crops are drawn at most; the last one stands.
    """

    def __init__(self, size: Size, tries: int) -> None:
        """Build the transforms."""
        import albumentations as A

        height, width = size
        self.tries = tries
        self.transforms = A.Compose(
            [
                A.PadIfNeeded(
                    height,
                    width,
                    position="top_left",
                    fill=tuple(255 * mean for mean in IMAGENET_MEAN),
                    fill_mask=IGNORE_INDEX,
                ),
                A.RandomCrop(height, width),
                A.HorizontalFlip(p=0.5),
            ]
        )

    def __call__(
        self,
        image: ByteArray,
        label: ByteArray,
        dice: np.random.Generator,
        accepts: Callable[[ByteArray], bool],
    ) -> tuple[ByteArray, ByteArray]:
        """Return the first crop whose label `accepts` takes, by decisions of `dice` alone."""
        for _ in range(self.tries):
            self.transforms.set_random_seed(int(dice.integers(2**32)))
            drawn = self.transforms(image=image, mask=label)
            if accepts(drawn["mask"]):
                break
        return drawn["image"], drawn["mask"]


class RandomFlip:
    """Mirror unlabelled images with probability 0.5, all or none of them."""

    @cached_property
    def transforms(self) -> "A.Compose":
        """The transform, built when it is first used."""
        import albumentations as A

        return A.Compose([A.HorizontalFlip(p=0.5)])

    def __call__(self, images: Sequence[ByteArray], dice: np.random.Generator) -> list[ByteArray]:
        """Return the images or their mirror images, by decisions of `dice` alone."""
        seed = int(dice.integers(2**32))
        flipped = []
        for image in images:
            self.transforms.set_random_seed(seed)
            flipped.append(self.transforms(image=image)["image"])
        return flipped


def check_crop_fits(size: Size, crop: Size) -> None:
    """Compare the crop with target images as they are after `fit`.

    Raises:
        InputError: if the crop is larger.
    """
    height, width = size
    if crop[0] > height or crop[1] > width:
        message = (
            f"data.crop_size: a crop of {crop[0]}x{crop[1]} (height x width) is larger than "
            f"target images, {height}x{width} within data.target_size; choose a smaller crop"
        )
        raise InputError(message)
