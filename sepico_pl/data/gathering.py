"""Gathers the images below a folder, and says what it leaves out."""

import os
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sepico_pl.data.files import IMAGE_SUFFIXES
from sepico_pl.quoting import printable
from sepico_pl.types import InputError


@dataclass
class Gathered:
    """Image files, and what was met beside them.

    Attributes:
        place: a folder or pattern, for messages.
        images: the files; a link that leads nowhere and a folder with an image's name are among
            them, so that reading says what is wrong.
        left_out: number of other files by kind: the suffix, or "hidden" and the like.
    """

    place: Path
    images: list[Path] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, path: Path, *, is_folder: bool, is_file: bool) -> None:
        """Take a file for an image, or count it as left out."""
        if path.name.startswith("."):
            self.left_out["hidden"] += 1
        elif not is_image(path):
            suffix = "folders" if is_folder else printable(path.suffix.lower())
            self.left_out[suffix or "without suffix"] += 1
        elif not is_folder and not is_file and path.exists():
            self.left_out["pipes or devices"] += 1
        else:
            self.images.append(path)

    def described(self) -> str:
        """Return one line on what is left out; "" where nothing is."""
        number = self.left_out.total()
        if not number:
            return ""
        kinds = ", ".join(f"{kind} ({count})" for kind, count in self.left_out.most_common())
        return f"{number} {'file' if number == 1 else 'files'} left out of {self.place}: {kinds}"

    def instead(self) -> str:
        """Say which suffixes images have, and what there is instead, if there is no image."""
        left_out = self.described()
        remedy = f"; {left_out}; convert them to PNG or JPEG" if left_out else ""
        return f"({', '.join(sorted(IMAGE_SUFFIXES))}){remedy}"


def gather(folder: Path, skip: Collection[Path] = ()) -> Gathered:
    """Return the images in a folder and all below it, links to folders too, sorted.

    Args:
        folder: to read.
        skip: resolved folders below it that are neither read nor counted.

    Raises:
        InputError: for a folder that cannot be listed.
    """
    gathered = Gathered(folder)
    _read(folder, (), skip, gathered)
    gathered.images.sort()
    return gathered


def _read(
    folder: Path, above: tuple[Path, ...], skip: Collection[Path], gathered: Gathered
) -> None:
    real = folder.resolve()
    if real in skip:
        return
    if real in above:
        gathered.left_out["links back to a folder above"] += 1
        return
    for entry in _listing(folder):
        path = folder / entry.name
        # What is no link needs no further look at the disk.
        is_folder = os.path.isdir(path) if entry.is_symlink() else entry.is_dir()
        is_file = os.path.isfile(path) if entry.is_symlink() else entry.is_file()
        if is_folder and not is_image(path) and not path.name.startswith("."):
            _read(path, (*above, real), skip, gathered)
        else:
            gathered.add(path, is_folder=is_folder, is_file=is_file)


def is_image(path: Path) -> bool:
    """Whether a file is called as an image."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def _listing(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        message = (
            f"{folder}: cannot be listed ({error.strerror}); name the folder that holds the images "
            "now (for a checkpoint's data that moved: dataset_root=<folder>)"
        )
        raise InputError(message) from error


def check_names(paths: Iterable[Path]) -> None:
    """Refuse names that JSON, tables and pages cannot hold.

    Raises:
        InputError: for the first path that is not UTF-8.
    """
    for path in paths:
        try:
            str(path).encode()
        except UnicodeEncodeError as error:
            shown = printable(os.fsencode(path).decode("utf-8", "backslashreplace"))
            message = (
                f"{shown}: the name is not UTF-8, so it cannot be written into results; rename it "
                "(convmv -f latin1 -t utf8 -r --notest <folder>)"
            )
            raise InputError(message) from error
