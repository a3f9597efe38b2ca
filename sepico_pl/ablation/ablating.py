"""What `ablate` does: run what is missing of a suite, row by row, and draw its table."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from sepico_pl.ablation.jobs import Task, tasks_of, work
from sepico_pl.ablation.machine import trains_on_gpu
from sepico_pl.ablation.output import print_ablation, write_ablation
from sepico_pl.ablation.results import (
    Row,
    add_row,
    outdated,
    read_results,
    refuse_explored,
    rows_of,
)
from sepico_pl.ablation.side_by_side import SideBySide
from sepico_pl.ablation.suites import Phase, Suite, read_suite
from sepico_pl.ablation.table import Ablation, ablation_of
from sepico_pl.folder_lock import locked_folder
from sepico_pl.limits import DEVICE_COUNT, FLAG, PATH, Choice, OrNull, Rule, check_limits
from sepico_pl.quoting import printable
from sepico_pl.tables import check_writable, remove_leftovers
from sepico_pl.types import InputError

THREADS = "OMP_NUM_THREADS"
KEYS: dict[str, Rule] = {
    "suite": OrNull(PATH),
    "phase": Choice(("exploration", "confirmation")),
    "jobs": OrNull(DEVICE_COUNT),
    "results": OrNull(PATH),
    "output": OrNull(PATH),
    "table": FLAG,
}


def ablate(config: DictConfig) -> None:
    """Run what is missing of a suite; print and write its table.

    Raises:
        InputError: for what cannot be used, before anything runs.
        SystemExit: after a signal, once the runs under way are saved; at the end if a run failed.
    """
    plain = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    check_limits(plain, KEYS)
    suite, phase = chosen_suite(plain["suite"]), cast(Phase, plain["phase"])
    settings = suite.chosen(listed(plain["only"]))
    output = Path(plain["output"] or f"outputs/ablations/{suite.name}").expanduser()
    results = Path(plain["results"] or output / "results.csv").expanduser()
    refuse_explored(suite, read_results(results))
    failed = []
    if not plain["table"]:
        check_writable(results, "results")
        with locked_folder(output, "output"):
            remove_leftovers(output)
            tasks = list(tasks_of(suite, phase, settings, output, results))
            failed = run_missing(tasks, jobs_at_a_time(plain["jobs"], suite))
    ablation = ablation_of(suite, phase, read_results(results), results, typed(plain))
    if not failed or any(ablation.rows.values()):
        draw(ablation, output)
    if failed:
        names = ", ".join(failed)
        sys.exit(f"error: {len(failed)} failed, see above: {names}; begin again for them")


def chosen_suite(named: str | None) -> Suite:
    """Read the suite that is asked for.

    Raises:
        InputError: if none is named, or it cannot be used.
    """
    if named is None:
        message = "name a suite: suite=<name in conf/ablation, or path of a YAML>"
        raise InputError(message)
    return read_suite(named)


def listed(only: object) -> list[str]:
    """Return the names that `only=` holds: of a list, or a single one."""
    names = only if isinstance(only, list) else [] if only is None else [only]
    return [str(name) for name in names]


def jobs_at_a_time(wanted: int | None, suite: Suite) -> int:
    """Return how many runs go side by side."""
    if wanted is not None:
        return wanted
    return 1 if trains_on_gpu(suite.common) else os.cpu_count() or 1


def typed(plain: Mapping[str, Any]) -> list[str]:
    """Return the words that make the same table; the number of jobs shapes none."""
    words = [f"suite={plain['suite']}", f"phase={plain['phase']}"]
    return words + [f"{key}={plain[key]}" for key in ("results", "output") if plain[key]]


def run_missing(tasks: Sequence[Task], number: int) -> list[str]:
    """Run the tasks that have no row; return the names of those that failed.

    Args:
        tasks: of one suite and phase, at least one.
        number: of runs at a time.

    Raises:
        SystemExit: after a signal, with 128 + its number.
    """
    suite, rows = tasks[0].suite, read_results(tasks[0].results)
    finished = rows_of(suite, tasks[0].phase, rows)
    missing = [task for task in tasks if task.seed not in finished[task.setting]]
    say_what_there_is(suite, len(tasks), len(missing), number, rows)
    failed: set[str] = set()

    def ended(task: Task, outcome: Row | str) -> None:
        if isinstance(outcome, Row):
            add_row(task.results, outcome)
            say(f"finished: {task.name}: {described(outcome)}")
        else:
            failed.add(task.name)
            say(f"failed: {task.name}: {outcome} (log: {task.log})")

    side_by_side = SideBySide(number, environment_of_jobs(suite))
    side_by_side.run(work(task, lambda: side_by_side.signum, ended) for task in missing)
    if side_by_side.signum:
        name = signal.Signals(side_by_side.signum).name
        how = "killed" if side_by_side.killed else "saved"
        say(f"{name}: the runs under way are {how}; the same command goes on")
        sys.exit(128 + side_by_side.signum)
    return [task.name for task in missing if task.name in failed]


def say_what_there_is(
    suite: Suite, tasks: int, missing: int, number: int, rows: Sequence[Row]
) -> None:
    """Say how many runs have their rows, which rows do not count, and what follows."""
    for row in outdated(suite, rows):
        say(f"not used, its setting has other overrides now: {row.setting} seed {row.seed}")
    say(f"{suite.name}: {tasks - missing} of {tasks} runs are finished; {number} at a time")


def environment_of_jobs(suite: Suite) -> dict[str, str]:
    """Return the environment of runs: one thread each on a CPU, unless it says otherwise."""
    if trains_on_gpu(suite.common):
        return dict(os.environ)
    return {THREADS: "1", **os.environ}


def described(row: Row) -> str:
    """Return a row's scores, and the time it took."""
    took = "" if row.seconds is None else f" ({row.seconds / 60:.1f} minutes)"
    return f"mIoU {row.mIoU_running:.1f} running, {row.mIoU_target:.1f} target statistics{took}"


def draw(ablation: Ablation, folder: Path) -> None:
    """Print the table, and write it.

    Args:
        ablation: what is told.
        folder: to write to.

    Raises:
        InputError: if no run is finished.
    """
    if not any(ablation.rows.values()):
        message = (
            f"{ablation.results}: no run of {ablation.suite.name} with {ablation.phase} seeds is "
            "finished; leave table=true out to run them"
        )
        raise InputError(message)
    print_ablation(ablation)
    for path in write_ablation(ablation, folder):
        print(f"written: {path}")


def say(text: str) -> None:
    """Print a line at once, whatever is in it."""
    print(printable(text), flush=True)
