"""What the runs of a suite came to with one batch-norm policy: means, and paired differences."""

from collections.abc import Mapping
from math import sqrt
from statistics import fmean
from typing import NamedTuple

from scipy.stats import t as student

from sepico_pl.ablation.results import Policy, Row
from sepico_pl.reporting.comparing_statistics import Spread, spread

CONFIDENCE = 0.95
Rows = Mapping[int, Row]
"""Rows of one setting, by seed."""


class Difference(NamedTuple):
    """A setting minus a control, seed by seed.

    Attributes:
        mean: in points, over the common seeds; at least one.
        interval: that holds the true mean with 95 % confidence (Student's t over seeds); None for a
            single seed.
        seeds: in common.
        across: those of them that were run on two different machines.
    """

    mean: float
    interval: tuple[float, float] | None
    seeds: list[int]
    across: list[int]


class Line(NamedTuple):
    """What a setting came to.

    Attributes:
        setting: its name in the suite.
        seeds: that are finished.
        score: mean IoU over them; None where none is.
        differences: by control; None where no seed is in common, and for the control itself.
        minutes: mean wall time of training of the seeds where it is known; None for none.
        memory_mb: peak over the seeds where it is known; None for none.
    """

    setting: str
    seeds: list[int]
    score: Spread | None
    differences: dict[str, Difference | None]
    minutes: float | None
    memory_mb: float | None


def difference(ours: Rows, control: Rows, policy: Policy) -> Difference | None:
    """Return a setting's score minus a control's over their common seeds; None without any."""
    seeds = sorted(ours.keys() & control.keys())
    found = spread({seed: ours[seed].score(policy) - control[seed].score(policy) for seed in seeds})
    if found is None:
        return None
    across = [seed for seed in seeds if ours[seed].machine != control[seed].machine]
    return Difference(found.mean, interval(found), seeds, across)


def interval(values: Spread) -> tuple[float, float] | None:
    """Return the confidence interval of a mean; None for a single value."""
    if values.deviation is None:
        return None
    n = len(values.values)
    half = float(student.ppf((1 + CONFIDENCE) / 2, n - 1)) * values.deviation / sqrt(n)
    return values.mean - half, values.mean + half


def lines(rows: Mapping[str, Rows], controls: list[str], policy: Policy) -> list[Line]:
    """Return a line for each setting.

    Args:
        rows: by setting, then by seed.
        controls: names of settings.
        policy: of batch norm, one for all lines.
    """
    return [
        Line(
            setting=setting,
            seeds=list(ours),
            score=spread({seed: row.score(policy) for seed, row in ours.items()}),
            differences={
                control: None if control == setting else difference(ours, rows[control], policy)
                for control in controls
            },
            minutes=_mean([row.seconds / 60 for row in ours.values() if row.seconds is not None]),
            memory_mb=max(
                (row.memory_mb for row in ours.values() if row.memory_mb is not None), default=None
            ),
        )
        for setting, ours in rows.items()
    ]


def _mean(values: list[float]) -> float | None:
    return fmean(values) if values else None
