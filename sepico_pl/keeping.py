"""What a run keeps: whole checkpoints, taken between two steps and on signals."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import Callback

from sepico_pl.processes import leave
from sepico_pl.ranks import any_rank
from sepico_pl.signal_handling import Interrupted, SignalHandler, mute_closed_outputs
from sepico_pl.tables import written_whole
from sepico_pl.tensor_files import write_tensors
from sepico_pl.types import InputError

BEST_BY = "val/target/mIoU"


def share(path: Path, other: Path) -> None:
    """Give a file's content a second name, without writing it again where links are known."""
    with written_whole(other) as partial:
        try:
            os.link(path, partial)
        except OSError:
            shutil.copyfile(path, partial)


def set_aside(folder: Path, resumed: Path, step: int) -> None:
    """Move the later checkpoints, and the final scores, of a run that goes on from an earlier one.

    They would pass for its newest, and the ones it writes for old.

    Args:
        folder: of the run; they go to `checkpoints/set_aside`.
        resumed: the checkpoint that is resumed; it stays.
        step: steps that it has made.
    """
    later = [folder / name for name in ("last.ckpt", "scores.json", "confusion.json")]
    for path in (folder / "checkpoints").glob("step_*.ckpt"):
        number = path.stem.removeprefix("step_")
        if number.isdecimal() and int(number) > step:
            later.append(path)
    for path in later:
        if path.is_file() and not path.samefile(resumed):
            aside = folder / "checkpoints" / "set_aside" / path.name
            aside.parent.mkdir(parents=True, exist_ok=True)
            path.replace(aside)


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoint files, written by `write_tensors`."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None
    ) -> None:
        """Write `checkpoint` to `path`."""
        write_tensors(Path(path), checkpoint)


class KeepCheckpoints(Callback):
    """Saves every so many steps, when the target's mIoU is best, on a signal, and at the end.

    Always between two steps, where nothing is half done: losses and scores are logged, the
    statistics that judging swaps are back.

    Args:
        folder: of the run; receives `checkpoints/step_*.ckpt`, `checkpoints/best.ckpt` and, at
            the end, `last.ckpt`.
        every: steps from one checkpoint to the next.
        last: how many of them are kept.
    """

    def __init__(self, folder: Path, *, every: int, last: int) -> None:
        """Remember what to keep.

        Raises:
            InputError: for numbers that are not positive.
        """
        for key, value in (("every", every), ("last", last)):
            if not isinstance(value, int) or value <= 0:
                message = f"keep.{key}={value} must be a positive integer"
                raise InputError(message)
        self.folder, self.every, self.last = folder, every, last
        self.signal_handler = SignalHandler(folder)
        self.best = float("-inf")
        self.is_best = False
        self.has_old = False

    def state_dict(self) -> dict[str, Any]:
        """Return the best score so far, in percent."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the best score so far."""
        self.best = state_dict["best"]

    def on_sanity_check_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Handle signals."""
        self._install_handler(trainer)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember the resumed step, and handle signals."""
        self.start = trainer.global_step
        self._install_handler(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Handle signals in the final evaluation too."""
        if trainer.state.fn == "validate":
            self._install_handler(trainer)

    def on_validation_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """End the final evaluation after a signal; a resumed run begins it again.

        Raises:
            Interrupted: after a signal.
        """
        mute_closed_outputs()
        if trainer.state.fn == "validate" and self.signal_handler.signum:
            raise self.signal_handler.interruption()

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """See whether somebody reads, before a progress bar is drawn."""
        mute_closed_outputs()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember whether this step is the best so far."""
        score = float(trainer.callback_metrics.get(BEST_BY, float("nan")))
        if trainer.state.fn == "fit" and not trainer.sanity_checking and score > self.best:
            self.best, self.is_best = score, True

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Save what is due, before the next step begins.

        Raises:
            Interrupted: after a signal.
        """
        mute_closed_outputs()
        count_from(trainer, trainer.global_step)
        stop = any_rank(bool(self.signal_handler.signum), pl_module.device)
        self.signal_handler.ignores_second = stop
        if trainer.global_step > self.start and (stop or trainer.global_step % self.every == 0):
            self._save_step(trainer)
        self._save_best(trainer)
        if stop:
            raise self.signal_handler.interruption()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Remove old checkpoints, now that `StopOnNonFinite` has found the new one good."""
        mute_closed_outputs()
        if self.has_old and trainer.is_global_zero:
            for path in sorted((self.folder / "checkpoints").glob("step_*.ckpt"))[: -self.last]:
                path.unlink(missing_ok=True)
        self.has_old = False

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the final state."""
        with self.signal_handler.saving():
            trainer.save_checkpoint(self.folder / "last.ckpt")
            self._share_as_best(trainer, self.folder / "last.ckpt")
        self.signal_handler.restore_output()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Let what went wrong be said."""
        self.signal_handler.restore_output()

    def _install_handler(self, trainer: pl.Trainer) -> None:
        """Take signals over from Lightning, which would end the run without a checkpoint."""
        self.signal_handler.install(announces=trainer.is_global_zero)
        # Lightning restores what it found; no signal may be lost between fit and the evaluation.
        trainer._signal_connector._original_handlers.update(self.signal_handler.installed())
        if trainer.received_sigterm:
            trainer._signal_connector.received_sigterm = False
            signal.raise_signal(signal.SIGTERM)

    def _save_step(self, trainer: pl.Trainer) -> None:
        path = self.folder / "checkpoints" / f"step_{trainer.global_step:08}.ckpt"
        with self.signal_handler.saving():
            trainer.save_checkpoint(path)
            self._share_as_best(trainer, path)
        self.has_old = True

    def _share_as_best(self, trainer: pl.Trainer, path: Path) -> None:
        if self.is_best and trainer.is_global_zero:
            share(path, self.folder / "checkpoints" / "best.ckpt")
        self.is_best = False

    def _save_best(self, trainer: pl.Trainer) -> None:
        if self.is_best:
            self.is_best = False
            with self.signal_handler.saving():
                trainer.save_checkpoint(self.folder / "checkpoints" / "best.ckpt")


def signal_handler_of(trainer: pl.Trainer) -> SignalHandler:
    """Return the signal handler of the run."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return next(each.signal_handler for each in callbacks if isinstance(each, KeepCheckpoints))


def raise_if_signalled(trainer: pl.Trainer) -> None:
    """End after a signal, where no step or image follows that would act upon it.

    Raises:
        Interrupted: after a signal, to any rank.
    """
    handler = signal_handler_of(trainer)
    handler.restore_output()
    if any_rank(bool(handler.signum), trainer.strategy.root_device):
        raise handler.interruption()


@contextmanager
def exit_on_signal(trainer: pl.Trainer) -> Iterator[None]:
    """End a run after a signal, whatever moment it came; its output is restored.

    Raises:
        SystemExit: see `leave`.
    """
    handler = signal_handler_of(trainer)
    with handler.restored():
        try:
            yield
            raise_if_signalled(trainer)
        except Interrupted as stop:
            handler.restore_output()
            leave(stop)


def count_from(trainer: pl.Trainer, step: int) -> None:
    """Set the counters that Lightning restores too high from between two steps.

    The first one numbers the rows of the log.
    """
    loop = trainer.fit_loop.epoch_loop
    loop._batches_that_stepped = step
    loop.batch_progress.total.ready = loop.batch_progress.current.ready
    loop.val_loop.batch_progress.total.reset()
