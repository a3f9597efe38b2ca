"""How label files say which class a pixel has: by an id, or by a colour.

Arrays: label (H, W) uint8 class ids, 255 ignored.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from sepico_pl.data.files import read_colours, read_ids
from sepico_pl.types import IGNORE_INDEX, ByteArray, Colour, InputError

UNKNOWN = 254
SHOWN = 10


class LabelCode(Protocol):
    """Reads label files of one kind."""

    key: str
    """Tells this code from another one, in a list of what was checked."""

    def read(self, path: Path) -> ByteArray:
        """Return the classes (H, W) in a label file; raise InputError for what it cannot mean."""
        ...


class IdLabels:
    """Labels that hold an id in each pixel.

    Args:
        classes: the class of each id in 0 to 255, or 255 to ignore it; an id that is not among
            them is an error, but for 255, which is ignored unless it is given a class.
        train_ids: label files whose name ends so hold class ids already; "" for none.
    """

    def __init__(self, classes: Mapping[int, int], train_ids: str = "") -> None:
        """Make the tables.

        Raises:
            InputError: for an id or class outside 0 to 255.
        """
        self.table = _id_table(classes)
        kept = {c for c in classes.values() if c != IGNORE_INDEX}
        self.plain = _id_table({c: c for c in kept})
        self.train_ids = train_ids
        self.key = hashlib.sha1(self.table.tobytes() + train_ids.encode()).hexdigest()[:12]

    def read(self, path: Path) -> ByteArray:
        """Return the classes (H, W) in a label file.

        Raises:
            InputError: naming ids that are not known, or a file that cannot be read.
        """
        ids = read_ids(path)
        for extreme in (ids.max(initial=0), ids.min(initial=0)):
            if not 0 <= extreme <= IGNORE_INDEX:
                message = (
                    f"{path}: class id {extreme} in an id image; ids go from 0 to 255; is this "
                    "the label file, or one of instances?"
                )
                raise InputError(message)
        as_classes = bool(self.train_ids) and path.name.endswith(self.train_ids)
        label: ByteArray = (self.plain if as_classes else self.table)[ids]
        if (label == UNKNOWN).any():
            unknown = np.unique(ids[label == UNKNOWN]).tolist()
            table = self.plain if as_classes else self.table
            ignored = table[IGNORE_INDEX] == IGNORE_INDEX
            known = np.flatnonzero(table[: IGNORE_INDEX if ignored else None] != UNKNOWN).tolist()
            message = (
                f"{path}: unknown class ids {unknown[:SHOWN]}; known are {ranges(known)} "
                f"({len(set(self.plain.tolist()) - {UNKNOWN, IGNORE_INDEX})} classes)"
                + (f", and {IGNORE_INDEX} for pixels to ignore" if ignored else "")
                + "; mend the label or the id map"
            )
            raise InputError(message)
        return label


def _id_table(classes: Mapping[int, int]) -> ByteArray:
    table = np.full(256, UNKNOWN, np.uint8)
    for one, c in classes.items():
        if not (0 <= one <= IGNORE_INDEX and (0 <= c < UNKNOWN or c == IGNORE_INDEX)):
            message = f"dataset.ids: {one} -> {c}; ids are 0 to 255 and at most 254 classes exist"
            raise InputError(message)
        table[one] = c
    if IGNORE_INDEX not in classes:
        table[IGNORE_INDEX] = IGNORE_INDEX
    return table


def ranges(numbers: Iterable[int]) -> str:
    """Write 0, 1, 2, 5 as "0 to 2, 5"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ", ".join(" to ".join(map(str, run)) for run in runs)


class ColourLabels:
    """Labels that show a colour in each pixel.

    Args:
        colours: RGB (0..255) of each class, in the order of class ids.
        ignored: colours of pixels to ignore.
        unlisted: "error" refuses any other colour, "ignore" ignores its pixels.
    """

    def __init__(self, colours: Sequence[Colour], ignored: Sequence[Colour], unlisted: str) -> None:
        """Make the table of all colours (16 MB)."""
        fill = UNKNOWN if unlisted == "error" else IGNORE_INDEX
        self.table = np.full(1 << 24, fill, np.uint8)
        for red, green, blue in ignored:
            self.table[(red << 16) + (green << 8) + blue] = IGNORE_INDEX
        for c, (red, green, blue) in enumerate(colours):
            self.table[(red << 16) + (green << 8) + blue] = c
        described = f"{list(colours)}{list(ignored)}{unlisted}"
        self.key = hashlib.sha1(described.encode()).hexdigest()[:12]

    def read(self, path: Path) -> ByteArray:
        """Return the classes (H, W) in a label file.

        Raises:
            InputError: naming colours that are not known, or a file that cannot be read.
        """
        colours = read_colours(path)
        packed = colours[..., 0].astype(np.uint32)
        for channel in (1, 2):
            packed <<= 8
            packed |= colours[..., channel]
        label: ByteArray = self.table[packed]
        if (label == UNKNOWN).any():
            found, counts = np.unique(packed[label == UNKNOWN], return_counts=True)
            largest = found[np.argsort(-counts, kind="stable")][:SHOWN].tolist()
            shown = [[one >> 16, one >> 8 & 255, one & 255] for one in largest]
            message = (
                f"{path}: {len(found)} colours of no class, {int(counts.sum())} pixels: {shown}; "
                "add them to dataset.colours or dataset.ignore, or set dataset.unlisted=ignore"
            )
            raise InputError(message)
        return label
