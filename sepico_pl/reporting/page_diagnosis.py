"""The diagnosis of a run on its page: curves, and the last measurement class by class."""

from typing import NamedTuple

from sepico_pl.diagnosis.history import History, Measurement
from sepico_pl.reporting.page_curves import DIAGNOSIS_GROUPS, Chart, curves_of, draw_groups
from sepico_pl.reporting.runs import Run


class ClassCells(NamedTuple):
    """Cells of one true class: how many, and percentages of them; see `counts.CellCounts`."""

    name: str
    cells: int
    concept: float
    head: float
    concept_alone: float
    head_alone: float


class DiagnosisPart(NamedTuple):
    """What the page shows.

    Attributes:
        step: of the last measurement by class; None if there is none.
        rows: its classes that occur.
        images: how many it looked at.
    """

    charts: list[Chart]
    step: int | None
    rows: list[ClassCells]
    images: int


def diagnosis_of(run: Run) -> DiagnosisPart | None:
    """Return what a run's diagnosis measured; None if there is nothing."""
    charts = draw_groups(DIAGNOSIS_GROUPS, curves_of(run), run.record.config.trainer.max_steps)
    history = run.diagnosis
    if history is None or not history.history:
        return DiagnosisPart(charts, None, [], 0) if charts else None
    last = history.history[-1]
    return DiagnosisPart(charts, last.step, class_rows(history, last), len(history.images))


def class_rows(history: History, measured: Measurement) -> list[ClassCells]:
    """Return a row for each class that occurs in a measurement."""
    columns = (measured.cells, measured.concept, measured.head, measured.both)
    return [
        ClassCells(
            name,
            cells,
            100 * concept / cells,
            100 * head / cells,
            100 * (concept - both) / cells,
            100 * (head - both) / cells,
        )
        for name, cells, concept, head, both in zip(history.classes, *columns, strict=True)
        if cells > 0
    ]
