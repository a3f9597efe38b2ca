"""What stands around a task while it trains: trainer, loggers, callbacks."""

from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, LearningRateMonitor
from pytorch_lightning.loggers import Logger

from sepico_pl.assembly import Config, build
from sepico_pl.boards import Scoreboard
from sepico_pl.callbacks import SelfSufficientCheckpoint, StopOnNonFinite, Throughput
from sepico_pl.keeping import KeepCheckpoints, WholeCheckpoints
from sepico_pl.pictures import PicturePanel


def build_trainer(plain: Config, folder: Path) -> pl.Trainer:
    """Build the trainer with its loggers and callbacks; everything it writes goes into `folder`."""
    settings = dict(plain["trainer"])
    for every in ("val_check_interval", "log_every_n_steps"):
        settings[every] = min(settings[every], settings["max_steps"])
    loggers: list[Logger] = [
        build("logger", logger, save_dir=str(folder)) for logger in plain["logger"].values()
    ]
    callbacks: list[Callback] = [
        StopOnNonFinite(folder),
        SelfSufficientCheckpoint({**plain, "resume": None}),
        KeepCheckpoints(folder, **plain["keep"]),
    ]
    if plain["pictures"]:
        callbacks.append(PicturePanel(folder / "pictures", count=plain["pictures"]))
    if loggers:
        callbacks += [LearningRateMonitor(), Throughput(), Scoreboard()]
    trainer: pl.Trainer = build(
        "trainer",
        settings,
        limit_train_batches=settings["max_steps"],
        default_root_dir=str(folder),
        logger=loggers or False,
        callbacks=callbacks,
        plugins=[WholeCheckpoints()],
        enable_checkpointing=False,
    )
    return trainer
