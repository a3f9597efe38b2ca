"""Finds the files of a data set: by lists of stems, or by what a folder holds."""

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from sepico_pl.data.checks import Pair
from sepico_pl.data.gathering import Gathered, gather
from sepico_pl.types import InputError


def listed_pairs(folder: Path, split: str) -> list[Pair]:
    """Find images/<stem>.* and labels/<stem>.png for each stem of `folder`/<split>.txt.

    Raises:
        InputError: for a missing or empty list, a stem listed twice or without image or label.
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
        InputError: for a missing or empty list, a stem listed twice or without image.
    """
    listing = folder / f"{split}.txt"
    stems, files = read_stems(listing), images_by_stem(folder / "images")
    missing = [stem for stem in stems if stem not in files]
    if missing:
        message = (
            f"{folder / 'images'}: no image for {missing[0]} ({len(missing)} of {len(stems)} in "
            f"{listing} are missing); restore them or shorten the list"
        )
        raise InputError(message)
    return [files[stem] for stem in stems]


def read_stems(listing: Path) -> list[str]:
    """Read the stems, one a line; they may hold spaces.

    Raises:
        InputError: for a list that cannot be read, is empty, or has a line twice.
    """
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
    twice = [stem for stem, count in _counted(stems).items() if count > 1]
    if twice:
        message = f"{listing}: {twice[0]} is listed twice ({len(twice)} such); keep each line once"
        raise InputError(message)
    return stems


def _counted(stems: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for stem in stems:
        counts[stem] = counts.get(stem, 0) + 1
    return counts


def images_by_stem(folder: Path) -> dict[str, Path]:
    """Return the images in a folder and below it by their name without suffix, in order.

    Raises:
        InputError: if the folder cannot be listed or holds no image, or two share a stem.
    """
    return by_stem(gather(folder))


def by_stem(gathered: Gathered) -> dict[str, Path]:
    """Return images by their path below the folder, "/" between folders, without suffix.

    Raises:
        InputError: if there is none, or two share a stem.
    """
    found: dict[str, Path] = {}
    for path in gathered.images:
        stem = path.relative_to(gathered.place).with_suffix("").as_posix()
        if stem in found:
            message = f"{path}: {found[stem].name} has the same stem; keep one of the two"
            raise InputError(message)
        found[stem] = path
    if not found:
        message = f"{gathered.place}: holds no image {gathered.instead()}"
        raise InputError(message)
    return found


def all_by_stem(folder: Path, others: Collection[Path] = ()) -> dict[str, Path]:
    """Return `images_by_stem` where all of a folder is meant, and print what is left out of it.

    Args:
        folder: to read.
        others: folders of other parts of the data; those below `folder` are not read.

    Raises:
        InputError: if the folder cannot be listed or holds no image, or two share a stem.
    """
    gathered = gather(folder, {other.resolve() for other in others} - {folder.resolve()})
    found = by_stem(gathered)
    if left_out := gathered.described():
        print(left_out)
    return found


def all_images(folder: Path, others: Collection[Path] = ()) -> list[Path]:
    """Return the images of `all_by_stem`.

    Raises:
        InputError: if the folder cannot be listed or holds no image, or two share a stem.
    """
    return list(all_by_stem(folder, others).values())
