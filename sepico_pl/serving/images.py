"""Images as people have them: files, Pillow images, arrays."""

from pathlib import Path

import numpy as np
from PIL import Image

from sepico_pl.data.files import as_rgb, check_pixels, read_image, reason_of
from sepico_pl.types import ByteArray, InputError

ImageLike = str | Path | Image.Image | ByteArray


def to_rgb(image: ImageLike) -> ByteArray:
    """Return an image as (H, W, 3) uint8 RGB.

    Files and Pillow images are turned upright, as their EXIF orientation says. Grey becomes RGB,
    and an alpha channel is left out.

    Args:
        image: a file, a Pillow image, or a uint8 array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4).

    Raises:
        InputError: for a file that cannot be read, or what is no such image.
    """
    if isinstance(image, str | Path):
        return read_image(Path(image).expanduser())
    if isinstance(image, Image.Image):
        return _from_pillow(image)
    if not isinstance(image, np.ndarray):
        message = f"image: a {type(image).__name__}; give a file, a Pillow image or a uint8 array"
        raise InputError(message)
    return _from_array(image)


def _from_pillow(image: Image.Image) -> ByteArray:
    if image.mode.startswith(("I", "F")):
        message = f"image: Pillow mode {image.mode} has 16 or 32 bits; convert it to 8 bits"
        raise InputError(message)
    check_pixels(image, "image")
    try:
        return as_rgb(image.copy(), upright=True)
    except (
        Exception
    ) as error:  # Pillow decodes only now, and a damaged file makes it raise anything
        message = f"image: Pillow cannot decode it ({reason_of(error)}); fetch or make it again"
        raise InputError(message) from error


def _from_array(image: ByteArray) -> ByteArray:
    channels = 1 if image.ndim == 2 else image.shape[-1]
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or channels not in (1, 3, 4):
        message = (
            f"image: an array {image.shape} of {image.dtype}; give uint8 (0..255) of shape "
            "(H, W), (H, W, 3) or (H, W, 4)"
        )
        raise InputError(message)
    if not image.size:
        message = f"image: an array {image.shape} has no pixel; give one with some"
        raise InputError(message)
    if channels == 1:
        return np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    return np.ascontiguousarray(image[..., :3])
