"""The logged quantities of a run as small charts, related ones together."""

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import cycle
from math import ceil
from statistics import fmean
from typing import NamedTuple

from markupsafe import Markup
from matplotlib.ticker import LogLocator

from sepico_pl.quoting import printable
from sepico_pl.reporting.charts import COLOURS, chart, to_svg
from sepico_pl.reporting.runs import Curve, Run

POINTS = 200
LARGEST_VALUE = 1e30
"""What can be drawn, and added up."""
LONGEST_NAME = 80
DOMAINS = r"^(train|val/target|val/source|diagnosis(/gradient)?/\w+)/"
DASHES = ("-", "--", ":")


class Group(NamedTuple):
    """Quantities that share a chart.

    Attributes:
        patterns: of their columns in `metrics.csv`.
        about: what the values are, with their unit.
        logarithmic: whether they range over powers of ten.
    """

    title: str
    patterns: tuple[str, ...]
    about: str
    logarithmic: bool = False


GROUPS = (
    Group("Target mIoU", ("val/target/mIoU*",), "Percent, on target validation."),
    Group("Source mIoU", ("val/source/mIoU*",), "Percent, on source validation."),
    Group(
        "Losses",
        ("train/source", "train/target", "train/mixed", "train/masked"),
        "Of each pass; source and target contain their contrast.",
    ),
    Group("Contrast", ("train/*_contrast",), "The contrast loss of each domain."),
    Group("Auxiliary", ("train/*_auxiliary",), "The control of the contrast, of each domain."),
    Group(
        "Margins",
        ("train/*_margin",),
        "Similarity of a pixel to its own class less that to the nearest other one.",
    ),
    Group(
        "Pseudo-labels",
        ("train/confidence", "train/coverage"),
        "Mean probability of the teacher's labels; share of pixels above the threshold.",
    ),
    Group("Gradient norms", ("train/*gradient*",), "Euclidean.", logarithmic=True),
    Group("Learning rates", ("lr-*",), "Of each parameter group."),
    Group("Speed", ("train/images_per_second",), "Images per second."),
)
DIAGNOSIS_GROUPS = (
    Group(
        "Gradients on the encoder",
        ("diagnosis/gradient/encoder/*",),
        "Euclidean norm of each term's gradient, on the batch of that step.",
        logarithmic=True,
    ),
    Group(
        "Gradients on the decoder",
        ("diagnosis/gradient/decoder/*",),
        "The same at the parameters of the head.",
        logarithmic=True,
    ),
    Group(
        "Pseudo-labels against the truth",
        ("diagnosis/cosine/*",),
        "Cosine between the target contrast's gradients on the encoder by either label.",
    ),
    Group(
        "Margins by true labels",
        ("diagnosis/margin/*",),
        "Similarity of a pixel to its own class less that to the nearest other one.",
    ),
    Group(
        "Accuracy of pseudo-labels",
        ("diagnosis/pseudo_label/*",),
        "Percent right: of all pixels, of those that are trusted, of the contrast's cells.",
    ),
    Group(
        "Accuracy of concepts and head",
        ("diagnosis/accuracy/*",),
        "Percent of the target's cells.",
    ),
    Group(
        "One alone is right",
        ("diagnosis/share/*",),
        "Percent of the target's cells.",
    ),
)
# They stand in the table of classes; the epoch says nothing, there is one.
ELSEWHERE = ("val/*/IoU/*", "epoch")


class Series(NamedTuple):
    """One line of a chart, in numbers."""

    name: str
    first: float
    last: float
    lowest: float
    highest: float


class Chart(NamedTuple):
    """One chart of the page."""

    title: str
    about: str
    svg: Markup
    series: list[Series]


def charts(run: Run, baseline: Run | None) -> list[Chart]:
    """Draw everything that a run logged; columns of no group get a chart each, by their name.

    The target's mIoU of the baseline is drawn too, if one is given.
    """
    columns = curves_of(run)
    before = None if baseline is None else curves_of(baseline).get("val/target/mIoU")
    groups = (*GROUPS, *others(columns))
    return draw_groups(groups, columns, run.record.config.trainer.max_steps, before)


