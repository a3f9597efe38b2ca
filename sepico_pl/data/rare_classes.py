"""Rare class sampling: source images with rare classes are drawn more often.

DAFormer, Hoyer et al., CVPR 2022. Shapes: n images, C classes, K classes that occur.
"""

import numpy as np
from numpy.typing import NDArray

from sepico_pl.data.datasets import Counts, SegmentationFolder
from sepico_pl.types import IGNORE_INDEX, ByteArray, InputError, LabelledImages


def count_classes(scenes: LabelledImages, num_classes: int) -> Counts:
    """Count the pixels of each class in each label: (n, C).

    Files were counted when they were checked, and are not decoded again.

    Raises:
        InputError: naming the first item with an unknown class id, or if there is no item.
    """
    if isinstance(scenes, SegmentationFolder) and scenes.num_classes == num_classes:
        return scenes.class_counts
    if not len(scenes):
        message = "there is no source image to count classes in; the data set needs at least one"
        raise InputError(message)
    return np.stack(
        [
            _count_label(scenes.label(index), num_classes, scenes.name(index))
            for index in range(len(scenes))
        ]
    )


def _count_label(label: ByteArray, num_classes: int, name: str) -> Counts:
    counts = np.bincount(label[label != IGNORE_INDEX], minlength=num_classes)
    if len(counts) > num_classes:
        message = (
            f"{name}: class id {len(counts) - 1} in the label; known are 0 to {num_classes - 1}, "
            f"and {IGNORE_INDEX} for pixels to ignore"
        )
        raise InputError(message)
    return counts.astype(np.int64)


def class_probabilities(
    counts: Counts, temperature: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return how often each class is drawn: softmax((1 - f_c) / T), f_c its share of all pixels.

    Args:
        counts: (n, C) pixels of each class in each image, or (C,) in all.
        temperature: T > 0; the smaller, the more often rare classes are drawn.

    Returns:
        The classes (K,) that occur, in ascending order, and their probabilities (K,).

    Raises:
        InputError: if the temperature is not positive, or no pixel has a class.
    """
    if not temperature > 0:
        message = f"data.rare_class_temperature={temperature} must be positive"
        raise InputError(message)
    total = np.atleast_2d(counts).sum(axis=0)
    classes = np.flatnonzero(total)
    if not len(classes):
        message = "no source label has a pixel with a class; check the labels and the class ids"
        raise InputError(message)
    logits = (1 - total[classes] / total.sum()) / temperature
    weights = np.exp(logits - logits.max())
    return classes, weights / weights.sum()


class RareClassSampling:
    """Draws a class, then an image that shows it.

    Args:
        counts: (n, C) pixels of each class in each source label.
        temperature: see `class_probabilities`.
        min_pixels: pixels of the class that an image must exceed; where none does, any image with
            the class will do.
    """

    def __init__(self, counts: Counts, *, temperature: float, min_pixels: int) -> None:
        """Find the images of each class.

        Raises:
            InputError: for a negative number of pixels; see also `class_probabilities`.
        """
        if min_pixels < 0:
            message = f"data.rare_class_pixels={min_pixels} must be 0 or more"
            raise InputError(message)
        self.classes, self.probabilities = class_probabilities(counts, temperature)
        self.min_pixels = min_pixels
        self.images = {int(c): self._showing(counts[:, c]) for c in self.classes}

    def _showing(self, counts: Counts) -> NDArray[np.int64]:
        many = np.flatnonzero(counts > self.min_pixels)
        return many if len(many) else np.flatnonzero(counts)

    def draw(self, dice: np.random.Generator) -> tuple[int, int]:
        """Return a class and the index of an image with it."""
        chosen = int(dice.choice(self.classes, p=self.probabilities))
        return chosen, int(dice.choice(self.images[chosen]))
