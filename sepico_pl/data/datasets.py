"""Collections of images and labels in files.

Files are looked for when they are first needed, and decoded whole once (`check`) before training.
Arrays: image (H, W, 3) uint8 RGB, label (H, W) uint8 class ids, 255 ignored.
"""

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sepico_pl.data.checks import (
    Item,
    Pair,
    SizeMismatch,
    check_images,
    check_pair,
    check_same_size,
    examine,
)
from sepico_pl.data.files import read_image, read_size
from sepico_pl.data.gathering import check_names
from sepico_pl.data.labels import LabelCode
from sepico_pl.data.ledger import Ledger, Record
from sepico_pl.types import ByteArray, ClassSet, InputError

Counts = NDArray[np.int64]
Found = TypeVar("Found")
SHOWN = 5


class ImageFolder:
    """Unlabelled images in files; holds no label and no path to one.

    Args:
        find: finds the files, at least one.
    """

    def __init__(self, find: Callable[[], Sequence[Path]]) -> None:
        """Look for nothing yet."""
        self.find = find
        self._sizes: list[tuple[int, int]] | None = None

    @cached_property
    def images(self) -> list[Path]:
        """The files."""
        found = _not_empty(self.find())
        check_names(found)
        return found

    def items(self) -> list[Item]:
        """Return what belongs together: each image alone."""
        return [(image,) for image in self.images]

    def examine(self, ledger: Ledger) -> list[Record | InputError]:
        """Decode every file that the ledger does not know; return what was met."""
        return examine(self.items(), check_images, "image", ledger)

    def check(self, ledger: Ledger) -> None:
        """Decode every file that the ledger does not know.

        Raises:
            InputError: naming the first file that cannot be read, or if there is none.
        """
        sizes = []
        for outcome in self.examine(ledger):
            if isinstance(outcome, InputError):
                raise outcome
            height, width = outcome["sizes"][0]
            sizes.append((height, width))
        self._sizes = sizes

    def __getstate__(self) -> dict[str, Any]:
        """Return what loader processes need: the files that were found, not how."""
        return {**vars(self), "images": self.images, "find": None}

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __getitem__(self, index: int) -> ByteArray:
        """Return an image (H, W, 3).

        Raises:
            InputError: if it cannot be read, or has another size than when it was checked.
        """
        image = read_image(self.images[index])
        _check_size(self.images[index], image, self._sizes, index)
        return image

    def size(self, index: int) -> tuple[int, int]:
        """Return an image's height and width: of the check, or else from its header."""
        return read_size(self.images[index]) if self._sizes is None else self._sizes[index]

    def name(self, index: int) -> str:
        """Return the image's path."""
        return str(self.images[index])


