"""Reads photographs and label images; what cannot be read is named with the remedy.

Arrays: image (H, W, 3) uint8 RGB, ids (H, W) integers, colours (H, W, 3) uint8 RGB.
"""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from sepico_pl.types import ByteArray, InputError

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
LYING = (5, 6, 7, 8)
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


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
    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                message = "16 or 32 bits per pixel, which 8 cannot show; convert it to 8 bits"
                raise ValueError(message)
            upright = ImageOps.exif_transpose(image) if kind == "image" else image
            return np.asarray(upright.convert("RGB"), dtype=np.uint8)
    except UNREADABLE as error:
        raise unreadable(path, kind, error) from error


def read_ids(path: Path) -> NDArray[np.integer[Any]]:
    """Read ids: 8-bit gray, palette (the index) or 16-bit (the first channel) PNG.

    Raises:
        InputError: if the file cannot be read, or is a colour picture.
    """
    try:
        return _decode_ids(path)
    except UNREADABLE as error:
        raise unreadable(path, "label", error) from error


def _decode_ids(path: Path) -> NDArray[np.integer[Any]]:
    """Decode as the file needs: Pillow cuts 16 bits to 8, OpenCV colours palettes.

    (torchvision's decoder knows both, but a damaged file can end the process.)
    """
    with Image.open(path) as image:
        if image.mode in ("L", "P", "1"):
            return np.asarray(image, dtype=np.uint8)
    content = np.fromfile(path, dtype=np.uint8)
    decoded: Any = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    if decoded is None:
        message = "damaged"
        raise ValueError(message)
    if decoded.ndim == 2:
        return np.asarray(decoded)
    if decoded.dtype == np.uint8 and (decoded[..., :3] != decoded[..., 2:3]).any():
        message = "a colour picture, not class ids"
        raise ValueError(message)
    return np.asarray(decoded[..., 2])


def read_size(path: Path) -> tuple[int, int]:
    """Return height and width from an image's header, as `read_image` shows it.

    Raises:
        InputError: if there is none.
    """
    try:
        with Image.open(path) as image:
            lying = image.getexif().get(ExifTags.Base.Orientation, 1) in LYING
            return (image.width, image.height) if lying else (image.height, image.width)
    except UNREADABLE as error:
        raise unreadable(path, "image", error) from error


def check_sums(path: Path, kind: str) -> None:
    """Compare a PNG's checksums, which Pillow leaves out when it decodes.

    Raises:
        InputError: if one is wrong.
    """
    try:
        with Image.open(path) as image:
            image.verify()
    except UNREADABLE as error:
        raise unreadable(path, kind, error) from error


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
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return InputError(f"{path}: cannot be read as {kind} ({reason}); fetch or make it again")
