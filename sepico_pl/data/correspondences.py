"""Which day image belongs to a night image of Dark Zurich: the nearest by GPS.

The corresp files have rows "train/night/<seq>/<stem>,train/day/<seq>/<stem>" without a header.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from sepico_pl.types import InputError

SUFFIX = "_rgb_anon.png"


def day_references(root: Path, period: str, images: Sequence[Path]) -> list[Path]:
    """Return the day image of each training image.

    Raises:
        InputError: if there is no csv file, an image is in none, or rows contradict each other.
    """
    folder = root / "corresp" / "train" / period
    days = read_correspondences(folder)
    found = []
    for image in images:
        key = image.relative_to(root / "rgb_anon").as_posix().removesuffix(SUFFIX)
        if key not in days:
            message = (
                f"{image}: no day image in {folder}/**/*.csv ({len(days)} rows); fetch the "
                "corresp files again, or train without: dataset.target.references=false "
                "vote=teacher"
            )
            raise InputError(message)
        found.append(root / "rgb_anon" / f"{days[key]}{SUFFIX}")
    return found


def read_correspondences(folder: Path) -> dict[str, str]:
    """Read all csv files below a folder: {image: day image}, without folder and suffix.

    Raises:
        InputError: if there is none, a row has not two columns, or two rows differ.
    """
    days: dict[str, str] = {}
    files = sorted(folder.rglob("*.csv"))
    if not files:
        message = (
            f"{folder}: no csv file of day correspondences; unpack corresp/ there, or train "
            "without: dataset.target.references=false vote=teacher"
        )
        raise InputError(message)
    for file in files:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            for number, row in enumerate(csv.reader(lines), start=1):
                if not row:
                    continue
                if len(row) != 2:
                    message = f"{file}:{number}: {len(row)} columns; a row is <night>,<day>"
                    raise InputError(message)
                dark, day = (column.strip() for column in row)
                if days.setdefault(dark, day) != day:
                    message = (
                        f"{file}:{number}: {dark} has the day image {day} here and {days[dark]} "
                        "elsewhere; keep one of the rows"
                    )
                    raise InputError(message)
    return days
