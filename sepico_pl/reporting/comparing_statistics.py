"""Means and deviations over seeds, and the paired test against a baseline. Scores in percent."""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from scipy.stats import ttest_rel

from sepico_pl.reporting.comparability import policies_differ
from sepico_pl.reporting.comparing_same import SameRuns
from sepico_pl.reporting.comparing_settings import Setting


class Spread(NamedTuple):
    """Some values, their mean, and their standard deviation (n - 1); None for a single one."""

    values: list[float]
    mean: float
    deviation: float | None


class Paired(NamedTuple):
    """A setting minus the baseline, seed by seed.

    Attributes:
        difference: mean over the common seeds, in points.
        n: common seeds.
        p: of the two-sided paired t-test (Student 1908), None where all differences are equal.
    """

    difference: float
    n: int
    p: float | None


class Line(NamedTuple):
    """What one score came to in one setting.

    Attributes:
        score: "mIoU", or "mIoU<n>" of a class subset.
        setting: its name.
        seeds: that have the score.
        last: at the final judging.
        best: highest of each run's logged judgings; None where none was logged.
        against: the baseline, by the final judging; None without one, for the baseline itself,
            and for less than two common seeds.
    """

    score: str
    setting: str
    seeds: list[int]
    last: Spread
    best: Spread | None
    against: Paired | None


def spread(values: Mapping[int, float]) -> Spread | None:
    """Summarise values by seed; None for no value."""
    if not values:
        return None
    listed = list(values.values())
    return Spread(listed, fmean(listed), stdev(listed) if len(listed) > 1 else None)


def paired(values: Mapping[int, float], baseline: Mapping[int, float]) -> Paired | None:
    """Test values by seed against a baseline's of the same seeds; None for less than two."""
    seeds = sorted(values.keys() & baseline.keys())
    if len(seeds) < 2:
        return None
    ours, theirs = [values[seed] for seed in seeds], [baseline[seed] for seed in seeds]
    differences = [our - their for our, their in zip(ours, theirs, strict=True)]
    p = float(ttest_rel(ours, theirs).pvalue) if len(set(differences)) > 1 else None
    return Paired(fmean(differences), len(seeds), p)


def lines(settings: Sequence[Setting], baseline: Setting | None) -> list[Line]:
    """Return a line per mean score and setting, score by score."""
    result = []
    for score in means_in(settings):
        reference = {} if baseline is None else baseline.last(score)
        for setting in settings:
            values = setting.last(score)
            last = spread(values)
            if last is not None:
                against = None if setting is baseline else paired(values, reference)
                best = spread(setting.best(score))
                result.append(Line(score, setting.name, list(values), last, best, against))
    return result


def means_in(settings: Sequence[Setting]) -> list[str]:
    """Return the mean scores that occur: "mIoU", and those of class subsets."""
    return [name for name in scores_in(settings) if name.startswith("mIoU")]


def classes_in(settings: Sequence[Setting]) -> list[str]:
    """Return the names of the classes that occur."""
    prefix = "IoU/"
    found = scores_in(settings)
    return [name.removeprefix(prefix) for name in found if name.startswith(prefix)]


def scores_in(settings: Sequence[Setting]) -> list[str]:
    """Return the names of all scores, in the order in which the runs have them."""
    runs = [run for setting in settings for run in setting.runs.values()]
    return list(dict.fromkeys(name for run in runs for name in run.scores))


class Comparison(NamedTuple):
    """Everything that is told of a set of runs.

    Attributes:
        settings: what is compared.
        shared: overrides that all runs were given.
        baseline: name of the setting that the others are tested against; None for no test.
        lines: the mean scores.
        classes: IoU at the final judging, by class, then by setting.
        same: settings that some seeds do not tell apart.
        left_out: a line for each run that does not count.
    """

    settings: list[Setting]
    shared: list[str]
    baseline: str | None
    lines: list[Line]
    classes: dict[str, dict[str, Spread]]
    same: list[SameRuns]
    left_out: list[str]

    def setting(self, name: str) -> Setting:
        """Return the setting of this name."""
        return next(setting for setting in self.settings if setting.name == name)

    def crosses_policies(self, line: Line) -> bool:
        """Whether a difference is between runs judged under different batch-norm policies."""
        if self.baseline is None or line.against is None:
            return False
        one, other = self.setting(line.setting), self.setting(self.baseline)
        return policies_differ(one.batch_norm, other.batch_norm)


def per_class(settings: Sequence[Setting]) -> dict[str, dict[str, Spread]]:
    """Return the IoU of the final judging by class, then by setting that has the class."""
    result = {}
    for name in classes_in(settings):
        found = {setting.name: spread(setting.last(f"IoU/{name}")) for setting in settings}
        result[name] = {setting: one for setting, one in found.items() if one is not None}
    return result
