"""The table of a suite as people and programs take it: on the terminal, as Markdown, CSV, HTML."""

from pathlib import Path

from sepico_pl.ablation.results import POLICIES
from sepico_pl.ablation.table import Ablation, cells, heading, headings, notes, title
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
    for note in notes(ablation):
        console.print(printable(note))
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
    parts.append("\n".join(f"- {note}" for note in notes(ablation, as_code)))
    return "\n\n".join([*parts, f"Again: {as_code(ablation.command)}"]) + "\n"


def csv_rows(ablation: Ablation) -> list[list[object]]:
    """Return both tables for programs: a row per policy, setting and control; unrounded."""
    rows: list[list[object]] = [list(COLUMNS)]
    for policy in POLICIES:
        for line in ablation.lines(policy):
            score = line.score
            start = [ablation.phase, policy, line.setting, ablation.title_of(line.setting, policy)]
            start += [" ".join(map(str, line.seeds))]
            means: list[object] = [None, None] if score is None else [score.mean, score.deviation]
            for control, one in line.differences.items():
                low, high = (one and one.interval) or (None, None)
                seeds = [] if one is None else [one.seeds, one.across]
                told: list[object] = [" ".join(map(str, some)) for some in seeds] or [None, None]
                mean = None if one is None else one.mean
                costs = [line.minutes, line.memory_mb]
                rows.append([*start, *means, control, mean, low, high, *told, *costs])
    return rows


def html(ablation: Ablation) -> str:
    """Return both tables as one page that needs no other file."""
    return page(
        "ablation.html.jinja",
        title=title(ablation),
        tables=[
            (policy, heading(policy), headings(ablation, policy), cells(ablation, policy))
            for policy in POLICIES
        ],
        notes=notes(ablation),
        command=ablation.command,
    )
