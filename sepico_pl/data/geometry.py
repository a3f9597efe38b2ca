"""Geometric transforms of image and label together, on the CPU, by albumentations.

Arrays: image (H, W, 3) uint8 RGB, label (H, W) uint8; sizes are (height, width).
"""

from collections.abc import Callable

import albumentations as A
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


def fit(image: ByteArray, label: ByteArray | None, box: Size) -> tuple[ByteArray, ByteArray | None]:
    """Resize to the largest size within `box`, keeping the aspect ratio; labels by nearest."""
    height, width = image.shape[:2]
    scale = min(box[0] / height, box[1] / width)
    size = (int(width * scale + 0.5), int(height * scale + 0.5))
    if size == (width, height):
        return image, label
    resized = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
    if label is None:
        return resized, None
    nearest = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST)
    return resized, nearest.astype(np.uint8, copy=False)


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
    """Mirror an unlabelled image with probability 0.5."""

    def __init__(self) -> None:
        """Build the transform."""
        self.transforms = A.Compose([A.HorizontalFlip(p=0.5)])

    def __call__(self, image: ByteArray, dice: np.random.Generator) -> ByteArray:
        """Return the image or its mirror image, by decisions of `dice` alone."""
        self.transforms.set_random_seed(int(dice.integers(2**32)))
        flipped: ByteArray = self.transforms(image=image)["image"]
        return flipped


def check_crop_fits(image: ByteArray, crop: Size, box: Size, domain: str) -> None:
    """Compare the crop with an image as it is after `fit`.

    Raises:
        InputError: if the crop is larger.
    """
    height, width = fit(image, None, box)[0].shape[:2]
    if crop[0] > height or crop[1] > width:
        message = (
            f"data.crop_size: a crop of {crop[0]}x{crop[1]} (height x width) is larger than "
            f"{domain} images, {height}x{width} within data.{domain}_size; choose a smaller crop"
        )
        raise InputError(message)
