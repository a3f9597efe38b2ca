"""Which runs repeat one setting with other seeds, and what to call the settings."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from sepico_pl.reporting.runs import Run
from sepico_pl.resuming import FREE_ON_RESUME, flat, key_of
from sepico_pl.types import InputError

DEFAULT = "default"
# Free on resume, yet two runs that differ in one of these may differ in their scores.
SHAPING = {
    "start",
    "data.batch_size",
    "data.judge_batch_size",
    "trainer.devices",
    "trainer.num_nodes",
}
FREE = tuple(f"{key.rstrip('.')}." for key in ("seed", *FREE_ON_RESUME) if key not in SHAPING)
ABSENT = "absent"


@dataclass(frozen=True)
class Setting:
    """Runs that differ in nothing but their seed.

    Attributes:
        name: what tells it from the others.
        runs: by seed.
    """

    name: str
    runs: Mapping[int, Run]

    @property
    def batch_norm(self) -> str:
        """Whose statistics batch norm had when its runs were judged; see `Run.batch_norm`."""
        return next(iter(self.runs.values())).batch_norm

    @property
    def contrast_steps(self) -> int | None:
        """In how many steps its runs contrast; None without a contrast."""
        return next(iter(self.runs.values())).contrast_steps

    def last(self, score: str) -> dict[int, float]:
        """Return a score of the final judging in percent, by seed; seeds without it are left out.

        Args:
            score: "mIoU", "mIoU<n>" or "IoU/<class>".
        """
        return {seed: run.scores[score] for seed, run in self.runs.items() if score in run.scores}

    def best(self, score: str) -> dict[int, float]:
        """Return the highest of a run's logged judgings in percent, by seed."""
        name = f"val/target/{score}"
        judged = {
            seed: [value for value in run.curves[name].values if 0 <= value <= 100.01]
            for seed, run in self.runs.items()
            if name in run.curves
        }
        return {seed: max(values) for seed, values in judged.items() if values}


class Sorted(NamedTuple):
    """What a set of runs consists of.

    Attributes:
        settings: in the order of their runs.
        shared: overrides that all runs were given.
        left_out: a line for each run that does not count.
    """

    settings: list[Setting]
    shared: list[str]
    left_out: list[str]


@dataclass(frozen=True)
class Group:
    """Runs of one resolved configuration, at least one, the oldest first."""

    runs: list[Run]

    @cached_property
    def typed(self) -> list[str]:
        """Overrides that each of its runs was given and that may shape scores."""
        common = set.intersection(*(set(run.record.overrides) for run in self.runs))
        return [word for word in self.runs[0].record.overrides if word in common and shapes(word)]

    def by_seed(self) -> dict[int, Run]:
        """Return the newest run of each seed."""
        return {run.record.config.seed: run for run in self.runs}


def sort_runs(runs: Iterable[Run]) -> Sorted:
    """Group runs into settings.

    Runs are of one setting if their resolved configurations agree in all that may shape scores
    and the fingerprint of their training images is the same, wherever these lie. Of several runs
    with one seed the newest counts.
    """
    left_out, groups = [], dict[tuple[tuple[str, str], ...], list[Run]]()
    for run in runs:
        reason = unusable(run)
        if reason:
            left_out.append(reason)
        else:
            groups.setdefault(tuple(sorted(shaping(run).items())), []).append(run)
    ordered = [Group(sorted(group, key=_time)) for group in groups.values()]
    shared = shared_words(ordered)
    settings = [
        Setting(name, dict(sorted(group.by_seed().items())))
        for name, group in zip(names(ordered, shared), ordered, strict=True)
    ]
    for setting, group in zip(settings, ordered, strict=True):
        left_out += repeated(setting, group)
    return Sorted(settings, shared, left_out)


def unusable(run: Run) -> str | None:
    """Say why a run has no scores to compare, or which of its files is damaged; None if it has."""
    try:
        if run.config and run.scores and run.curves is not None:
            return None
    except InputError as error:
        return str(error)
    if run.is_finished:
        return f"{run.folder}: no scores, it had no labelled target images"
    return f"{run.folder}: no scores yet, it is still running or was killed"


def shapes(word: str) -> bool:
    """Whether an override, or a key of the configuration, may shape scores."""
    return not f"{key_of(word)}.".startswith(FREE)


def shaping(run: Run) -> dict[str, str]:
    """Return what may shape a run's scores, by dotted key.

    Absolute paths of data are left out: they say where images lie, the fingerprint which. So is
    what is null: earlier versions do not have the key.
    """
    leaves = {
        key: _shown(value)
        for key, value in flat(run.config).items()
        if value is not None
        and shapes(key)
        and not (key.startswith("dataset.") and _is_absolute(value))
    }
    return {**leaves, "images": run.record.images}


def shared_words(groups: Sequence[Group]) -> list[str]:
    """Return the overrides that all groups have."""
    first = groups[0].typed if groups else []
    return [word for word in first if all(word in group.typed for group in groups)]


def names(groups: Sequence[Group], shared: Sequence[str]) -> list[str]:
    """Name groups by the overrides that not all have, and where these do not tell, by keys."""
    typed = [
        " ".join(word for word in group.typed if word not in shared) or DEFAULT for group in groups
    ]
    alike: dict[str, list[Group]] = {}
    for name, group in zip(typed, groups, strict=True):
        alike.setdefault(name, []).append(group)
    return [
        name if len(alike[name]) == 1 else f"{name} ({differences(group, alike[name])})"
        for name, group in zip(typed, groups, strict=True)
    ]


def differences(group: Group, alike: Sequence[Group]) -> str:
    """Write out the keys of a group in which those of its name differ."""
    others = [shaping(other.runs[0]) for other in alike]
    own = shaping(group.runs[0])
    keys = sorted({key for other in others for key in other})
    differing = [key for key in keys if len({other.get(key) for other in others}) > 1]
    return ", ".join(f"{key}={own.get(key, ABSENT)}" for key in differing)


def repeated(setting: Setting, group: Group) -> list[str]:
    """Return a line for each run whose seed a newer one has."""
    return [
        f"{run.folder}: seed {run.record.config.seed} of {setting.name} ran again later, "
        f"in {setting.runs[run.record.config.seed].folder}"
        for run in group.runs
        if run is not setting.runs[run.record.config.seed]
    ]


def chosen(wanted: str, settings: Sequence[Setting]) -> Setting:
    """Return the setting whose name is, or alone contains, what is wanted.

    Raises:
        InputError: for none or several, with the names there are.
    """
    exact = [setting for setting in settings if setting.name == wanted]
    found = exact or [setting for setting in settings if wanted in setting.name]
    if len(found) != 1:
        there = "; ".join(setting.name for setting in found or settings)
        problem = "is part of several names" if found else "is part of no setting's name"
        message = f"baseline={wanted} {problem}: choose one of: {there}"
        raise InputError(message)
    return found[0]


def _time(run: Run) -> tuple[str, str]:
    return run.record.time, str(run.folder)


def _is_absolute(value: object) -> bool:
    return isinstance(value, str) and Path(value).is_absolute()


def _shown(value: object) -> str:
    return "null" if value is None else str(value)
