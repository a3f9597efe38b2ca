"""Compares runs over seeds: `python -m sepico_pl.compare` prints and writes what this finds."""

from collections.abc import Sequence
from pathlib import Path

from sepico_pl.multirun import FAILURE
from sepico_pl.reporting.comparing_output import print_comparison, write_comparison
from sepico_pl.reporting.comparing_same import same_runs
from sepico_pl.reporting.comparing_settings import chosen, sort_runs
from sepico_pl.reporting.comparing_statistics import Comparison, lines, per_class
from sepico_pl.reporting.runs import find_runs
from sepico_pl.resuming import RECORD
from sepico_pl.types import InputError


def failed_jobs(folders: Sequence[Path]) -> list[str]:
    """Return a line for each job of a multirun that was refused before it was a run."""
    files = sorted({path for folder in folders for path in folder.rglob(FAILURE)})
    return [
        f"{path.parent}: failed: {path.read_text(encoding='utf-8', errors='replace')[:300].strip()}"
        for path in files
        if not (path.parent / RECORD).is_file()
    ]


def compare(folders: Sequence[str], baseline: str | None, output: str | None) -> Comparison:
    """Compare the runs in and below folders; print the result, and write it as CSV, MD and HTML.

    Args:
        folders: of runs and multiruns, at least one.
        baseline: name of a setting or a part that no other name has; None for no test.
        output: folder to write to, made if absent; None for the first of `folders`.

    Raises:
        InputError: for folders without runs, without a finished run, or an unknown baseline.
    """
    paths = [Path(folder).expanduser() for folder in folders]
    if not paths:
        message = (
            "name the folders of the runs to compare: "
            "python -m sepico_pl.compare outputs/multirun/<time> baseline=<setting>"
        )
        raise InputError(message)
    found = sort_runs(find_runs(paths))
    if not found.settings:
        message = f"no run to compare: {'; '.join(found.left_out)}"
        raise InputError(message)
    reference = None if baseline is None else chosen(baseline, found.settings)
    comparison = Comparison(
        settings=found.settings,
        shared=found.shared,
        baseline=None if reference is None else reference.name,
        lines=lines(found.settings, reference),
        classes=per_class(found.settings),
        same=same_runs(found.settings),
        left_out=[*found.left_out, *failed_jobs(paths)],
    )
    print_comparison(comparison)
    folder = paths[0] if output is None else Path(output).expanduser()
    for path in write_comparison(comparison, folder):
        print(f"written: {path}")
    return comparison