def draw_groups(
    groups: Iterable[Group], columns: Mapping[str, Curve], end: int, before: Curve | None = None
) -> list[Chart]:
    """Draw the groups that have a column, steps 0 to `end`.

    Args:
        groups: in this order.
        columns: of the run.
        end: the last step.
        before: target mIoU of the baseline, if there is one.
    """
    drawn = []
    for group in groups:
        lines = {
            re.sub(DOMAINS, "", name): curve
            for pattern in group.patterns
            for name, curve in columns.items()
            if fnmatchcase(name, pattern)
        }
        if before is not None and group is GROUPS[0]:
            lines["baseline"] = before
        if lines:
            drawn.append(draw(group, lines, end))
    return drawn


def curves_of(run: Run) -> dict[str, Curve]:
    """Return a run's curves, values that can be drawn only."""
    curves = {}
    for name, (steps, values) in run.curves.items():
        points = {
            step: value
            for step, value in zip(steps, values, strict=True)
            if abs(value) <= LARGEST_VALUE
        }
        if points:
            curves[name] = Curve(list(points), list(points.values()))
    return curves


def others(columns: Iterable[str]) -> list[Group]:
    """Return a group for each column that no other has."""
    groups = (*GROUPS, *DIAGNOSIS_GROUPS)
    known = [*ELSEWHERE, *(pattern for group in groups for pattern in group.patterns)]
    return [Group(name, (name,), "As logged.") for name in columns if not matches(name, known)]


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a column's name fits one of the patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def draw(group: Group, lines: dict[str, Curve], end: int) -> Chart:
    """Draw one chart, steps 0 to `end`; lines are told apart by colour, then by dashes."""
    styles = cycle((colour, dash) for dash in DASHES for colour in COLOURS[:-1])
    marker = "." if max(len(curve.steps) for curve in lines.values()) <= POINTS // 5 else None
    columns = max(1, 42 // (max(map(len, lines)) + 6))
    rows = ceil(len(lines) / columns) if len(lines) > 1 else 0
    with chart(width=3.6, height=2.0 + 0.17 * rows) as figure:
        axes = figure.subplots()
        for (name, curve), (colour, dash) in zip(lines.items(), styles, strict=False):
            if name == "baseline":
                colour, dash = COLOURS[-1], "--"
            label = printable(name[:LONGEST_NAME])
            axes.plot(*thinned(curve), color=colour, ls=dash, lw=1.2, marker=marker, label=label)
        if group.logarithmic and all(min(curve.values) > 0 for curve in lines.values()):
            axes.set_yscale("log", subs=())
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xlim(0, 1.02 * end)
        axes.set_xlabel("step")
        axes.grid(alpha=0.2)
        if rows:
            figure.legend(loc="outside lower center", ncols=columns)
        series = [summary(name, curve) for name, curve in lines.items()]
        return Chart(
            group.title, group.about, Markup(to_svg(figure, spoken(group, series))), series
        )


def thinned(curve: Curve) -> Curve:
    """Return at most `POINTS` points: means of as many neighbours as that takes."""
    size = ceil(len(curve.steps) / POINTS)
    starts = range(0, len(curve.steps), size)
    return Curve(
        [curve.steps[start : start + size][-1] for start in starts],
        [fmean(curve.values[start : start + size]) for start in starts],
    )


def summary(name: str, curve: Curve) -> Series:
    """Return a line in numbers."""
    values = curve.values
    return Series(name, values[0], values[-1], min(values), max(values))


def spoken(group: Group, series: Sequence[Series]) -> str:
    """Describe a chart to those who cannot see it."""
    lines = "; ".join(f"{one.name} from {one.first:.3g} to {one.last:.3g}" for one in series)
    return f"{group.title} by training step: {lines}"
