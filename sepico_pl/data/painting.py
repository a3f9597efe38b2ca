"""Class ids as pictures: in the classes' colours, what is ignored in black.

Arrays: image and colours (H, W, 3) uint8 RGB, ids (H, W) uint8 with 255 ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sepico_pl.types import IGNORE_INDEX, ByteArray, ClassSet

OPACITY = 0.5
SIDE_PER_LINE_PIXEL = 300
WHITE = 255


@dataclass(frozen=True)
class Picture:
    """An image, with class ids of its pixels from one or several sources.

    Attributes:
        name: of the image.
        image: (H, W, 3).
        labels: ids (H, W) by where they come from ("truth", "student", ...).
        confidence: probability of the most likely class, (H, W), 255 for 1; None for none.
    """

    name: str
    image: ByteArray
    labels: Mapping[str, ByteArray]
    confidence: ByteArray | None = None


def palette_of(classes: ClassSet) -> ByteArray:
    """Return the colour of each id, (256, 3) uint8; black for ids of no class."""
    palette = np.zeros((IGNORE_INDEX + 1, 3), np.uint8)
    palette[: len(classes)] = classes.palette
    return palette


def paint(ids: ByteArray, classes: ClassSet) -> ByteArray:
    """Return ids (H, W) as colours (H, W, 3)."""
    return palette_of(classes)[ids]


def overlay(image: ByteArray, ids: ByteArray, classes: ClassSet) -> ByteArray:
    """Lay the classes' colours over a photograph, with white lines where classes meet.

    Args:
        image: the photograph (H, W, 3).
        ids: its classes (H, W).
        classes: their colours.

    Returns:
        The picture (H, W, 3).
    """
    tinted = cv2.addWeighted(image, 1 - OPACITY, paint(ids, classes), OPACITY, 0)
    tinted[boundaries(ids, thickness=max(1, min(ids.shape) // SIDE_PER_LINE_PIXEL))] = WHITE
    return tinted.astype(np.uint8, copy=False)


def boundaries(ids: ByteArray, thickness: int) -> NDArray[np.bool_]:
    """Mark (H, W) the pixels whose right or lower neighbour has another class.

    Args:
        ids: classes (H, W).
        thickness: of the lines in pixels, at least 1.
    """
    marked = np.zeros(ids.shape, np.uint8)
    marked[:, :-1] |= ids[:, :-1] != ids[:, 1:]
    marked[:-1] |= ids[:-1] != ids[1:]
    widened = cv2.dilate(marked, np.ones((thickness, thickness), np.uint8))
    return np.asarray(widened > 0)


def palette_image(ids: ByteArray, classes: ClassSet) -> Image.Image:
    """Return a palette image: its pixels are the ids, and viewers show the classes' colours."""
    image = Image.fromarray(ids).convert("P")
    image.putpalette(palette_of(classes).ravel().tolist())
    return image


def names_by_id(classes: ClassSet) -> dict[int, str]:
    """Return what each id is called, 255 among them."""
    return {**dict(enumerate(classes.names)), IGNORE_INDEX: "ignore"}
