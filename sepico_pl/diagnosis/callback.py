"""Every so many steps: why, and where, the contrast of a run helps; training is as without it."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from sepico_pl.data.datamodule import AdaptationData
from sepico_pl.data.geometry import to_tensor
from sepico_pl.data.painting import Picture
from sepico_pl.diagnosis import history
from sepico_pl.diagnosis.measuring import Scenes, measure
from sepico_pl.module import SePiCo
from sepico_pl.pictures import chosen_scenes
from sepico_pl.task import SegmentationTask
from sepico_pl.types import InputError

IMAGES = 4
"""Labelled target images that are looked at, at most."""
NO_TRUTH = (
    "diagnosis: there are no labelled target images, so it measures gradient norms and the "
    "source's margin alone"
)


def refuse_several_processes(every: int, processes: int) -> None:
    """Refuse to measure where several processes train: each would see its share of a step alone.

    Raises:
        InputError: naming the keys.
    """
    if processes > 1:
        message = (
            f"diagnosis={every} measures a run of one process, and here are {processes}: choose "
            "diagnosis=0, or trainer.devices=1 and trainer.num_nodes=1"
        )
        raise InputError(message)


class Diagnosis(Callback):
    """Measure a step before it is taken, on copies of the networks, for the loggers and the report.

    Args:
        path: of `diagnosis.json`.
        every: steps from one measurement to the next; the last step of a shorter run is measured.
    """

    def __init__(self, path: Path, *, every: int) -> None:
        """Remember where and how often."""
        self.path, self.every = path, every

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Choose the target images; forget what a resumed run measures anew."""
        self.every = min(self.every, trainer.max_steps)
        data = cast(AdaptationData, trainer.datamodule)  # type: ignore[attr-defined]
        self.scenes = labelled_scenes(data) if isinstance(pl_module, SePiCo) else []
        if isinstance(pl_module, SePiCo) and not self.scenes:
            print(NO_TRUTH)
        names = [scene.name for scene in self.scenes]
        classes = list(data.pair.classes.names)
        self.history = history.begun(self.path, classes, names, trainer.global_step)

    def on_train_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Measure, log and write, where this step is one to measure."""
        step = trainer.global_step
        if (step + 1) % self.every:
            return
        task = cast(SegmentationTask, pl_module)
        scenes = stacked(self.scenes, next(task.student.parameters())) if self.scenes else None
        with same_rng(task.device), trainer.precision_plugin.train_step_context():
            values, counts = measure(task.copy_at_step(), batch, scenes, loss_scale(trainer))
        log(trainer, values, step)
        if counts is not None:
            self.history = history.write(self.path, self.history, step + 1, counts)


def labelled_scenes(data: AdaptationData) -> list[Picture]:
    """Choose labelled target validation images at the networks' input size, all of one size."""
    scenes = [scene for scene in chosen_scenes(data, IMAGES) if "truth" in scene.labels]
    return [scene for scene in scenes if scene.image.shape == scenes[0].image.shape]


def stacked(scenes: list[Picture], like: torch.Tensor) -> Scenes:
    """Return scenes as a batch, of a parameter's type and on its device."""
    images = torch.stack([to_tensor(scene.image) for scene in scenes])
    truths = torch.stack([torch.from_numpy(scene.labels["truth"]).long() for scene in scenes])
    return Scenes(images.to(like), truths.to(like.device))


@contextmanager
def same_rng(device: torch.device) -> Iterator[None]:
    """Leave torch's generators as they are found."""
    devices = [torch.cuda.current_device()] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        yield


def loss_scale(trainer: pl.Trainer) -> float:
    """Return what losses are multiplied by in half precision; 1 elsewhere."""
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    return 1.0 if scaler is None else float(scaler.get_scale())


def log(trainer: pl.Trainer, values: Mapping[str, float], step: int) -> None:
    """Log what is a number: a gradient is infinite where `16-mixed` skips a step."""
    numbers = {f"diagnosis/{name}": value for name, value in values.items() if math.isfinite(value)}
    for logger in trainer.loggers:
        logger.log_metrics(numbers, step)
