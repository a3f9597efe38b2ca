"""Scores as tables: printed for people, written for programs. Every file is whole or absent."""

import csv
import errno
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from sepico_pl.quoting import never_fail_to_print, printable
from sepico_pl.types import InputError

Scores = Mapping[str, float]
Rows = dict[str, dict[str, str]]

LARGEST_STEP = 10**12
LARGEST_PROCESS = 2**22
MOST_COLUMNS = 1000


class Salvage(NamedTuple):
    """What could be read of a metrics file, and the first thing that is wrong; None if nothing."""

    rows: Rows
    fault: str | None


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
        table.add_column(printable(heading), justify="right")
    for name in class_names:
        cells = (_cell(scores.get(f"IoU/{name}")) for scores in columns.values())
        table.add_row(printable(name), *cells)
    table.add_section()
    for name in _means(columns):
        heading = name if name == "mIoU" else f"mIoU of {name.removeprefix('mIoU')} classes"
        cells = (_cell(scores.get(name)) for scores in columns.values())
        table.add_row(heading, *cells, style="bold")
    console = plain_console(24 + 30 * len(columns))
    print(f"\n{printable(title)}")
    console.print(table)


def plain_console(width: int | None = None) -> Console:
    """Return a console to which text is text: no markup, no emoji names, any character.

    Args:
        width: in characters; None for the terminal's.
    """
    never_fail_to_print()
    return Console(width=width, markup=False, emoji=False, highlight=False)


def _means(columns: Mapping[str, Scores]) -> list[str]:
    """Return the means to show: those of named subsets, or the plain one where there are none."""
    names = dict.fromkeys(name for scores in columns.values() for name in scores)
    subsets = [name for name in names if name.startswith("mIoU") and name != "mIoU"]
    return subsets or ["mIoU"]


def _cell(score: float | None) -> str:
    return "-" if score is None else f"{score:.1f}"


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a name beside `path` to write to; it becomes `path` when all is on the disk.

    The name is this process's own: of two that write the same file, one wins whole.

    Raises:
        OSError: naming `path`, if it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    try:
        yield partial
        _flush(partial, os.O_RDWR)
        partial.replace(path)
        with suppress(OSError):  # some file systems cannot flush a folder
            _flush(path.parent, os.O_RDONLY)
    except OSError as error:
        unnamed = error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if unnamed or str(error.filename) == str(partial):
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def _flush(path: Path, mode: int) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, mode)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_writable(path: Path, key: str) -> None:
    """Refuse a file that could not be written once long work is done; its folder is made.

    Raises:
        InputError: naming it by `key`, the option that chooses it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        _partial(path).touch()
        _partial(path).unlink()
    except OSError as error:
        message = f"{key}={path} cannot be written ({error.strerror}); choose another: {key}=<file>"
        raise InputError(message) from error


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed had begun to write, in a folder and those below it.

    What a process of this machine that still runs is writing stays.
    """
    for partial in folder.rglob("*.partial"):
        if not _is_written(partial):
            partial.unlink(missing_ok=True)


def _is_written(partial: Path) -> bool:
    """Whether the process that a partial file is named after still runs."""
    number = partial.name.removesuffix(".partial").rpartition(".")[2]
    if not number.isdecimal() or len(number) > len(str(LARGEST_PROCESS)):
        return False
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return int(number) != os.getpid()


def rename_damaged(path: Path) -> Path:
    """Rename a damaged file to `<name>.damaged.<suffix>`, or with a number where that is taken."""
    numbers = ("", *(f"_{number}" for number in range(2, 1000)))
    names = (path.with_name(f"{path.stem}.damaged{number}{path.suffix}") for number in numbers)
    beside = next(name for name in names if not name.exists())
    return path.rename(beside)


def write_json(path: Path, content: object) -> None:
    """Write JSON whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all; what UTF-8 cannot hold is written out."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_rows(path: Path) -> Rows:
    """Read a metrics file by step; nothing where there is none.

    Raises:
        InputError: if it is damaged.
    """
    rows, fault = salvage_rows(path)
    if fault is not None:
        message = f"{path}: {fault}; restore it, or leave this run out"
        raise InputError(message)
    return rows


def salvage_rows(path: Path) -> Salvage:
    """Read the rows of a metrics file that are whole; nothing where there is none."""
    if not path.is_file():
        return Salvage({}, None)
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        return Salvage({}, f"cannot be read ({error.strerror})")
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        columns = next(reader, [])
    except csv.Error as error:
        return Salvage({}, f"line 1: {error}")
    if "step" not in columns or len(set(columns)) < len(columns) or len(columns) > MOST_COLUMNS:
        fault = f"its first line does not name step and up to {MOST_COLUMNS} different columns"
        return Salvage({}, fault)
    salvage = _whole_rows(reader, columns)
    if salvage.fault is None and not text.endswith("\n"):
        return Salvage(dict(list(salvage.rows.items())[:-1]), "its last line is cut")
    return salvage


def _whole_rows(reader: Iterator[list[str]], columns: Sequence[str]) -> Salvage:
    rows: Rows = {}
    fault = None
    number = 1
    while True:
        number += 1
        try:
            cells = next(reader)
            if cells:
                step, row = _row(columns, cells)
                rows[step] = row
        except StopIteration:
            return Salvage(rows, fault)
        except (csv.Error, ValueError) as error:
            fault = fault or f"row {number}: {error}"


def _row(columns: Sequence[str], cells: Sequence[str]) -> tuple[str, dict[str, str]]:
    if len(cells) != len(columns):
        message = f"{len(cells)} cells instead of {len(columns)}"
        raise ValueError(message)
    found = dict(zip(columns, cells, strict=True))
    return _step(found.pop("step")), {key: _number(cell) for key, cell in found.items() if cell}


def _step(cell: str) -> str:
    if not cell.isdecimal() or len(cell) > len(str(LARGEST_STEP)):
        message = "its step is no number"
        raise ValueError(message)
    return str(int(cell))


def _number(cell: str) -> str:
    try:
        float(cell)
    except ValueError:
        message = "a cell is no number"
        raise ValueError(message) from None
    return cell


def write_rows(path: Path, rows: Rows) -> None:
    """Write a metrics file, whole or not at all.

    Raises:
        InputError: if it cannot be written; what was there before is left as it is.
    """
    columns = sorted({key for row in rows.values() for key in row} | {"step"})
    content = io.StringIO(newline="")
    writer = csv.DictWriter(content, columns)
    writer.writeheader()
    writer.writerows({**row, "step": step} for step, row in rows.items())
    try:
        write_text(path, content.getvalue())
    except OSError as error:
        message = (
            f"{path} cannot be written ({error.strerror}); free some space, or mend the folder"
        )
        raise InputError(message) from error
