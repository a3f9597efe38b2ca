"""A run folder, read back: what was asked for, what was logged, what came out.

| file | written by | holds |
|---|---|---|
| `run.json` | `record.py` | command, overrides, resolved configuration, versions, seed |
| `metrics.csv` | `loggers.py` | a row per logged step |
| `scores.json` | `runner.py` | the final target scores in percent |
| `confusion.json` | `runner.py` | the confusion matrix (C, C) behind them, and the class names |
| `pictures/` | `pictures.py` | the panel of images over time |
| `embeddings/` | `embeddings.py` | measures and a map of the embedding space |
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from sepico_pl.resuming import RECORD
from sepico_pl.tables import read_rows
from sepico_pl.types import InputError


class Curve(NamedTuple):
    """One logged quantity: `values[i]` after `steps[i]` optimizer steps."""

    steps: list[int]
    values: list[float]


class Confusion(NamedTuple):
    """Pixels by class: `counts[truth][prediction]`, (C, C)."""

    classes: list[str]
    counts: list[list[int]]


@dataclass(frozen=True)
class Run:
    """The folder of one run, read when it is asked.

    Attributes:
        folder: where it lies.
    """

    folder: Path

    @cached_property
    def record(self) -> dict[str, Any]:
        """What `run.json` holds.

        Raises:
            InputError: if it is absent or damaged, or of a version that kept no configuration.
        """
        record: dict[str, Any] = _read_json(self.folder / RECORD)
        if "config" not in record:
            message = (
                f"{self.folder / RECORD}: holds no configuration; "
                "the run was made by an earlier version of sepico_pl"
            )
            raise InputError(message)
        return record

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration, plain types."""
        config: dict[str, Any] = self.record["config"]
        return config

    @cached_property
    def curves(self) -> dict[str, Curve]:
        """Every column of `metrics.csv` by name, such as "train/source" or "val/target/mIoU"."""
        curves: dict[str, Curve] = {}
        for step, row in read_rows(self.folder / "metrics.csv").items():
            for name, value in row.items():
                curve = curves.setdefault(name, Curve([], []))
                curve.steps.append(int(step) + 1)
                curve.values.append(float(value))
        return curves

    @cached_property
    def scores(self) -> dict[str, float]:
        """The final target scores in percent: "mIoU", "mIoU<n>", "IoU/<class>"; empty if none."""
        path = self.folder / "scores.json"
        scores: dict[str, float] = _read_json(path)["target"] if path.is_file() else {}
        return scores

    @cached_property
    def confusion(self) -> Confusion | None:
        """The confusion matrix behind the final scores; None if there is none."""
        path = self.folder / "confusion.json"
        if not path.is_file():
            return None
        content = _read_json(path)
        return Confusion(content["classes"], content["target"])

    @property
    def is_finished(self) -> bool:
        """Whether it came to its end; both files are written there."""
        return any((self.folder / name).is_file() for name in ("last.ckpt", "scores.json"))

    @property
    def steps(self) -> int:
        """The optimizer steps after which it was last logged or kept; 0 for none."""
        kept = (self.folder / "checkpoints").glob("step_*.ckpt")
        numbers = [int(path.stem.removeprefix("step_")) for path in kept]
        logged = [
            curve.steps[-1]
            for name, curve in self.curves.items()
            if name.startswith(("train/", "lr-"))
        ]
        return max([*numbers, *logged], default=0)

    @cached_property
    def panel(self) -> dict[str, Any] | None:
        """What `pictures/panel.json` says of the images over time; None if none were kept."""
        return self._optional_json("pictures/panel.json")

    @cached_property
    def embeddings(self) -> dict[str, Any] | None:
        """What `embeddings/summary.json` says of the embedding space; None if not analysed."""
        return self._optional_json("embeddings/summary.json")

    def _optional_json(self, name: str) -> dict[str, Any] | None:
        path = self.folder / name
        content: dict[str, Any] | None = _read_json(path) if path.is_file() else None
        return content


def open_run(folder: Path, key: str = "run") -> Run:
    """Return the run in a folder.

    Args:
        folder: where it lies.
        key: the option that names it, for the message.

    Raises:
        InputError: if no run lies there.
    """
    if not (folder / RECORD).is_file():
        message = (
            f"{key}={folder}: there is no {RECORD} in it; name the folder of one run, "
            "as `train` prints it at its end"
        )
        raise InputError(message)
    return Run(folder)


def find_runs(folders: Iterable[Path]) -> list[Run]:
    """Return the runs in or below folders, each once, in the order of their paths.

    Raises:
        InputError: for a folder that is absent, or has no run in it.
    """
    found: dict[Path, Run] = {}
    for folder in folders:
        if not folder.is_dir():
            message = f"{folder}: there is no such folder; name those that runs were written to"
            raise InputError(message)
        records = sorted(folder.rglob(RECORD))
        if not records:
            message = f"{folder}: no run lies in or below it (no {RECORD}); choose another folder"
            raise InputError(message)
        found |= {record.parent.resolve(): Run(record.parent) for record in records}
    return list(found.values())


def _read_json(path: Path) -> Any:  # noqa: ANN401
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"{path}: cannot be read as JSON ({error}); restore it, or leave this run out"
        raise InputError(message) from error
