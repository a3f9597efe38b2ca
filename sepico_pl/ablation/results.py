"""The results file: a row per finished run, written whole each time, read as data."""

import csv
import fcntl
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from sepico_pl.ablation.suites import Name, Phase, Seed, Suite
from sepico_pl.json_files import DAMAGED, Content, checked, parsed
from sepico_pl.quoting import in_csv
from sepico_pl.reporting.comparing_output import csv_text
from sepico_pl.reporting.run_files import Percent
from sepico_pl.tables import write_text
from sepico_pl.types import InputError

Policy = Literal["running", "target"]

POLICIES: tuple[Policy, ...] = ("running", "target")
REMEDY = "restore the file, or name another one by results=<file>"


def _empty_is_none(cell: object) -> object:
    return None if cell == "" else cell


def _from_json(cell: object) -> object:
    try:
        return parsed(cell) if isinstance(cell, str) else cell
    except DAMAGED as error:
        message = "must be JSON: an IoU by class"
        raise ValueError(message) from error


Measure = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Measured = Annotated[Measure | None, BeforeValidator(_empty_is_none)]
Score = Annotated[Percent, Field(allow_inf_nan=False)]
ByClass = Annotated[dict[str, Score], BeforeValidator(_from_json)]


class Row(Content):
    """A finished run.

    Attributes:
        suite, setting, phase, seed: which.
        overrides: it was given, as one line; see `Suite.overrides`.
        mIoU_running, mIoU_target: of target validation in percent, by batch-norm statistics.
        classes_running, classes_target: IoU in percent of the classes that occur.
        seconds: wall time of training; None where a part of it was not measured.
        memory_mb: peak of resident memory in training; None on a GPU.
        machine: model of CPU and threads, or of GPU.
        torch, commit: what it was made with.
        images: fingerprint of what it was trained on.
        date: when its row was written.
    """

    model_config = ConfigDict(strict=False, extra="forbid")

    suite: Name
    setting: Name
    phase: Phase
    seed: Seed
    overrides: str
    mIoU_running: Score
    mIoU_target: Score
    classes_running: ByClass
    classes_target: ByClass
    seconds: Measured
    memory_mb: Measured
    machine: str
    torch: str
    commit: str
    images: str
    date: str

    def score(self, policy: Policy) -> float:
        """Return the mean IoU with a policy's statistics."""
        return self.mIoU_running if policy == "running" else self.mIoU_target


COLUMNS = tuple(Row.model_fields)


def read_results(path: Path) -> list[Row]:
    """Read a results file; nothing where there is none.

    Raises:
        InputError: naming the line and the column that is damaged, or a run that has two rows.
    """
    if not path.exists():
        return []
    try:
        lines = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    except (OSError, ValueError, csv.Error) as error:
        message = f"{path}: cannot be read as CSV ({error}); {REMEDY}"
        raise InputError(message) from error
    if not lines or tuple(lines[0]) != COLUMNS:
        message = f"{path}: its first line must be {','.join(COLUMNS)}; {REMEDY}"
        raise InputError(message)
    rows = [_row(cells, path, number) for number, cells in enumerate(lines[1:], 2) if cells]
    _refuse_repeated(rows, path)
    return rows


def _row(cells: Sequence[str], path: Path, number: int) -> Row:
    if len(cells) != len(COLUMNS):
        message = f"{path}: row {number} has {len(cells)} cells, not {len(COLUMNS)}; {REMEDY}"
        raise InputError(message)
    found = dict(zip(COLUMNS, cells, strict=True))
    return checked(found, Row, Path(f"{path}: row {number}"), REMEDY)


def _refuse_repeated(rows: Iterable[Row], path: Path) -> None:
    seen = set()
    for row in rows:
        key = (row.suite, row.setting, row.seed, row.overrides)
        if key in seen:
            message = (
                f"{path}: {row.suite} {row.setting} seed {row.seed} stands there twice; keep the "
                "row that counts"
            )
            raise InputError(message)
        seen.add(key)


def write_results(path: Path, rows: Iterable[Row]) -> None:
    """Write a results file, whole or not at all."""
    cells = [[_cell(getattr(row, column)) for column in COLUMNS] for row in rows]
    write_text(path, csv_text([COLUMNS, *cells]))


def _cell(value: Any) -> object:  # noqa: ANN401
    return json.dumps(value) if isinstance(value, dict) else value


def add_row(path: Path, row: Row) -> None:
    """Add a row to what the file holds now; ablations that share a file wait for each other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a disk without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        write_results(path, [*read_results(path), row])
    finally:
        os.close(descriptor)


def rows_of(suite: Suite, phase: Phase, rows: Iterable[Row]) -> dict[str, dict[int, Row]]:
    """Return the rows that count, by setting, then by seed: made with the overrides of now."""
    now = {setting: in_csv(suite.overrides(setting)) for setting in suite.settings}
    found: dict[str, dict[int, Row]] = {setting: {} for setting in suite.settings}
    for row in rows:
        is_ours = row.suite == suite.name and row.phase == phase and row.seed in suite.seeds(phase)
        if is_ours and row.overrides == now.get(row.setting):
            found[row.setting][row.seed] = row
    return {setting: dict(sorted(by_seed.items())) for setting, by_seed in found.items()}


def outdated(suite: Suite, rows: Iterable[Row]) -> list[Row]:
    """Return rows of this suite whose setting has other overrides now, or is not there any more."""
    now = {setting: in_csv(suite.overrides(setting)) for setting in suite.settings}
    return [
        row for row in rows if row.suite == suite.name and row.overrides != now.get(row.setting)
    ]


def refuse_explored(suite: Suite, rows: Iterable[Row]) -> None:
    """Refuse a suite whose seeds have changed their phase since they were run.

    Raises:
        InputError: naming the first.
    """
    seeds: Mapping[Phase, list[int]] = {
        "exploration": suite.confirmation,
        "confirmation": suite.exploration,
    }
    for row in rows:
        if row.suite == suite.name and row.seed in seeds[row.phase]:
            message = (
                f"seed {row.seed} was run for {row.phase} ({row.setting}) and is no longer listed "
                "there: choose seeds that no run has had"
            )
            raise InputError(message)
