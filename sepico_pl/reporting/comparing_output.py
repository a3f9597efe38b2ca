"""A comparison as people and programs take it: on the terminal, as CSV, Markdown and HTML."""

import csv
import io
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from rich.console import Console
from rich.table import Table

from sepico_pl.quoting import as_code, in_csv, in_markdown, printable
from sepico_pl.reporting.comparing_cells import (
    HEADINGS,
    class_cells,
    class_headings,
    left_out,
    notes,
    summary_cells,
    title,
)
from sepico_pl.reporting.comparing_statistics import Comparison, Line
from sepico_pl.tables import plain_console, write_text

WIDTH_OF_FILES = 160


def print_comparison(comparison: Comparison) -> None:
    """Print the mean scores, the classes, and how to read them."""
    console = wide_console()
    console.print(f"\n{title(comparison)}")
    console.print(terminal_table(HEADINGS, summary_cells(comparison), texts=3))
    console.print(terminal_table(class_headings(comparison), class_cells(comparison), texts=1))
    for note in [*notes(comparison), *left_out(comparison)]:
        console.print(printable(note))


def write_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Write the comparison, each file whole or not at all.

    Returns:
        `compare.csv`, `compare_classes.csv`, `compare.md` and `compare.html` in `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "compare.csv": csv_text(summary_rows(comparison)),
        "compare_classes.csv": csv_text(class_rows(comparison)),
        "compare.md": markdown(comparison),
        "compare.html": html(comparison),
    }
    for name, text in files.items():
        write_text(folder / name, text)
    return [folder / name for name in files]


def wide_console() -> Console:
    """Return a console as wide as the terminal, or as a table needs in a file."""
    return plain_console(None if sys.stdout.isatty() else WIDTH_OF_FILES)


def terminal_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int) -> Table:
    """Lay out rows whose first columns are texts and whose others are numbers."""
    table = Table()
    for index, heading in enumerate(headings):
        table.add_column(printable(heading), justify="left" if index < texts else "right")
    for row in rows:
        table.add_row(*map(printable, row))
    return table


def summary_rows(comparison: Comparison) -> list[list[object]]:
    """Return the mean scores for programs: unrounded, empty where there is none."""
    rows: list[list[object]] = [
        ["score", "setting", "seeds", "last_mean", "last_deviation", "best_mean", "best_deviation"]
    ]
    rows[0] += ["baseline", "difference", "common_seeds", "p"]
    rows[0] += ["batch_norm", "baseline_batch_norm", "contrast_steps"]
    reference = None if comparison.baseline is None else comparison.setting(comparison.baseline)
    for line in comparison.lines:
        best, against = line.best or (None, None, None), line.against or (None, None, None)
        seeds = " ".join(map(str, line.seeds))
        rows.append(
            [line.score, line.setting, seeds, *line.last[1:], *best[1:], comparison.baseline]
        )
        setting = comparison.setting(line.setting)
        policy = None if reference is None else reference.batch_norm
        rows[-1] += [*against, setting.batch_norm, policy, setting.contrast_steps]
    return rows


def class_rows(comparison: Comparison) -> list[list[object]]:
    """Return the IoU of the final judging for programs: a row per class and setting."""
    rows: list[list[object]] = [["class", "setting", "n", "mean", "deviation"]]
    for name, found in comparison.classes.items():
        for setting, one in found.items():
            rows.append([name, setting, len(one.values), one.mean, one.deviation])
    return rows


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Return rows as CSV; None is an empty cell, and no text is a formula."""
    content = io.StringIO()
    harmless = (map(in_csv, row) for row in rows)
    csv.writer(content, lineterminator="\n").writerows(harmless)
    return content.getvalue()


def markdown(comparison: Comparison) -> str:
    """Return the comparison as GitHub's Markdown."""
    summary = [
        (in_markdown(score), as_code(name), *rest)
        for score, name, *rest in summary_cells(comparison)
    ]
    heading, *settings = class_headings(comparison)
    classes = [(in_markdown(name), *rest) for name, *rest in class_cells(comparison)]
    parts = [
        title(comparison),
        markdown_table(HEADINGS, summary, texts=3),
        markdown_table([heading, *map(as_code, settings)], classes, texts=1),
        "\n".join(
            f"- {note}" for note in [*notes(comparison, as_code), *left_out(comparison, as_code)]
        ),
    ]
    return "\n\n".join(parts) + "\n"


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int) -> str:
    """Return a table whose first columns are texts and whose others are numbers."""
    marks = ["---" if index < texts else "--:" for index in range(len(headings))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [headings, marks, *rows])


def html(comparison: Comparison) -> str:
    """Return the comparison as one page that needs no other file."""
    return page(
        "comparing.html.jinja",
        title=title(comparison),
        headings=HEADINGS,
        rows=zip(summary_cells(comparison), dots(comparison.lines), strict=True),
        class_headings=class_headings(comparison),
        class_rows=class_cells(comparison),
        notes=notes(comparison),
        left_out=left_out(comparison),
    )


def page(template: str, **values: object) -> str:
    """Return a page of a template of this folder; every text in it is escaped."""
    environment = Environment(
        loader=PackageLoader("sepico_pl", "reporting"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template(template).render(**values)


def dots(lines: Sequence[Line]) -> list[list[float]]:
    """Return where each line's seeds lie in [0, 100] between the extremes of its score."""
    placed = []
    for line in lines:
        values = [value for other in lines if other.score == line.score for value in other.last[0]]
        low, high = min(values), max(values)
        scale = 100 / (high - low) if high > low else 0
        placed.append([(value - low) * scale for value in line.last.values])
    return placed
