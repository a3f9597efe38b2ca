"""A comparison in words and rounded numbers: what its tables and notes say."""

from collections.abc import Callable

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
    if comparison.baseline is None:
        return [*reading, "baseline=<setting> adds a paired test against it."]
    return [
        *reading,
        f"difference: points of last over {quoted(comparison.baseline)}, mean over the n common "
        "seeds. p: two-sided paired t-test, not corrected for the number of settings. With two or "
        "three seeds it can show little: a large p does not say that two settings are equal.",
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
            shown(line.last),
            shown(line.best),
            *_tested(line, comparison.baseline),
        )
        for line in comparison.lines
    ]


def _tested(line: Line, baseline: str | None) -> tuple[str, str, str]:
    if line.setting == baseline:
        return "baseline", DASH, DASH
    if line.against is None:
        return DASH, DASH, DASH
    p = line.against.p
    probability = DASH if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"
    difference = round(line.against.difference, 1) + 0.0  # no -0.0
    return f"{difference:+.1f}", str(line.against.n), probability


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
