"""Scores as tables: printed for people, written for programs. Every file is whole or absent."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sepico_pl.types import InputError

Scores = Mapping[str, float]
Rows = dict[str, dict[str, str]]


def print_scores(title: str, class_names: Sequence[str], columns: Mapping[str, Scores]) -> None:
    """Print IoU per class and mIoU (percent) of several evaluations side by side.

    Args:
        title: above the table.
        class_names: the rows.
        columns: scores by heading, with the keys "mIoU", "mIoU<n>" and "IoU/<class>"; a
            dash where a class is absent.
    """
    table = Table()
    table.add_column("class")
    for heading in columns:
        table.add_column(heading, justify="right")
    for name in class_names:
        table.add_row(name, *(_cell(scores.get(f"IoU/{name}")) for scores in columns.values()))
    table.add_section()
    for name in _means(columns):
        heading = name if name == "mIoU" else f"mIoU of {name.removeprefix('mIoU')} classes"
        cells = (_cell(scores.get(name)) for scores in columns.values())
        table.add_row(heading, *cells, style="bold")
    print(f"\n{title}")
    Console(width=24 + 30 * len(columns)).print(table)


def _means(columns: Mapping[str, Scores]) -> list[str]:
    """Return the means to show: those of named subsets, or the plain one where there are none."""
    names = dict.fromkeys(name for scores in columns.values() for name in scores)
    subsets = [name for name in names if name.startswith("mIoU") and name != "mIoU"]
    return subsets or ["mIoU"]


def _cell(score: float | None) -> str:
    return "-" if score is None else f"{score:.1f}"


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a name beside `path` to write to; it becomes `path` when all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, content: object) -> None:
    """Write JSON whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_rows(path: Path) -> Rows:
    """Read a metrics file by step; nothing where there is none."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {
            row["step"]: {key: row[key] for key in row if row[key] and key != "step"}
            for row in csv.DictReader(file)
        }


def write_rows(path: Path, rows: Rows) -> None:
    """Write a metrics file, whole or not at all.

    Raises:
        InputError: if it cannot be written; what was there before is left as it is.
    """
    columns = sorted({key for row in rows.values() for key in row} | {"step"})
    try:
        with (
            written_whole(path) as partial,
            partial.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows({**row, "step": step} for step, row in rows.items())
    except OSError as error:
        message = (
            f"{path} cannot be written ({error.strerror}); free some space, or mend the folder"
        )
        raise InputError(message) from error
