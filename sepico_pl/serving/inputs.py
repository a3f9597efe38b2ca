"""Finds the images to predict, and what to call their results."""

import glob
import itertools
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from sepico_pl.data.gathering import Gathered, check_names, gather
from sepico_pl.quoting import no_images
from sepico_pl.serving.results import SUFFIXES
from sepico_pl.types import InputError

VIDEO_SUFFIXES = {".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"}


class Photograph(NamedTuple):
    """An image to predict.

    Attributes:
        path: the file.
        name: of its results without suffix, such as "berlin/0001": relative, "/" between folders.
    """

    path: Path
    name: str


def find_photographs(images: str, output: Path) -> list[Photograph]:
    """Return the images that `images` stands for, in the order of their paths.

    Args:
        images: a file, a folder (with all folders below it, linked ones too), or a pattern with
            `*`, `?` or `**`. What else is there is counted and printed.
        output: folder of results; what lies in its `ids/`, `overlay/` and so on is no input.

    Raises:
        InputError: if there is none, or it is a video.
    """
    root, gathered = _gathered(images, output)
    if not gathered.images:
        message = f"images={images}: no image there {gathered.instead()}"
        raise InputError(message)
    check_names(gathered.images)
    if left_out := gathered.described():
        print(left_out)
    return named(gathered.images, root)


def _gathered(images: str, output: Path) -> tuple[Path, Gathered]:
    """Return what names are relative to, and the files."""
    path = Path(images).expanduser()
    if path.suffix.lower() in VIDEO_SUFFIXES:
        message = (
            f"images={images}: a video; split it into frames, mkdir frames && "
            f"ffmpeg -i {path.name} frames/%06d.png, and give images=frames"
        )
        raise InputError(message)
    results = {(output / kind).resolve() for kind in SUFFIXES}
    if path.is_file():
        return path.parent, Gathered(path, [path])
    if path.is_dir():
        if path.resolve() == output.resolve():
            message = f"output={output}: the folder of the images; choose another one"
            raise InputError(message)
        return path, gather(path, results)
    if not glob.has_magic(str(path)):
        raise InputError(no_images(images))
    root = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), path.parts))
    return root, _matching(path, results)


def _matching(pattern: Path, results: set[Path]) -> Gathered:
    """Return the images that a pattern names, and count what else it names."""
    gathered = Gathered(pattern)
    for one in sorted(glob.iglob(str(pattern), recursive=True)):
        path = Path(one)
        real = path.resolve()
        entered = path.is_dir() and "**" in pattern.parts
        if not entered and results.isdisjoint([real, *real.parents]):
            gathered.add(path, is_folder=path.is_dir(), is_file=path.is_file())
    gathered.images.sort()
    return gathered


def named(paths: Iterable[Path], root: Path) -> list[Photograph]:
    """Name results after their files below `root`, without suffix where that tells them apart.

    File systems that take "A" and "a" for one are thought of.
    """
    relative = {path: path.relative_to(root) for path in paths}
    stems = Counter(_folded(one.with_suffix("")) for one in relative.values())
    files = {_folded(one) for one in relative.values()}
    return [
        Photograph(path, (one if _is_shared(one, stems, files) else one.with_suffix("")).as_posix())
        for path, one in relative.items()
    ]


def _is_shared(path: Path, stems: Counter[str], files: set[str]) -> bool:
    """Whether another file has this one's name but for the suffix, or all of it as its name."""
    stem = _folded(path.with_suffix(""))
    return stems[stem] > 1 or stem in files


def _folded(path: Path) -> str:
    return path.as_posix().casefold()
