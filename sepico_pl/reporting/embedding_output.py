"""The measures of an embedding space as JSON and as a table; its map as SVG and as points."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from torch import Tensor

from sepico_pl.json_files import load_json
from sepico_pl.quoting import in_csv, printable
from sepico_pl.reporting.embedding_map import Points, draw
from sepico_pl.reporting.embedding_measures import COUNTS, MEASURES
from sepico_pl.tables import plain_console, write_json, write_text
from sepico_pl.types import ClassSet, InputError

DEFINITION = (
    "Pixel-wise discrimination distance (PDD) of a class: the mean over its pixels q of "
    "cos(q, mu_y) / sum over k != y of cos(q, mu_k), mu_k the class means of the domain looked at; "
    "our reading of what the SePiCo paper reports under that name."
)
SOURCES = (
    "pdd: after Xie et al., SePiCo, TPAMI 2023 (arXiv 2204.08808); our reading.",
    "margin: of SePiCo's similarities q.mu_k.",
    "distances: Dowson and Landau, Journal of Multivariate Analysis 12, 1982.",
    "map: t-SNE, van der Maaten and Hinton, JMLR 9, 2008, by scikit-learn.",
)
DIGITS = 6
DASH = "-"
SHOWN = 100


def summarise(
    measures: Mapping[str, Tensor], names: Sequence[str], origin: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what `summary.json` holds; null for what is not defined.

    Args:
        measures: (C,) by name, NaN where not defined.
        names: of the classes.
        origin: what was embedded, and how.
    """
    columns = {name: _plain(name, values.tolist()) for name, values in measures.items()}
    rows = [
        {"class": name, **{measure: column[index] for measure, column in columns.items()}}
        for index, name in enumerate(names)
    ]
    return {
        "definition": f"{DEFINITION} Embeddings: {origin['embeddings']}.",
        **origin,
        "rows": rows,
        "means": {name: _mean(column) for name, column in columns.items() if name not in COUNTS},
        "measures": dict(MEASURES),
        "sources": list(SOURCES),
    }


def _plain(name: str, values: Sequence[float]) -> list[float | None]:
    if name in COUNTS:
        return [int(value) for value in values]
    return [None if math.isnan(value) else round(value, DIGITS) for value in values]


def _mean(column: Sequence[float | None]) -> float | None:
    values = [value for value in column if value is not None]
    return round(math.fsum(values) / len(values), DIGITS) if values else None


def print_summary(summary: Mapping[str, Any]) -> None:
    """Print the measures by class, and their means over classes."""
    table = Table()
    table.add_column("class")
    for name in MEASURES:
        table.add_column(name.replace("_", "\n"), justify="right")
    for row in summary["rows"]:
        table.add_row(printable(row["class"]), *(_cell(row[name]) for name in MEASURES))
    table.add_section()
    means = (_cell(summary["means"].get(name)) for name in MEASURES)
    table.add_row("mean", *means, style="bold")
    console = plain_console(24 + 12 * len(MEASURES))
    print(f"\n{printable(summary['checkpoint'])}: {summary['embeddings']}")
    print(f"source: {summary['source_images']}, target: {summary['target_images']}")
    console.print(table)


def _cell(value: float | None) -> str:
    if value is None:
        return DASH
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def write(
    folder: Path, summary: Mapping[str, Any], points: Points | None, classes: ClassSet
) -> None:
    """Write `map.svg`, `points.csv` and `summary.json`, each whole or not at all.

    Without points an earlier map goes: it would not be of these measures. Measures of other
    settings are replaced with a word on what differs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    differing = differences(folder / "summary.json", summary)
    if differing:
        print(f"replaced: {folder}, whose measures had {printable(', '.join(differing))}")
    if points is None:
        for name in ("map.svg", "points.csv"):
            (folder / name).unlink(missing_ok=True)
    else:
        write_text(folder / "map.svg", draw(points, classes))
        write_text(folder / "points.csv", table_of(points, classes.names))
    write_json(folder / "summary.json", summary)


def differences(path: Path, summary: Mapping[str, Any]) -> list[str]:
    """Return the settings in which earlier measures differ, as they were; none where none are."""
    try:
        before = load_json(path) if path.is_file() else summary
    except InputError:
        return []
    settings = [key for key, value in summary.items() if not isinstance(value, dict | list)]
    return [
        f"{key}={str(before.get(key))[:SHOWN]}"
        for key in settings
        if key != "definition" and before.get(key) != summary[key]
    ]


def table_of(points: Points, names: Sequence[str]) -> str:
    """Return the points of a map as CSV."""
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(["x", "y", "class", "domain"])
    for (x, y), label, domain in zip(points.place, points.labels, points.domains, strict=True):
        writer.writerow([f"{x:.3f}", f"{y:.3f}", in_csv(names[label]), domain])
    return content.getvalue()
