"""What happens around training: a checkpoint that needs nothing else, and an end to bad numbers."""

import time
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from sepico_pl.data.datamodule import AdaptationData
from sepico_pl.ranks import any_rank
from sepico_pl.types import InputError


class SelfSufficientCheckpoint(Callback):
    """Put the resolved configuration into every checkpoint, as plain types; flush the logs first.

    Args:
        config: the configuration of the run.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        """Hold the configuration."""
        self.config = config

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add `config`."""
        for logger in trainer.loggers:
            logger.save()
        checkpoint["config"] = self.config


class Throughput(Callback):
    """Log how many source images are trained on per second, on all ranks; judging is left out."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self.since, self.images = time.monotonic(), 0

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock."""
        self.paused = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let the clock go on."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.since += time.monotonic() - self.paused

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Count, and log on the steps that log."""
        self.images += len(batch["source"]["image"]) * trainer.world_size
        if trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            rate = self.images / (time.monotonic() - self.since)
            for logger in trainer.loggers:
                logger.log_metrics({"train/images_per_second": rate}, trainer.global_step - 1)
            self.since, self.images = time.monotonic(), 0


class StopOnNonFinite(Callback):
    """Stop a run whose loss is no longer a number, before a checkpoint takes it over.

    A checkpoint is good if the loss of the step after it is finite: that is the first one that its
    weights give.

    Args:
        folder: of the run; a checkpoint that is not good goes to `checkpoints/set_aside`.
    """

    def __init__(self, folder: Path) -> None:
        """Remember the folder."""
        self.folder = folder
        self.first_bad = torch.tensor(-1)
        self.unverified: int | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember that the checkpoint that is resumed has yet to show a finite loss."""
        self.unverified = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: object,
        batch_idx: int,
    ) -> None:
        """Look at the losses without waiting for the device; see to them where it matters.

        That is on the steps that log, and on those after a checkpoint.

        Raises:
            InputError: see `check`.
        """
        losses = cast(dict[str, Tensor], outputs)
        total = torch.stack(list(losses.values())).sum()
        bad = self.first_bad.to(total.device)
        is_first = (bad < 0) & ~total.isfinite()
        self.first_bad = torch.where(is_first, trainer.global_step - 1, bad)
        logs = trainer.global_step % trainer.log_every_n_steps == 0  # type: ignore[attr-defined]
        if logs or self.unverified is not None:
            self.check(trainer)
            self.unverified = None

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Refuse to save what is no number.

        Raises:
            InputError: see `check`.
        """
        self.check(trainer)
        self.unverified = trainer.global_step

    def check(self, trainer: pl.Trainer) -> None:
        """Look whether a loss was not finite since the last look.

        Raises:
            InputError: naming the step, the files of its batch and the last good checkpoint.
        """
        step = int(self.first_bad)
        if not any_rank(step >= 0, self.first_bad.device):
            return
        data = cast(AdaptationData, trainer.datamodule)  # type: ignore[attr-defined]
        seen = f" ({'; '.join(data.batch_names(step))})" if step >= 0 else " of another rank"
        message = (
            f"the loss is not finite at step {step if step >= 0 else ''}{seen}; lower "
            f"optim.learning_rate or use trainer.precision=32-true; {self._what_is_left(trainer)}"
        )
        raise InputError(message)

    def _what_is_left(self, trainer: pl.Trainer) -> str:
        """Name the last good checkpoint; set aside the one after it, which resume=last would take.

        There is one at most: a loss that is not finite is seen on the step after a checkpoint.
        """
        saved = sorted((self.folder / "checkpoints").glob("step_*.ckpt"))
        bad = [path for path in saved if path.stem == f"step_{self.unverified or 0:08}"]
        good = [path for path in saved if path not in bad]
        said = f"last good checkpoint: {good[-1] if good else 'none yet'}"
        for path in bad if trainer.is_global_zero else ():
            aside = path.parent / "set_aside" / path.name
            aside.parent.mkdir(exist_ok=True)
            path.replace(aside)
        return said + "".join(f" ({path.name}, which led to it, is set aside)" for path in bad)
