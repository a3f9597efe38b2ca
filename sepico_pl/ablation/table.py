"""The table of a suite in words and rounded numbers, and its footnotes."""

import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sepico_pl.ablation.results import POLICIES, Policy, Row, outdated, rows_of
from sepico_pl.ablation.statistics import Difference, Line, Rows, lines
from sepico_pl.ablation.suites import Phase, Suite
from sepico_pl.reporting.comparing_cells import DASH

ADABN = "AdaBN"


@dataclass(frozen=True)
class Ablation:
    """What is told of a suite.

    Attributes:
        suite: the suite.
        phase: whose seeds count.
        all_rows: of the results file, whatever they are of.
        rows: that count, by setting, then by seed.
        command: that draws the same table, and first runs what is missing.
        results: the file.
    """

    suite: Suite
    phase: Phase
    all_rows: list[Row]
    rows: Mapping[str, Rows]
    command: str
    results: Path

    def lines(self, policy: Policy) -> list[Line]:
        """Return a line for each setting, all of one policy."""
        return lines(self.rows, self.suite.controls, policy)

    def title_of(self, setting: str, policy: Policy) -> str:
        """Return what a table calls a setting."""
        return ADABN if policy == "target" and setting == self.suite.adabn else setting


def ablation_of(
    suite: Suite, phase: Phase, all_rows: list[Row], results: Path, typed: Sequence[str]
) -> Ablation:
    """Gather what is told of a suite.

    Args:
        suite: the suite.
        phase: whose seeds count.
        all_rows: of the results file.
        results: the file.
        typed: words of the command line that choose all of this.
    """
    command = shlex.join(["python", "-m", "sepico_pl.ablate", *typed])
    return Ablation(suite, phase, all_rows, rows_of(suite, phase, all_rows), command, results)


def title(ablation: Ablation) -> str:
    """Say what is shown: the suite, and whose seeds."""
    suite = ablation.suite
    seeds = " ".join(map(str, suite.seeds(ablation.phase)))
    return f"{suite.name}: {ablation.phase} seeds {seeds}"


def heading(policy: Policy) -> str:
    """Say which scores a table holds."""
    return f"Target mIoU, {policy} batch-norm statistics in all rows"


def headings(ablation: Ablation, policy: Policy) -> list[str]:
    """Return the headings of `cells`."""
    controls = [
        f"− {ablation.title_of(control, policy)} [95 % CI]"  # noqa: RUF001
        for control in ablation.suite.controls
    ]
    return ["setting", "n", "mean", "deviation", *controls, "minutes", "memory (MB)"]


def cells(ablation: Ablation, policy: Policy) -> list[list[str]]:
    """Return a table as text."""
    return [
        [
            ablation.title_of(line.setting, policy),
            str(len(line.seeds)),
            _number(None if line.score is None else line.score.mean),
            _number(None if line.score is None else line.score.deviation),
            *(_difference(one) for one in line.differences.values()),
            _number(line.minutes),
            DASH if line.memory_mb is None else f"{line.memory_mb:.0f}",
        ]
        for line in ablation.lines(policy)
    ]


def _number(value: float | None) -> str:
    return DASH if value is None else f"{value:.1f}"


def _difference(found: Difference | None) -> str:
    if found is None:
        return DASH
    if found.interval is None:
        return f"{_signed(found.mean)} (n = 1)"
    low, high = found.interval
    n = len(found.seeds)
    return f"{_signed(found.mean)} [{_signed(low)}, {_signed(high)}] (n = {n})"


def _signed(points: float) -> str:
    return f"{round(points, 1) + 0.0:+.1f}"  # no -0.0


def footnotes(ablation: Ablation, quoted: Callable[[str], str] = str) -> list[str]:
    """Say how to read the numbers, and what is wrong with them.

    Args:
        ablation: what is told.
        quoted: makes users' words text where they are read.
    """
    suite = ablation.suite
    common = quoted(" ".join(suite.common))
    return [
        *([quoted(suite.description)] if suite.description else []),
        f"All runs: {common}.",
        "Percent of target validation after the last step, the student: mean and standard "
        "deviation (n - 1) over n seeds. Differences in points, mean over the common seeds, with "
        "the 95 % confidence interval of Student's t; not corrected for the number of settings.",
        "minutes: mean wall time of training. memory: peak of the training process.",
        _tried(ablation),
        *_incomplete(ablation),
        *_across_machines(ablation),
        *_across_versions(ablation),
        *_outdated(ablation, quoted),
    ]


def _tried(ablation: Ablation) -> str:
    """Say how many settings could have been chosen by the exploration seeds."""
    name = ablation.suite.name
    explored = {
        (row.setting, row.overrides)
        for row in ablation.all_rows
        if row.suite == name and row.phase == "exploration"
    }
    return (
        f"Tried on the exploration seeds: {len(explored)} setting{'s' * (len(explored) != 1)}, "
        "those with other overrides before included."
    )


def _incomplete(ablation: Ablation) -> list[str]:
    seeds = ablation.suite.seeds(ablation.phase)
    missing = {
        setting: [seed for seed in seeds if seed not in rows]
        for setting, rows in ablation.rows.items()
    }
    return [
        f"Incomplete: {setting} lacks seed{'s' * (len(lacking) > 1)} {_listed(lacking)}."
        for setting, lacking in missing.items()
        if lacking
    ]


def _across_machines(ablation: Ablation) -> list[str]:
    """Warn of differences between runs of different machines."""
    return [
        f"Warning: {line.setting} minus {control} crosses machines at seed"
        f"{'s' * (len(one.across) > 1)} {_listed(one.across)}; run both on one machine."
        for line in ablation.lines(POLICIES[0])
        for control, one in line.differences.items()
        if one is not None and one.across
    ]


def _across_versions(ablation: Ablation) -> list[str]:
    """Warn of rows that were not made with one commit and torch, or one setting's images."""
    rows = [row for by_seed in ablation.rows.values() for row in by_seed.values()]
    kinds = {
        "commits": Counter(row.commit for row in rows),
        "versions of torch": Counter(row.torch for row in rows),
    }
    for setting, by_seed in ablation.rows.items():
        kinds[f"images of {setting}"] = Counter(row.images for row in by_seed.values())
    return [
        f"Warning: the {kind} differ: "
        + ", ".join(f"{name} ({count} run{'s' * (count > 1)})" for name, count in found.items())
        + "."
        for kind, found in kinds.items()
        if len(found) > 1
    ]


def _outdated(ablation: Ablation, quoted: Callable[[str], str]) -> list[str]:
    return [
        f"Not used, the overrides of its setting have changed: {row.setting} seed {row.seed}, "
        f"which had {quoted(row.overrides)}."
        for row in outdated(ablation.suite, ablation.all_rows)
        if row.phase == ablation.phase
    ]


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
