"""What happens around training: a checkpoint that needs nothing else, and the run's own files."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from sepico_pl.types import InputError


class SelfSufficientCheckpoint(Callback):
    """Put the resolved configuration into every checkpoint, as plain types.

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
        checkpoint["config"] = self.config


class StopOnNonFinite(Callback):
    """Stop a run whose loss is no longer a number, instead of training on garbage."""

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Look at the logged losses on the steps that log.

        Raises:
            InputError: naming the losses and the step.
        """
        if trainer.global_step % trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return
        losses = trainer.callback_metrics
        broken = [name for name, value in losses.items() if not value.isfinite()]
        if broken:
            message = (
                f"{', '.join(broken)} not finite at step {trainer.global_step}; "
                "lower optim.learning_rate or use trainer.precision=32-true"
            )
            raise InputError(message)
