"""A run folder, read back: what was asked for, what was logged, what came out.

| file | written by | holds |
|---|---|---|
| `run.json` | `record.py` | command, overrides, resolved configuration, versions, seed |
| `metrics.csv` | `loggers.py` | a row per logged step |
| `scores.json` | `runner.py` | final target scores in percent, and how they came about |
| `confusion.json` | `runner.py` | the confusion matrix (C, C) behind them, and the class names |
| `pictures/` | `pictures.py` | the panel of images over time |
| `diagnosis.json` | `diagnosis/` | who is right about the target, by class and step |
| `embeddings/` | `embeddings.py` | measures and a map of the embedding space |
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from sepico_pl.contrast_start import contrast_steps
from sepico_pl.diagnosis.history import History
from sepico_pl.json_files import Kind, checked, load_json, read_json
from sepico_pl.reporting.run_files import Confusion, Embeddings, PanelFile, Record, Scores
from sepico_pl.resuming import RECORD
from sepico_pl.tables import read_rows
from sepico_pl.types import InputError


class Curve(NamedTuple):
    """One logged quantity: `values[i]` after `steps[i]` optimizer steps."""

    steps: list[int]
    values: list[float]


@dataclass(frozen=True)
class Run:
    """The folder of one run, read when it is asked; a damaged file raises an InputError then.

    Attributes:
        folder: where it lies.
    """

    folder: Path

    @cached_property
    def record(self) -> Record:
        """What `run.json` holds of every run."""
        return checked(self._document, Record, self.folder / RECORD)

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration, plain types: all that `record.config` names, and more."""
        assert self.record
        config: dict[str, Any] = self._document["config"]
        return config

    @cached_property
    def _document(self) -> dict[str, Any]:
        content = load_json(self.folder / RECORD)
        if "config" not in content:
            message = (
                f"{self.folder / RECORD}: holds no configuration; "
                "the run was made by an earlier version of sepico_pl"
            )
            raise InputError(message)
        return content

    @cached_property
    def curves(self) -> dict[str, Curve]:
        """Every column of `metrics.csv` by name, such as "train/source" or "val/target/mIoU"."""
        curves: dict[str, Curve] = {}
        rows = read_rows(self.folder / "metrics.csv")
        for step in sorted(rows, key=int):
            for name, value in rows[step].items():
                curve = curves.setdefault(name, Curve([], []))
                curve.steps.append(int(step) + 1)
                curve.values.append(float(value))
        return curves

    @cached_property
    def scores(self) -> dict[str, float]:
        """The final target scores in percent: "mIoU", "mIoU<n>", "IoU/<class>"; empty if none."""
        scores = {} if self._judged is None else self._judged.target
        return {name: score for name, score in scores.items() if isfinite(score)}

    @cached_property
    def _judged(self) -> Scores | None:
        return self._optional("scores.json", Scores)

    @property
    def batch_norm(self) -> str:
        """Whose statistics batch norm had when it was judged: "running", "target", or "none"."""
        if self.config.get("norm") == "group":
            return "none"
        recorded = None if self._judged is None else self._judged.batch_norm
        return recorded or self.record.config.adapt.batch_norm

    @property
    def contrast_steps(self) -> int | None:
        """In how many steps it contrasts until its end; None without a contrast."""
        recorded = None if self._judged is None else self._judged.contrast_steps
        if recorded is not None:
            return recorded
        return contrast_steps(self.config, self.record.config.trainer.max_steps)

    @cached_property
    def confusion(self) -> Confusion | None:
        """The confusion matrix behind the final scores; None if there is none."""
        return self._optional("confusion.json", Confusion)

    @property
    def is_finished(self) -> bool:
        """Whether it came to its end; both files are written there."""
        return any((self.folder / name).is_file() for name in ("last.ckpt", "scores.json"))

    @property
    def steps(self) -> int:
        """The optimizer steps after which it was last logged or kept; 0 for none."""
        kept = (self.folder / "checkpoints").glob("step_*.ckpt")
        found = [path.stem.removeprefix("step_") for path in kept]
        numbers = [int(number) for number in found if number.isdecimal() and len(number) < 13]
        logged = [
            curve.steps[-1]
            for name, curve in self.curves.items()
            if name.startswith(("train/", "lr-"))
        ]
        return max([*numbers, *logged], default=0)

    @cached_property
    def panel(self) -> PanelFile | None:
        """What `pictures/panel.json` says of the images over time; None if none were kept."""
        return self._optional("pictures/panel.json", PanelFile)

    @cached_property
    def diagnosis(self) -> History | None:
        """What `diagnosis.json` says of concepts and head; None if it was not measured."""
        return self._optional("diagnosis.json", History)

    @cached_property
    def embeddings(self) -> Embeddings | None:
        """What `embeddings/summary.json` says of the embedding space; None if not analysed."""
        return self._optional("embeddings/summary.json", Embeddings)

    def _optional(self, name: str, kind: type[Kind]) -> Kind | None:
        path = self.folder / name
        return read_json(path, kind) if path.is_file() else None


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
