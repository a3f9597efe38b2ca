"""Where a run's numbers go: a CSV file that is always whole, Weights & Biases that never asks."""

import os
import re
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only

from sepico_pl.tables import (
    Rows,
    remove_leftovers,
    rename_damaged,
    salvage_rows,
    write_rows,
    write_text,
)

ROWS_IN_MEMORY = 100
LONGEST_ID = 128
RUN_ID = re.compile(rf"[^/\\#?%:\s\x00-\x1f\ufffd]{{1,{LONGEST_ID}}}")


class CSVMetrics(Logger):
    """`metrics.csv`: a row per logged step, columns sorted by name.

    Lightning's own CSV logger deletes the file of a run that is resumed and rewrites it in place;
    this one goes on with it, and a killed run leaves it whole.

    Args:
        save_dir: folder of the run.
    """

    def __init__(self, *, save_dir: str) -> None:
        """Go on with the file if there is one."""
        super().__init__()
        self.path = Path(save_dir) / "metrics.csv"
        self.rows: Rows = salvage_rows(self.path).rows
        self.unsaved = 0

    @property
    def name(self) -> str:
        """None of its own."""
        return ""

    @property
    def version(self) -> str:
        """None of its own."""
        return ""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Leave the configuration to the run's record."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add to the row of a step."""
        self.rows.setdefault(str(step), {}).update({k: str(float(v)) for k, v in metrics.items()})
        self.unsaved += 1
        if self.unsaved >= ROWS_IN_MEMORY:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        """Write the file, whole or not at all.

        Raises:
            InputError: if it cannot be written.
        """
        write_rows(self.path, self.rows)
        self.unsaved = 0

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what is left."""
        if self.unsaved:
            self.save()


def forget_after(path: Path, step: int) -> None:
    """Drop the rows of a metrics file that a run resumed after `step` steps writes anew.

    Of a damaged file the whole rows stay, and the file itself beside as `metrics.damaged.csv`.
    Half-written files in the folder go.
    """
    remove_leftovers(path.parent)
    if not path.is_file():
        return
    rows, fault = salvage_rows(path)
    if fault is not None:
        beside = rename_damaged(path)
        print(
            f"{path}: {fault}; its {len(rows)} whole rows are kept, the file is {beside.name} now"
        )
    write_rows(path, {number: row for number, row in rows.items() if int(number) < step})


def reachable_mode() -> Literal["online", "offline"]:
    """Choose where to log by whether somebody is logged in and the server answers."""
    import wandb

    try:
        return "online" if wandb.login(prompt=False) else "offline"
    except wandb.Error as error:
        print(f"Weights & Biases cannot be reached: {' '.join(str(error).split())}")
        return "offline"


def wandb_logger(
    *,
    project: str,
    name: str,
    group: str | None,
    tags: Sequence[str],
    finish_timeout: float,
    save_dir: str,
) -> WandbLogger:
    """Log to Weights & Biases, offline without a login, unless WANDB_MODE says otherwise.

    The run's id stands in `wandb_id`, so that a resumed run is the same there; in a sweep it is
    the one that the sweep gave.

    Args:
        project: where runs are gathered.
        name: of the run.
        group: what runs are compared and averaged by.
        tags: to find runs by.
        finish_timeout: seconds to wait for uploads at the end; the rest stays on this disk.
        save_dir: folder for the run's local files.
    """
    import wandb

    mode = os.environ.get("WANDB_MODE") or reachable_mode()
    if mode == "offline":
        print(
            f"Weights & Biases: offline; `wandb sync {save_dir}/wandb/latest-run` uploads the run"
        )
    return WandbLogger(
        project=project,
        name=name,
        group=group,
        tags=list(tags),
        save_dir=save_dir,
        mode=mode,
        id=run_id(Path(save_dir) / "wandb_id"),
        resume="allow",
        settings=wandb.Settings(finish_timeout=finish_timeout),
    )


def run_id(path: Path) -> str:
    """Return the id that a run has at Weights & Biases; a new one where none is there, or no id."""
    if path.is_file():
        found = path.read_bytes()[: 2 * LONGEST_ID].decode("utf-8", errors="replace").strip()
        if RUN_ID.fullmatch(found):
            return found
        print(f"{path}: holds no id; the run goes on as a new one at Weights & Biases")
    given = os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4)
    write_text(path, given + "\n")
    return given


def tensorboard_logger(*, save_dir: str) -> TensorBoardLogger:
    """Log to TensorBoard, into `tensorboard/` of the run folder.

    Args:
        save_dir: folder of the run.
    """
    return TensorBoardLogger(save_dir, name="tensorboard", version="", default_hp_metric=False)


@contextmanager
def ended() -> Iterator[None]:
    """End the run at Weights & Biases, if any, with what it does: the next one is another."""
    try:
        yield
    except BaseException:
        _finish(exit_code=1)
        raise
    _finish(exit_code=0)


def _finish(exit_code: int) -> None:
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish(exit_code)
