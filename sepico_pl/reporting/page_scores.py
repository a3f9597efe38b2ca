"""What a run came to: mean IoU, IoU per class beside a baseline's, and the confusion matrix.

All scores are percent of target validation.
"""

from typing import NamedTuple

from sepico_pl.reporting.page_curves import curves_of
from sepico_pl.reporting.runs import Curve, Run

TARGET = "val/target/"


class Mean(NamedTuple):
    """A mean IoU: at the end, at its best, and the baseline's."""

    name: str
    last: float
    best: float
    best_step: int
    before: float | None


class ClassScore(NamedTuple):
    """The IoU of one class at the end, the baseline's, and how it came about.

    Attributes:
        history: points of a line in a box 100 wide and 24 high, a class never seen has none.
        spoken: the same in words.
    """

    name: str
    score: float | None
    before: float | None
    history: str
    spoken: str

    @property
    def difference(self) -> float | None:
        """Gain over the baseline in points."""
        return None if self.score is None or self.before is None else self.score - self.before


class Cell(NamedTuple):
    """Share of a class's pixels that got one label, in percent."""

    share: float
    prediction: str


class Row(NamedTuple):
    """Where the pixels of one class went; no cells for a class that does not occur."""

    truth: str
    pixels: int
    cells: list[Cell]


def final_scores(run: Run) -> dict[str, float]:
    """Return the final scores, those of the last judging where the run has not ended."""
    if run.scores:
        return run.scores
    return {
        name.removeprefix(TARGET): curve.values[-1]
        for name, curve in curves_of(run).items()
        if name.startswith(TARGET)
    }


def means(run: Run, baseline: Run | None) -> list[Mean]:
    """Return the mean IoU, or those over subsets of the classes where several are in use."""
    curves, scores = curves_of(run), final_scores(run)
    before = final_scores(baseline) if baseline else {}
    names = [name for name in scores if name.startswith("mIoU")]
    result = []
    for name in [name for name in names if name != "mIoU"] or names:
        steps, values = curves.get(TARGET + name, Curve([run.steps], [scores[name]]))
        best = max(values)
        step = steps[values.index(best)]
        result.append(Mean(name, scores[name], best, step, before.get(name)))
    return result


def class_scores(run: Run, baseline: Run | None) -> list[ClassScore]:
    """Return the score of every class, in the order of their ids."""
    curves, scores = curves_of(run), final_scores(run)
    before = final_scores(baseline) if baseline else {}
    result = []
    for name in class_names(run):
        curve = curves.get(f"{TARGET}IoU/{name}")
        key = f"IoU/{name}"
        result.append(
            ClassScore(name, scores.get(key), before.get(key), line(curve), in_words(curve))
        )
    return result


def class_names(run: Run) -> list[str]:
    """Return the names of the classes by id; those that were scored where nothing else says it."""
    if run.confusion is not None:
        return run.confusion.classes
    if run.panel is not None:
        return run.panel.classes
    scored = [name.removeprefix("IoU/") for name in final_scores(run) if name.startswith("IoU/")]
    return sorted(scored)


def line(curve: Curve | None) -> str:
    """Return an IoU over time as the points of an SVG line, 0 to 100 % over the whole height."""
    if curve is None or len(curve.steps) < 2:
        return ""
    first, last = curve.steps[0], curve.steps[-1]
    return " ".join(
        f"{100 * (step - first) / (last - first):.1f},{24 - 0.24 * value:.1f}"
        for step, value in zip(*curve, strict=True)
    )


def in_words(curve: Curve | None) -> str:
    """Return an IoU over time in words."""
    if curve is None:
        return ""
    judged = zip(*curve, strict=True)
    return ", ".join(f"{value:.1f} at step {step}" for step, value in judged)


def confusion_rows(run: Run) -> list[Row]:
    """Return the confusion matrix, each row divided by its sum."""
    if run.confusion is None:
        return []
    classes = run.confusion.classes
    rows = []
    for truth, row in zip(classes, run.confusion.counts, strict=True):
        pixels = sum(row)
        cells = [
            Cell(100 * count / pixels, name)
            for count, name in zip(row, classes, strict=True)
            if pixels
        ]
        rows.append(Row(truth, pixels, cells))
    return rows
