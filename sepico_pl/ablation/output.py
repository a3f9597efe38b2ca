"""The table of a suite as people and programs take it: on the terminal, as Markdown, CSV, HTML."""

from collections.abc import Iterable
from pathlib import Path

from sepico_pl.ablation.results import POLICIES
from sepico_pl.ablation.statistics import Difference
from sepico_pl.ablation.table import Ablation, cells, footnotes, heading, headings, title
from sepico_pl.quoting import as_code, in_markdown, printable
from sepico_pl.reporting.comparing_output import (
    csv_text,
    markdown_table,
    page,
    terminal_table,
    wide_console,
)
from sepico_pl.tables import write_text

COLUMNS = (
    *("phase", "batch_norm", "setting", "title", "seeds", "mean", "deviation", "control"),
    *("difference", "low", "high", "common_seeds", "across_machines", "minutes", "memory_mb"),
)


def print_ablation(ablation: Ablation) -> None:
    """Print both tables, and how to read them."""
    console = wide_console()
    console.print(f"\n{printable(title(ablation))}")
    for policy in POLICIES:
        console.print(f"\n{heading(policy)}")
        console.print(terminal_table(headings(ablation, policy), cells(ablation, policy), texts=1))
    for line in footnotes(ablation):
        console.print(printable(line))
    console.print(f"Again: {printable(ablation.command)}")


def write_ablation(ablation: Ablation, folder: Path) -> list[Path]:
    """Write both tables, each file whole or not at all.

    Returns:
        `<phase>.md`, `<phase>.csv` and `<phase>.html` in `folder`.
    """
    files = {
        folder / f"{ablation.phase}.md": markdown(ablation),
        folder / f"{ablation.phase}.csv": csv_text(csv_rows(ablation)),
        folder / f"{ablation.phase}.html": html(ablation),
    }
    for path, text in files.items():
        write_text(path, text)
    return list(files)


def markdown(ablation: Ablation) -> str:
    """Return both tables as GitHub's Markdown."""
    parts = [f"# {title(ablation)}"]
    for policy in POLICIES:
        rows = [[in_markdown(name), *rest] for name, *rest in cells(ablation, policy)]
        parts += [
            f"## {heading(policy)}",
            markdown_table(headings(ablation, policy), rows, texts=1),
        ]
    parts.append("\n".join(f"- {line}" for line in footnotes(ablation, as_code)))
    return "\n\n".join([*parts, f"Again: {as_code(ablation.command)}"]) + "\n"


def csv_rows(ablation: Ablation) -> list[list[object]]:
    """Return both tables for programs: a row per policy, setting and control; unrounded."""
    rows: list[list[object]] = [list(COLUMNS)]
    for policy in POLICIES:
        for line in ablation.lines(policy):
            mean, deviation = (None, None) if line.score is None else line.score[1:]
            name, seeds = ablation.title_of(line.setting, policy), _joined(line.seeds)
            start = [ablation.phase, policy, line.setting, name, seeds, mean, deviation]
            for control, one in line.differences.items():
                costs = [line.minutes, line.memory_mb]
                rows.append([*start, control, *_difference_cells(one), *costs])
    return rows


def _difference_cells(found: Difference | None) -> list[object]:
    if found is None:
        return [None] * 5
    low, high = found.interval or (None, None)
    return [found.mean, low, high, _joined(found.seeds), _joined(found.across)]


def _joined(seeds: Iterable[int]) -> str:
    return " ".join(map(str, seeds))


def html(ablation: Ablation) -> str:
    """Return both tables as one page that needs no other file."""
    return page(
        "ablation.html.jinja",
        title=title(ablation),
        tables=[
            (policy, heading(policy), headings(ablation, policy), cells(ablation, policy))
            for policy in POLICIES
        ],
        footnotes=footnotes(ablation),
        command=ablation.command,
    )
