"""Reports on data sets: everything that is wrong with them, in one pass."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sepico_pl.data.checks import SizeMismatch
from sepico_pl.data.datasets import Counts, ImageFolder, SegmentationFolder
from sepico_pl.data.labels import ranges
from sepico_pl.data.ledger import Ledger
from sepico_pl.types import InputError

Collection = ImageFolder | SegmentationFolder


@dataclass
class Report:
    """What was met in one part of a data set.

    Attributes:
        part: what it is called.
        files: items found.
        published: items there should be; None where that is not known.
        sizes: how many images have which size, "HxW".
        pixels: of each class, by name; empty for unlabelled parts.
        problems: what stops training, one line each.
        remarks: what does not.
    """

    part: str
    files: int = 0
    published: int | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    pixels: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """Return the report as plain types."""
        return dict(vars(self))


def inspect(
    part: str,
    collection: Collection,
    class_names: Sequence[str],
    ledger: Ledger,
    published: int | None = None,
) -> Report:
    """Decode every file of a collection and report; nothing is raised for what is found."""
    report = Report(part, published=published)
    try:
        items = collection.pairs if isinstance(collection, SegmentationFolder) else None
        outcomes = collection.examine(ledger)
    except InputError as error:
        report.problems.append(str(error))
        return report
    report.files = len(outcomes)
    counts = np.zeros(len(class_names), np.int64)
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, InputError):
            known = getattr(collection, "skip_mismatches", False)
            known = known and isinstance(outcome, SizeMismatch)
            (report.remarks if known else report.problems).append(
                f"skipped: {outcome}" if known else str(outcome)
            )
            continue
        size = outcome["sizes"][0]
        key = f"{size[0]}x{size[1]}"
        report.sizes[key] = report.sizes.get(key, 0) + 1
        if items is not None:
            counts += np.array(outcome["counts"])
            if not any(outcome["counts"]):
                report.remarks.append(
                    f"{items[index][1]}: every pixel is ignored, no class in it; fetch the label "
                    "again, or take the pair out"
                )
    if items is not None:
        report.pixels = dict(zip(class_names, counts.tolist(), strict=True))
        _add_class_remarks(report, counts, collection)
    _compare_with_published(report, collection)
    return report


def _add_class_remarks(report: Report, counts: Counts, collection: Collection) -> None:
    if not counts.any():
        report.problems.append(f"{report.part}: no pixel of any label has a class")
        return
    absent = [name for name, pixels in report.pixels.items() if not pixels]
    if absent:
        report.remarks.append(f"{report.part}: classes without a pixel: {', '.join(absent)}")
    check_totals = getattr(collection, "check_totals", None)
    try:
        if check_totals is not None:
            check_totals(counts)
    except InputError as error:
        report.problems.append(f"{report.part}: {error}")


def _compare_with_published(report: Report, collection: Collection) -> None:
    if report.published is None or report.files == report.published:
        return
    missing = _missing_numbers(collection, report.published)
    report.remarks.append(
        f"{report.part}: {report.files} items, published are {report.published}"
        + (f"; missing numbers: {missing}" if missing else "")
    )


def _missing_numbers(collection: Collection, published: int) -> str:
    """Name the gaps where files are numbered through, as "2154 to 2158, 4634"."""
    paths = (
        [image for image, _ in collection.pairs]
        if isinstance(collection, SegmentationFolder)
        else collection.images
    )
    if not all(path.stem.isdigit() for path in paths):
        return ""
    there = {int(path.stem) for path in paths}
    first = min(there | {1})
    gaps = [number for number in range(first, first + published) if number not in there]
    runs = ranges(gaps).split(", ")
    return ", ".join(runs[:10]) + (f" and {len(runs) - 10} more gaps" if len(runs) > 10 else "")
