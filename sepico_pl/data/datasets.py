"""Images and labels in files, checked whole before training starts.

Arrays: image (H, W, 3) uint8 RGB, label (H, W) uint8 class ids, 255 ignored.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from sepico_pl.types import IGNORE_INDEX, ByteArray, InputError

Counts = NDArray[np.int64]
Item = TypeVar("Item")
Result = TypeVar("Result")

CHECKING_THREADS = 4
SECONDS_WITHOUT_PROGRESS = 2.0
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def read_image(path: Path) -> ByteArray:
    """Read a photograph as RGB.

    Raises:
        InputError: if the file cannot be read as an image.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except UNREADABLE as error:
        raise _unreadable(path, "image", error) from error


def read_label(path: Path) -> ByteArray:
    """Read class ids: 8-bit gray, palette (the index) or 16-bit (the first channel) PNG.

    Raises:
        InputError: if the file cannot be read, is a colour picture, or holds an id above 255.
    """
    try:
        ids = _decode_ids(path)
    except UNREADABLE as error:
        raise _unreadable(path, "label", error) from error
    if ids.max() > IGNORE_INDEX:
        message = (
            f"{path}: class id {ids.max()} in an id image; ids go from 0 to 254, 255 is ignored"
        )
        raise InputError(message)
    return ids.astype(np.uint8)


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


def _unreadable(path: Path, kind: str, error: Exception) -> InputError:
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


def check_images(images: Sequence[Path]) -> None:
    """Decode every image once.

    Raises:
        InputError: naming the first file that cannot be read, or if there is none.
    """
    _in_threads(_check_image, images)


def check_pairs(pairs: Sequence[tuple[Path, Path]], num_classes: int) -> Counts:
    """Decode every image and label once, and count the pixels of each class.

    Returns:
        Pixels of each class in each label: (n, C).

    Raises:
        InputError: naming the first file that cannot be read, has an unknown id, or has another
            size than its image, or if there is no pair.
    """
    return np.stack(_in_threads(lambda pair: _check_pair(*pair, num_classes), pairs))


def _check_image(path: Path) -> ByteArray:
    _check_sums(path, "image")
    return read_image(path)


def _check_pair(image_path: Path, label_path: Path, num_classes: int) -> Counts:
    image = _check_image(image_path)
    _check_sums(label_path, "label")
    label = read_label(label_path)
    if image.shape[:2] != label.shape:
        message = (
            f"{label_path}: the label is {_size(label)} but its image {image_path} is "
            f"{_size(image)} (height x width); make them the same size"
        )
        raise InputError(message)
    counts = np.bincount(label.ravel(), minlength=IGNORE_INDEX)
    unknown = (np.flatnonzero(counts[num_classes:IGNORE_INDEX]) + num_classes).tolist()
    if unknown:
        message = (
            f"{label_path}: unknown class ids {unknown[:10]}; known are 0 to {num_classes - 1} "
            f"({num_classes} classes), and {IGNORE_INDEX} for pixels to ignore"
        )
        raise InputError(message)
    return counts[:num_classes].astype(np.int64)


def _check_sums(path: Path, kind: str) -> None:
    """Compare a PNG's checksums, which Pillow leaves out when it decodes."""
    try:
        with Image.open(path) as image:
            image.verify()
    except UNREADABLE as error:
        raise _unreadable(path, kind, error) from error


def _size(array: ByteArray) -> str:
    return f"{array.shape[0]}x{array.shape[1]}"


def _in_threads(check: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    if not items:
        message = "a data set has no file; check the folder and its lists (dataset.root)"
        raise InputError(message)
    with ThreadPoolExecutor(CHECKING_THREADS) as pool:
        return list(_with_progress(pool.map(check, items), len(items)))


def _with_progress(results: Iterable[Result], total: int) -> Iterator[Result]:
    """Pass the results on; a terminal shows a bar if they take more than two seconds."""
    bar = Progress(console=Console(stderr=True), transient=True)
    task = bar.add_task("checking the data", total=total)
    show_from = time.monotonic() + SECONDS_WITHOUT_PROGRESS
    try:
        for result in results:
            bar.advance(task)
            if bar.console.is_terminal and time.monotonic() > show_from:
                bar.start()
            yield result
    finally:
        if bar.live.is_started:
            bar.stop()


class ImageFolder:
    """Unlabelled images in files; holds no label and no path to one.

    Args:
        images: the files, at least one.
    """

    def __init__(self, images: Sequence[Path]) -> None:
        """Check every file (see `check_images`)."""
        self.images = list(images)
        check_images(self.images)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __getitem__(self, index: int) -> ByteArray:
        """Return an image (H, W, 3)."""
        return read_image(self.images[index])


class SegmentationFolder:
    """Labelled images in files.

    Args:
        pairs: image and label files, at least one pair.
        num_classes: ids from here on are unknown, but for 255.

    Attributes:
        class_counts: pixels of each class in each label, (n, C) int64.
    """

    def __init__(self, pairs: Sequence[tuple[Path, Path]], num_classes: int) -> None:
        """Check every file and count its classes (see `check_pairs`)."""
        self.pairs = list(pairs)
        self.num_classes = num_classes
        self.class_counts = check_pairs(self.pairs, num_classes)

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


def listed_pairs(folder: Path, split: str) -> list[tuple[Path, Path]]:
    """Find images/<stem>.* and labels/<stem>.png for each stem of `folder`/<split>.txt.

    Raises:
        InputError: for a missing or empty list, or a stem without image or label.
    """
    pairs = []
    for image in listed_images(folder, split):
        label = folder / "labels" / f"{image.stem}.png"
        if not os.path.isfile(label):
            message = (
                f"{image}: its label {label} is missing or out of reach; add it, or take "
                f"{image.stem} out of {folder / f'{split}.txt'}"
            )
            raise InputError(message)
        pairs.append((image, label))
    return pairs


def listed_images(folder: Path, split: str) -> list[Path]:
    """Find images/<stem>.* for each stem of `folder`/<split>.txt.

    Raises:
        InputError: for a missing or empty list, or a stem without image.
    """
    listing = folder / f"{split}.txt"
    stems, files = _stems(listing), _images_by_stem(folder / "images")
    missing = [stem for stem in stems if stem not in files]
    if missing:
        message = (
            f"{folder / 'images'}: no image for {missing[0]} ({len(missing)} of {len(stems)} in "
            f"{listing} are missing); restore them or shorten the list"
        )
        raise InputError(message)
    return [files[stem] for stem in stems]


def _stems(listing: Path) -> list[str]:
    """Read the stems, one a line; they may hold spaces."""
    try:
        lines = listing.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        message = f"{listing}: no such list of stems; is dataset.root right?"
        raise InputError(message) from error
    except (OSError, UnicodeDecodeError) as error:
        message = f"{listing}: cannot be read as a list of stems in UTF-8 ({error}); mend the file"
        raise InputError(message) from error
    stems = [line.strip() for line in lines if line.strip()]
    if not stems:
        message = f"{listing}: the list is empty; it needs at least one stem"
        raise InputError(message)
    return stems


def _images_by_stem(folder: Path) -> dict[str, Path]:
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        message = f"{folder}: cannot be listed ({error.strerror}); it must hold the listed images"
        raise InputError(message) from error
    return {path.stem: path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES}
