"""What stands around a task while it trains: trainer, loggers, callbacks."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Callback, LearningRateMonitor
from pytorch_lightning.loggers import Logger

from sepico_pl.adapt.batch_norm import FEW_TARGET_VALUES, enough_values
from sepico_pl.assembly import Config, build, refused
from sepico_pl.boards import Scoreboard
from sepico_pl.callbacks import SelfSufficientCheckpoint, StopOnNonFinite, Throughput
from sepico_pl.data.datamodule import AdaptationData
from sepico_pl.diagnosis.callback import Diagnosis, refuse_several_processes
from sepico_pl.keeping import KeepCheckpoints, WholeCheckpoints
from sepico_pl.model.dry_run import TrainingPass, dry_run
from sepico_pl.optim import GradientClip
from sepico_pl.pictures import PicturePanel
from sepico_pl.task import SegmentationTask

FEW_TRAINING_VALUES = (
    "choose data.batch_size=2 or more, a larger data.crop_size, or norm=group (which leaves out "
    "batch norm)"
)
CLIPPING = ("gradient_clip_val", "gradient_clip_algorithm")
"""What Lightning's trainer refuses of a task that steps for itself: see `gradient_clip`."""


def gradient_clip(plain: Config) -> GradientClip | None:
    """Return how gradients are clipped; None where they are not."""
    value, algorithm = (plain["trainer"].get(key) for key in CLIPPING)
    return None if value is None else GradientClip(value, algorithm or "norm")


def check_batch_norm(plain: Config, task: SegmentationTask, data: AdaptationData) -> None:
    """Refuse batches of which batch norm would see a single value of a channel: of one image.

    Raises:
        InputError: with the remedy.
    """
    trainer = plain["trainer"]
    shapes = data.smallest_batches()
    alone = (trainer["devices"], trainer["num_nodes"]) == (1, 1)
    if (alone or not trainer["sync_batchnorm"]) and shapes["training"][0] == 1:
        with enough_values(FEW_TRAINING_VALUES):
            dry_run(TrainingPass(task.student), shapes["training"])
    if data.domains and task.batch_norm == "target" and shapes["statistics"][0] == 1:
        with enough_values(FEW_TARGET_VALUES):
            dry_run(task.student, shapes["statistics"])


def build_trainer(plain: Config, folder: Path) -> pl.Trainer:
    """Build the trainer with its loggers and callbacks; everything it writes goes into `folder`."""
    settings = {key: value for key, value in plain["trainer"].items() if key not in CLIPPING}
    if not (settings["deterministic"] or torch.are_deterministic_algorithms_enabled()):
        settings["deterministic"] = None  # saying no would import torch's compiler
    for interval in ("val_check_interval", "log_every_n_steps"):
        settings[interval] = min(settings[interval], settings["max_steps"])
    loggers: list[Logger] = [
        built_by_lightning("logger", logger, save_dir=str(folder))
        for logger in plain["logger"].values()
    ]
    callbacks: list[Callback] = [
        StopOnNonFinite(folder),
        SelfSufficientCheckpoint({**plain, "resume": None}),
        KeepCheckpoints(folder, **plain["keep"]),
    ]
    if plain["pictures"]:
        callbacks.append(PicturePanel(folder / "pictures", count=plain["pictures"]))
    every = plain.get("diagnosis")  # absent from the record of an earlier version
    if every:
        callbacks.append(Diagnosis(folder / "diagnosis.json", every=every))
    if loggers:
        callbacks += [LearningRateMonitor(), Throughput(), Scoreboard()]
    trainer: pl.Trainer = built_by_lightning(
        "trainer",
        settings,
        limit_train_batches=settings["max_steps"],
        default_root_dir=str(folder),
        logger=loggers or False,
        callbacks=callbacks,
        plugins=[WholeCheckpoints()],
        enable_checkpointing=False,
    )
    if every:
        refuse_several_processes(every, trainer.num_devices * trainer.num_nodes)
    return trainer


def built_by_lightning(key: str, config: Config, **parts: object) -> Any:  # noqa: ANN401
    """Build a trainer or logger as `assembly.build` does, in Lightning's own words of refusal too.

    Raises:
        InputError: for a value that it refuses.
    """
    try:
        return build(key, config, **parts)
    except MisconfigurationException as error:
        raise refused(key, config, error) from error
