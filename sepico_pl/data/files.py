"""Reads photographs and label images; what cannot be read is named with the remedy.

Arrays: image (H, W, 3) uint8 RGB, ids (H, W) integers, colours (H, W, 3) uint8 RGB.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from sepico_pl.quoting import first_line
from sepico_pl.types import ByteArray, InputError

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
"""What Pillow may take a file for: others of its formats start programs, or were never tried."""
LYING = (5, 6, 7, 8)
LARGEST = 8192 * 6144
"""Pixels of an image: those of the largest phones' photographs; decoding them takes 0.4 GB."""
TOO_LARGE = (
    f"more than the {LARGEST} pixels (8192x6144) that are read; make it smaller, or cut it into "
    "pieces"
)
STRIP = 512

# `opened` refuses what Pillow warns of, in one line.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@contextmanager
def opened(path: Path, kind: str) -> Iterator[Image.Image]:
    """Open an image and let its pixels be read, if there are not too many by its header.

    Raises:
        InputError: for that, and for whatever a damaged or hostile file makes the decoders raise.
    """
    try:
        # By a file, as Pillow maps what it has a path of, and then turns grey TIFFs wrongly.
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
            check_pixels(image, str(path))
            yield image
    except InputError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        message = f"{path}: {TOO_LARGE}"
        raise InputError(message) from error
    except Exception as error:
        raise unreadable(path, kind, error) from error


def check_pixels(image: Image.Image, what: str) -> None:
    """Check the size of an image of which only the header is read as yet.

    Raises:
        InputError: if it has more than `LARGEST` pixels.
    """
    if image.width * image.height > LARGEST:
        message = f"{what}: {image.width}x{image.height}, {TOO_LARGE}"
        raise InputError(message)


def read_image(path: Path) -> ByteArray:
    """Read a photograph as RGB, upright as its EXIF orientation says; the first of its frames.

    Raises:
        InputError: if the file cannot be read as an image.
    """
    return _read_colours(path, "image")


def read_colours(path: Path) -> ByteArray:
    """Read a label image as the colours it shows, a palette's too.

    Raises:
        InputError: if the file cannot be read as an image.
    """
    return _read_colours(path, "label")


def _read_colours(path: Path, kind: str) -> ByteArray:
    with opened(path, kind) as image:
        if image.mode.startswith(("I", "F")):
            message = "16 or 32 bits per pixel, which 8 cannot show; convert it to 8 bits"
            raise ValueError(message)
        return as_rgb(image, upright=kind == "image")


def as_rgb(image: Image.Image, *, upright: bool) -> ByteArray:
    """Return the pixels of an image (H, W, 3), converted strip by strip to hold them but once more.

    Args:
        image: of 8 bits per channel; it may be turned.
        upright: whether to turn it as its EXIF orientation says.
    """
    if upright:
        ImageOps.exif_transpose(image, in_place=True)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, STRIP):
        bottom = min(top + STRIP, image.height)
        strip = image.crop((0, top, image.width, bottom)).convert("RGB")
        pixels[top:bottom] = np.asarray(strip)
    return pixels


def read_ids(path: Path) -> NDArray[np.integer[Any]]:
    """Read ids: 8-bit gray, palette (the index) or 16-bit (the first channel) PNG.

    Pillow cuts 16 bits to 8 and OpenCV colours palettes: each decodes what it can. (torchvision's
    decoder knows both, but a damaged file can end the process.)

    Raises:
        InputError: if the file cannot be read, or is a colour picture.
    """
    with opened(path, "label") as image:
        if image.mode in ("L", "P", "1"):
            return np.asarray(image, dtype=np.uint8)
        decoded = decode(path)
        if decoded.ndim == 2:
            return decoded
        if decoded.dtype == np.uint8 and (decoded[..., :3] != decoded[..., 2:3]).any():
            message = "a colour picture, not class ids"
            raise ValueError(message)
        return np.asarray(decoded[..., 2])


def decode(path: Path) -> NDArray[Any]:
    """Decode an image as it is stored, by OpenCV; to be asked within `opened`.

    Raises:
        ValueError: if it cannot be.
    """
    decoded: Any = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None:
        message = "damaged"
        raise ValueError(message)
    return np.asarray(decoded)


def read_size(path: Path) -> tuple[int, int]:
    """Return height and width from an image's header, as `read_image` shows it.

    Raises:
        InputError: if there is none.
    """
    with opened(path, "image") as image:
        turned_already = image.format == "TIFF"
        lying = image.getexif().get(ExifTags.Base.Orientation, 1) in LYING and not turned_already
        return (image.width, image.height) if lying else (image.height, image.width)


def check_sums(path: Path, kind: str) -> None:
    """Compare a PNG's checksums, which Pillow leaves out when it decodes.

    Raises:
        InputError: if one is wrong.
    """
    with opened(path, kind) as image:
        image.verify()


def unreadable(path: Path, kind: str, error: Exception) -> InputError:
    """Say what is wrong with a file that raised `error`."""
    if isinstance(error, FileNotFoundError):
        return InputError(f"{path}: no such {kind} file; restore it or take it out of the list")
    if isinstance(error, IsADirectoryError):
        return InputError(f"{path}: a folder where the {kind} file should be; put the file there")
    if isinstance(error, PermissionError):
        return InputError(f"{path}: no permission to read the {kind} file; grant it (chmod)")
    if os.path.isfile(path) and os.path.getsize(path) == 0:
        return InputError(f"{path}: the {kind} file is empty (0 bytes); fetch or make it again")
    return InputError(
        f"{path}: cannot be read as {kind} ({reason_of(error)}); fetch or make it again"
    )


def reason_of(error: Exception) -> str:
    """Return the first line of what an error says, or its name."""
    if isinstance(error, UnidentifiedImageError):
        return f"it is no {', '.join(FORMATS)}"
    return first_line(error)
