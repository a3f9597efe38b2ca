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
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

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
STEPS = {"2": 85, "4": 17}
"""What Pillow multiplies gray of 2 and 4 bits with."""
SAMPLE_FORMAT, SIGNED = 339, 2

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
        InputError: if the file cannot be read as an image, or its format changes pixels.
    """
    return _read_colours(path, "label")


def _read_colours(path: Path, kind: str) -> ByteArray:
    with opened(path, kind) as image:
        cut = image.mode.startswith(("I", "F"))
        if kind == "label":
            check_lossless(image, path)
            cut = cut or ";16" in _raw_mode(image)
        if cut:
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
    """Read ids as they are stored: gray of 1 to 32 bits, palette (the index), or 16-bit colour.

    Of the last the first channel counts. Pillow cuts 16-bit colour to 8 and OpenCV colours
    palettes: each decodes what it can. (torchvision's decoder knows both, but a damaged file can
    end the process.)

    Raises:
        InputError: if the file cannot be read, changes pixels, or holds no whole numbers.
    """
    with opened(path, "label") as image:
        check_lossless(image, path)
        if image.mode in ("L", "P", "1"):
            return _stored(image)
        decoded = decode(path)
        if not np.issubdtype(decoded.dtype, np.integer):
            message = (
                f"{path}: the label holds {decoded.dtype} numbers, and class ids are whole; save "
                "it as an 8-bit PNG"
            )
            raise InputError(message)
        if decoded.ndim == 2:
            return decoded
        if decoded.dtype == np.uint8 and (decoded[..., :3] != decoded[..., 2:3]).any():
            message = "a colour picture, not class ids"
            raise ValueError(message)
        return np.asarray(decoded[..., 2])


def _stored(image: Image.Image) -> NDArray[np.integer[Any]]:
    """Return the values of gray or palette of at most 8 bits, not what Pillow makes of them."""
    kind, _, packing = _raw_mode(image).partition(";")
    values = np.asarray(image, dtype=np.uint8)
    if "I" in packing:  # a TIFF in which 0 is white: Pillow inverts it
        values = (1 if image.mode == "1" else 255) - values
    if isinstance(image, TiffImageFile) and SIGNED in _numbers(image.tag_v2, SAMPLE_FORMAT):
        return values.view(np.int8)
    return values // STEPS.get(packing[:1], 1) if kind == "L" else values


def _raw_mode(image: Image.Image) -> str:
    """Return how an image stores its pixels, such as "L;4"; to be asked before they are read."""
    if not isinstance(image, ImageFile) or not image.tile:
        return ""
    how = image.tile[0].args
    return str(how[0] if isinstance(how, tuple) else how)


def _numbers(tags: ImageFileDirectory_v2, tag: int) -> tuple[int, ...]:
    found = tags.get(tag, ())
    return found if isinstance(found, tuple) else (found,)


def check_lossless(image: Image.Image, path: Path) -> None:
    """Refuse a label in a format that changes pixels: JPEG, also within TIFF, or lossy WebP.

    Raises:
        InputError: for such a label.
    """
    within = str(image.info.get("compression", ""))
    lossy = image.format == "JPEG" or within in ("jpeg", "tiff_jpeg", "webp")
    if image.format == "WEBP":
        lossy = "VP8L" not in webp_chunks(path)
    if lossy:
        form = image.format if image.format != "TIFF" else f"TIFF ({within})"
        message = (
            f"{path}: a label saved as lossy {form}, which changes classes at every edge; make it "
            "again as PNG from what it was made of"
        )
        raise InputError(message)


def webp_chunks(path: Path) -> list[str]:
    """Return the names of a WebP's chunks: "VP8L" holds pixels as they were, "VP8 " does not."""
    names = []
    with path.open("rb") as file:
        file.seek(12)
        while len(head := file.read(8)) == 8:
            names.append(head[:4].decode("latin-1"))
            size = int.from_bytes(head[4:], "little")
            file.seek(size + size % 2, os.SEEK_CUR)
    return names


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
