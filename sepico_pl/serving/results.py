"""The files of a prediction: class ids, overlay, confidence, logits.

Arrays: image (H, W, 3) uint8 RGB, C classes, h, w the network's input size.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sepico_pl.data.painting import overlay, palette_image
from sepico_pl.tables import written_whole
from sepico_pl.types import ByteArray, ClassSet

SUFFIXES = {"ids": "png", "overlay": "jpg", "confidence": "png", "logits": "npy"}
JPEG_QUALITY = 90


@dataclass(frozen=True)
class Prediction:
    """What the network says of an image.

    Attributes:
        ids: class of each pixel (H, W) uint8.
        confidence: its probability (H, W) uint8, 255 for 1.
        logits: (C, h, w) float16; None where they are not wanted.
    """

    ids: ByteArray
    confidence: ByteArray
    logits: NDArray[np.float16] | None


def result_files(folder: Path, name: str, *, logits: bool) -> dict[str, Path]:
    """Return the files of an image's results by kind: `<folder>/<kind>/<name>.<suffix>`."""
    return {
        kind: folder / kind / f"{name}.{suffix}"
        for kind, suffix in SUFFIXES.items()
        if kind != "logits" or logits
    }


def write_results(
    folder: Path, name: str, image: ByteArray, prediction: Prediction, classes: ClassSet
) -> None:
    """Write an image's results; each file appears whole or not at all."""
    files = result_files(folder, name, logits=prediction.logits is not None)
    with written_whole(files["ids"]) as path:
        palette_image(prediction.ids, classes).save(path, format="PNG")
    with written_whole(files["overlay"]) as path:
        laid_over = Image.fromarray(overlay(image, prediction.ids, classes))
        laid_over.save(path, format="JPEG", quality=JPEG_QUALITY)
    with written_whole(files["confidence"]) as path:
        Image.fromarray(prediction.confidence).save(path, format="PNG")
    if prediction.logits is not None:
        with written_whole(files["logits"]) as path, path.open("wb") as file:
            np.save(file, prediction.logits)
