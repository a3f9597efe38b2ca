"""Settings that, seed by seed, gave one and the same run: what tells them apart had no effect."""

from collections.abc import Sequence
from typing import NamedTuple

from sepico_pl.reporting.comparing_settings import Setting
from sepico_pl.reporting.runs import Curve, Run

LOSSES = ("train/source", "train/target", "train/mixed")
Trace = tuple[tuple[tuple[str, float], ...], tuple[tuple[str, Curve], ...]]


class SameRuns(NamedTuple):
    """Settings, and the seeds with which they gave the same scores and losses to the bit."""

    settings: tuple[str, ...]
    seeds: list[int]


def same_runs(settings: Sequence[Setting]) -> list[SameRuns]:
    """Find the settings that some seeds do not tell apart, each set of them once."""
    found: dict[tuple[str, ...], list[int]] = {}
    for seed in sorted({seed for setting in settings for seed in setting.runs}):
        for alike in alike_with(seed, settings):
            found.setdefault(alike, []).append(seed)
    return [SameRuns(alike, seeds) for alike, seeds in found.items()]


def alike_with(seed: int, settings: Sequence[Setting]) -> list[tuple[str, ...]]:
    """Return the names of the settings whose runs with this seed are the same, two or more."""
    traced: list[tuple[Trace, list[str]]] = []
    for setting in settings:
        if seed not in setting.runs or not losses_of(setting.runs[seed]):
            continue
        trace = trace_of(setting.runs[seed])
        names = next((names for other, names in traced if other == trace), None)
        if names is None:
            traced.append((trace, [setting.name]))
        else:
            names.append(setting.name)
    return [tuple(names) for _, names in traced if len(names) > 1]


def trace_of(run: Run) -> Trace:
    """Return the final scores and the logged losses of a run."""
    return tuple(sorted(run.scores.items())), tuple(losses_of(run).items())


def losses_of(run: Run) -> dict[str, Curve]:
    """Return the logged losses; one that is 0 throughout is as good as none."""
    return {name: run.curves[name] for name in LOSSES if any(run.curves.get(name, ([], []))[1])}