class ReferencedFolder(ImageFolder):
    """Unlabelled images, each with a reference of the same place in better light.

    Args:
        find_both: finds image and reference, at least one of each.
    """

    def __init__(self, find_both: Callable[[], Sequence[tuple[Path, Path]]]) -> None:
        """Look for nothing yet."""
        super().__init__(lambda: [image for image, _ in self.both])
        self.find_both = find_both

    @cached_property
    def both(self) -> list[tuple[Path, Path]]:
        """Image and reference files."""
        found = list(self.find_both())
        check_names(path for pair in found for path in pair)
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Return what loader processes need: the files that were found, not how."""
        return {**super().__getstate__(), "both": self.both, "find_both": None}

    def items(self) -> list[Item]:
        """Return what belongs together: image and reference."""
        return list(self.both)

    def reference(self, index: int) -> ByteArray:
        """Return the reference (H, W, 3) of image `index`."""
        return read_image(self.both[index][1])


class SegmentationFolder:
    """Labelled images in files.

    Args:
        find: finds image and label files, at least one pair; the label may turn out missing.
        code: reads the labels.
        num_classes: C.
        skip_mismatches: leaves out pairs whose sizes differ, and says so; otherwise an error.
    """

    def __init__(
        self,
        find: Callable[[], Sequence[Pair]],
        code: LabelCode,
        num_classes: int,
        *,
        skip_mismatches: bool = False,
    ) -> None:
        """Look for nothing yet."""
        self.find = find
        self.code = code
        self.num_classes = num_classes
        self.skip_mismatches = skip_mismatches
        self._counts: Counts | None = None
        self._sizes: list[tuple[int, int]] | None = None

    @cached_property
    def pairs(self) -> list[Pair]:
        """Image and label files; after the check those that can be used."""
        found = _not_empty(self.find())
        check_names(path for pair in found for path in pair)
        return found

    def examine(self, ledger: Ledger) -> list[Record | InputError]:
        """Decode every pair that the ledger does not know; return what was met."""
        check = partial(check_pair, self.code, self.num_classes)
        key = f"lossless pair {self.code.key} {self.num_classes}"
        return examine(list(self.pairs), check, key, ledger)

    def check(self, ledger: Ledger) -> None:
        """Decode every pair that the ledger does not know, and count classes.

        Raises:
            InputError: naming the first file that cannot be read or used, or if there is none, or
                if no label has a pixel with a class.
        """
        kept, rows, sizes, skipped = [], [], [], []
        for pair, outcome in zip(self.pairs, self.examine(ledger), strict=True):
            if isinstance(outcome, SizeMismatch) and self.skip_mismatches:
                skipped.append(pair[1])
            elif isinstance(outcome, InputError):
                raise outcome
            else:
                kept.append(pair)
                rows.append(outcome["counts"])
                height, width = outcome["sizes"][0]
                sizes.append((height, width))
        if skipped:
            print(f"skipped {len(skipped)} pairs of different sizes: {listed(skipped)}")
        counts = np.array(rows, dtype=np.int64).reshape(len(rows), self.num_classes)
        if not counts.any():
            message = (
                f"{self.pairs[0][1]}: no pixel of it, nor of the other {len(self.pairs) - 1} "
                "labels, has a class, everything is void: is this an unlabelled split, or a "
                "16-bit label re-saved with 8 bits? fetch the labels again"
            )
            raise InputError(message)
        void = [pair[1] for pair, row in zip(kept, counts, strict=True) if not row.any()]
        if void:
            print(f"{len(void)} labels without any class (all pixels ignored): {listed(void)}")
        self.pairs, self._counts, self._sizes = kept, counts, sizes

    def __getstate__(self) -> dict[str, Any]:
        """Return what loader processes need: the files that were found, not how."""
        return {**vars(self), "pairs": self.pairs, "find": None}

    @property
    def class_counts(self) -> Counts:
        """Pixels of each class in each label, (n, C), known after the check."""
        if self._counts is None:
            message = "class counts are known after check()"
            raise RuntimeError(message)
        return self._counts

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[ByteArray, ByteArray]:
        """Return image (H, W, 3) and label (H, W).

        Raises:
            InputError: if one cannot be read, or has another size than the other or than when it
                was checked.
        """
        image_path, label_path = self.pairs[index]
        image, label = read_image(image_path), self.label(index)
        check_same_size(image_path, image, label_path, label)
        _check_size(image_path, image, self._sizes, index)
        return image, label

    def label(self, index: int) -> ByteArray:
        """Return a label (H, W)."""
        return self.code.read(self.pairs[index][1])

    def size(self, index: int) -> tuple[int, int]:
        """Return an image's height and width: of the check, or else from its header."""
        return read_size(self.pairs[index][0]) if self._sizes is None else self._sizes[index]

    def name(self, index: int) -> str:
        """Return the image's path."""
        return str(self.pairs[index][0])


def _check_size(
    path: Path, image: ByteArray, sizes: Sequence[tuple[int, int]] | None, index: int
) -> None:
    if sizes is not None and image.shape[:2] != sizes[index]:
        height, width = sizes[index]
        message = (
            f"{path}: the image is {image.shape[0]}x{image.shape[1]} and was {height}x{width} "
            "(height x width) when the run began; leave the data as it is while a run reads it"
        )
        raise InputError(message)


def _not_empty(found: Sequence[Found]) -> list[Found]:
    if not found:
        message = "a data set has no file; check the folder and its lists (dataset.root)"
        raise InputError(message)
    return list(found)


def listed(paths: Sequence[Path]) -> str:
    """Name the first of many files."""
    names = ", ".join(map(str, paths[:SHOWN]))
    return names if len(paths) <= SHOWN else f"{names} and {len(paths) - SHOWN} more"


def check_collections(ledger: Ledger, *collections: object) -> None:
    """Check the collections that are files.

    Raises:
        InputError: for the first file that cannot be used.
    """
    for collection in collections:
        if isinstance(collection, ImageFolder | SegmentationFolder):
            collection.check(ledger)


def say_what_is_absent(source: object, classes: ClassSet) -> None:
    """Name the classes of which no source label has a pixel, where that is known from files."""
    if isinstance(source, SegmentationFolder):
        pixels = zip(classes.names, source.class_counts.sum(axis=0).tolist(), strict=True)
        absent = [name for name, count in pixels if not count]
        if absent:
            print(f"no source label has a pixel of {len(absent)} classes: {', '.join(absent)}")
