"""Images and labels in files, checked whole before training starts.

Arrays: image (H, W, 3) uint8 RGB, label (H, W) uint8 class ids, 255 ignored.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from sepico_pl.types import IGNORE_INDEX, ByteArray, InputError

CHECKING_THREADS = 4
SHOW_PROGRESS_FROM = 1000


def read_image(path: Path) -> ByteArray:
    """Read a photograph as RGB.

    Raises:
        InputError: if the file cannot be read as an image.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(path, "image", error) from error


def read_label(path: Path) -> ByteArray:
    """Read class ids: 8-bit gray, palette (the index) or 16-bit (the first channel) PNG.

    Raises:
        InputError: if the file cannot be read, or holds an id above 255.
    """
    try:
        ids = _decode_ids(path)
    except (OSError, SyntaxError, ValueError) as error:
        raise _unreadable(path, "label", error) from error
    if ids.max() > IGNORE_INDEX:
        message = (
            f"{path}: class id {ids.max()} in an id image; ids go from 0 to 254, 255 is ignored"
        )
        raise InputError(message)
    return ids.astype(np.uint8)


def _decode_ids(path: Path) -> NDArray[np.integer[Any]]:
    """Decode as the file needs: Pillow cuts 16 bits to 8, OpenCV colours palettes."""
    with Image.open(path) as image:
        if image.mode in ("L", "P", "1"):
            return np.asarray(image, dtype=np.uint8)
    content = np.fromfile(path, dtype=np.uint8)
    decoded: Any = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    if decoded is None:
        message = "damaged"
        raise ValueError(message)
    ids: NDArray[np.integer[Any]] = decoded if decoded.ndim == 2 else decoded[..., 2]
    return ids


def _unreadable(path: Path, kind: str, error: Exception) -> InputError:
    if not path.is_file():
        return InputError(f"{path}: no such {kind} file; restore it or take it out of the list")
    if path.stat().st_size == 0:
        return InputError(f"{path}: the {kind} file is empty (0 bytes); fetch or make it again")
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return InputError(f"{path}: cannot be read as {kind} ({reason}); fetch or make it again")


class ImageFolder:
    """Unlabelled images in files; holds no label and no path to one.

    Args:
        images: the files, at least one.
    """

    def __init__(self, images: Sequence[Path]) -> None:
        """Decode every file once.

        Raises:
            InputError: naming the first file that cannot be read.
        """
        self.images = list(images)
        _for_each(self._check, len(images))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __getitem__(self, index: int) -> ByteArray:
        """Return an image (H, W, 3)."""
        return read_image(self.images[index])

    def _check(self, index: int) -> None:
        read_image(self.images[index])


class SegmentationFolder:
    """Labelled images in files.

    Args:
        pairs: image and label files, at least one pair.
        num_classes: ids from here on are unknown, but for 255.
    """

    def __init__(self, pairs: Sequence[tuple[Path, Path]], num_classes: int) -> None:
        """Decode every file once.

        Raises:
            InputError: naming the first file that cannot be read, has an unknown id, or has another
                size than its image.
        """
        self.pairs = list(pairs)
        self.num_classes = num_classes
        _for_each(self._check, len(pairs))

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[ByteArray, ByteArray]:
        """Return image (H, W, 3) and label (H, W)."""
        return read_image(self.pairs[index][0]), self.label(index)

    def label(self, index: int) -> ByteArray:
        """Return a label (H, W)."""
        return read_label(self.pairs[index][1])

    def name(self, index: int) -> str:
        """Return the image's path."""
        return str(self.pairs[index][0])

    def _check(self, index: int) -> None:
        image, label = self[index]
        image_path, label_path = self.pairs[index]
        if image.shape[:2] != label.shape:
            message = (
                f"{label_path}: the label is {_size(label)} but its image {image_path} is "
                f"{_size(image)} (height x width); make them the same size"
            )
            raise InputError(message)
        unknown = sorted(set(np.unique(label).tolist()) - {*range(self.num_classes), IGNORE_INDEX})
        if unknown:
            message = (
                f"{label_path}: unknown class ids {unknown[:10]}; known are 0 to "
                f"{self.num_classes - 1}, and {IGNORE_INDEX} for pixels to ignore"
            )
            raise InputError(message)


def _size(array: ByteArray) -> str:
    return f"{array.shape[0]}x{array.shape[1]}"


def _for_each(check: Callable[[int], None], count: int) -> None:
    with ThreadPoolExecutor(CHECKING_THREADS) as pool:
        checked = pool.map(check, range(count))
        shown = track(checked, "checking the data", total=count, disable=count < SHOW_PROGRESS_FROM)
        for _ in shown:
            pass


def listed_pairs(folder: Path, split: str) -> list[tuple[Path, Path]]:
    """Find images/<stem>.* and labels/<stem>.png for each stem of `folder`/<split>.txt.

    Raises:
        InputError: for a missing or empty list, or a stem without image or label.
    """
    pairs = []
    for image in listed_images(folder, split):
        label = folder / "labels" / f"{image.stem}.png"
        if not label.is_file():
            message = f"{image}: its label {label} is missing; add it, or take {image.stem} out of "
            raise InputError(message + str(folder / f"{split}.txt"))
        pairs.append((image, label))
    return pairs


def listed_images(folder: Path, split: str) -> list[Path]:
    """Find images/<stem>.* for each stem of `folder`/<split>.txt.

    Raises:
        InputError: for a missing or empty list, or a stem without image.
    """
    listing = folder / f"{split}.txt"
    if not listing.is_file():
        message = f"{listing}: no such list of stems; is dataset.root right?"
        raise InputError(message)
    stems = listing.read_text(encoding="utf-8").split()
    if not stems:
        message = f"{listing}: the list is empty; it needs at least one stem"
        raise InputError(message)
    files = {path.stem: path for path in sorted((folder / "images").glob("*"))}
    missing = [stem for stem in stems if stem not in files]
    if missing:
        message = (
            f"{folder / 'images'}: no image for {missing[0]} ({len(missing)} of {len(stems)} in "
            f"{listing} are missing); restore them or shorten the list"
        )
        raise InputError(message)
    return [files[stem] for stem in stems]
