"""Predictions as pictures to look at.

Arrays: image (H, W, 3) uint8 RGB, ids (H, W) uint8 class ids.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from sepico_pl.data.painting import paint as paint
from sepico_pl.types import ByteArray, ClassSet

OPACITY = 0.5
SIDE_PER_LINE_PIXEL = 300
WHITE = 255


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
