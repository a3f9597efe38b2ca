"""A comparison in words and rounded numbers: what its tables and notes say."""

from collections.abc import Callable

from sepico_pl.reporting.comparability import (
    BOTH_UNDER_ONE,
    NO_CONTRAST,
    OTHER_POLICY,
    STATISTICS,
)
from sepico_pl.reporting.comparing_statistics import Comparison, Line, Spread

HEADINGS = ("score", "setting", "seeds", "last", "best", "difference", "n", "p")
DASH = "-"


def title(comparison: Comparison) -> str:
    """Say how much is compared."""
    runs = sum(len(setting.runs) for setting in comparison.settings)
    settings = len(comparison.settings)
    return f"{settings} setting{'s' * (settings != 1)}, {runs} run{'s' * (runs != 1)}"


def notes(comparison: Comparison, quoted: Callable[[str], str] = str) -> list[str]:
    """Say how to read the numbers; `quoted` makes users' words text where the notes are read."""
    shared = quoted(" ".join(comparison.shared))
    reading = [f"All runs: {shared}."] if comparison.shared else []
    reading += [
        "Percent of target validation: mean ± standard deviation (n - 1) over seeds.",
        "last: the final judging. best: the highest of each run's logged judgings, chosen by "
        "target labels that an adaptation setting would not have; report last.",
    ]
    reading += [
        *policy_notes(comparison, quoted),
        *contrast_notes(comparison),
        *same_notes(comparison, quoted),
    ]
    if comparison.baseline is None:
        return [*reading, "baseline=<setting> adds a paired test against it."]
    return [
        *reading,
        f"difference: points of last over {quoted(comparison.baseline)}, mean over the n common "
        "seeds. p: two-sided paired t-test, not corrected for the number of settings. With two or "
        "three seeds it can show little: a large p does not say that two settings are equal.",
    ]


def policy_notes(comparison: Comparison, quoted: Callable[[str], str] = str) -> list[str]:
    """Say with which batch-norm statistics settings were judged; `quoted` as for `notes`."""
    judged: dict[str, list[str]] = {}
    for setting in comparison.settings:
        judged.setdefault(STATISTICS[setting.batch_norm], []).append(setting.name)
    if len(judged) == 1:
        return [f"All were judged with {next(iter(judged))}."]
    told = [
        f"Judged with {statistics}: {'; '.join(map(quoted, names))}."
        for statistics, names in judged.items()
    ]
    if any(map(comparison.crosses_policies, comparison.lines)):
        told.append(
            f"{OTHER_POLICY} judged under another batch-norm policy than the baseline: a part of "
            f"the difference may be batch norm's alone. {quoted(BOTH_UNDER_ONE)} judges a run "
            "under another."
        )
    return told


def contrast_notes(comparison: Comparison) -> list[str]:
    """Explain the mark of settings that end before their contrast starts, if there are any."""
    if not any(contrasts_never(line, comparison) for line in comparison.lines):
        return []
    return [f"{NO_CONTRAST} ended before its contrast starts (adapt.contrast_start)."]


def same_notes(comparison: Comparison, quoted: Callable[[str], str] = str) -> list[str]:
    """Name the settings that gave the same run; `quoted` as for `notes`."""
    return [
        f"{' and '.join(map(quoted, same.settings))} gave the same run for "
        f"seed{'s' * (len(same.seeds) > 1)} {' '.join(map(str, same.seeds))}: equal scores and "
        "losses, to the bit."
        for same in comparison.same
    ]


def left_out(comparison: Comparison, quoted: Callable[[str], str] = str) -> list[str]:
    """Name the runs that do not count; `quoted` as for `notes`."""
    return [f"left out: {quoted(line)}" for line in comparison.left_out]


def summary_cells(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return the mean scores as text, in the order of `HEADINGS`."""
    return [
        (
            line.score,
            line.setting,
            " ".join(map(str, line.seeds)),
            shown(line.last) + _mark(NO_CONTRAST, contrasts_never(line, comparison)),
            shown(line.best),
            *_tested(line, comparison),
        )
        for line in comparison.lines
    ]


def contrasts_never(line: Line, comparison: Comparison) -> bool:
    """Whether the runs of a line end before their contrast starts."""
    return comparison.setting(line.setting).contrast_steps == 0


def _mark(sign: str, is_due: bool) -> str:
    return f" {sign}" if is_due else ""


def _tested(line: Line, comparison: Comparison) -> tuple[str, str, str]:
    if line.setting == comparison.baseline:
        return "baseline", DASH, DASH
    if line.against is None:
        return DASH, DASH, DASH
    p = line.against.p
    probability = DASH if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"
    difference = round(line.against.difference, 1) + 0.0  # no -0.0
    mark = _mark(OTHER_POLICY, comparison.crosses_policies(line))
    return f"{difference:+.1f}{mark}", str(line.against.n), probability


def shown(spread: Spread | None) -> str:
    """Return mean and deviation in one decimal."""
    if spread is None:
        return DASH
    deviation = "" if spread.deviation is None else f" ± {spread.deviation:.1f}"
    return f"{spread.mean:.1f}{deviation}"


def class_headings(comparison: Comparison) -> tuple[str, ...]:
    """Return the headings of `class_cells`."""
    return ("class", *(setting.name for setting in comparison.settings))


def class_cells(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return the IoU of the final judging as text: a row per class, a column per setting."""
    return [
        (name, *(shown(found.get(setting.name)) for setting in comparison.settings))
        for name, found in comparison.classes.items()
    ]
