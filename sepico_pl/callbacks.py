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
from sepico_pl.resuming import newest_checkpoint
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

    Args:
        folder: of the run, to name its last good checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        """Remember the folder."""
        self.folder = folder
        self.first_bad = torch.tensor(-1)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: object,
        batch_idx: int,
    ) -> None:
        """Look at the losses without waiting for the device; see to them on the steps that log.

        Raises:
            InputError: see `check`.
        """
        losses = cast(dict[str, Tensor], outputs)
        total = torch.stack(list(losses.values())).sum()
        bad = self.first_bad.to(total.device)
        is_first = (bad < 0) & ~total.isfinite()
        self.first_bad = torch.where(is_first, trainer.global_step - 1, bad)
        if trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self.check(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Refuse to save what is no number.

        Raises:
            InputError: see `check`.
        """
        self.check(trainer)

    def check(self, trainer: pl.Trainer) -> None:
        """Look whether a loss was not finite since the last look.

        Raises:
            InputError: naming the step, the files of its batch and the last good checkpoint.
        """
        step = int(self.first_bad)
        if not any_rank(step >= 0, self.first_bad.device):
            return
        good = newest_checkpoint(self.folder)
        data = cast(AdaptationData, trainer.datamodule)  # type: ignore[attr-defined]
        seen = f" ({'; '.join(data.batch_names(step))})" if step >= 0 else " of another rank"
        message = (
            f"the loss is not finite at step {step if step >= 0 else ''}{seen}; lower "
            "optim.learning_rate or use trainer.precision=32-true; last good checkpoint: "
            f"{'none yet' if good is None else good}"
        )
        raise InputError(message)
