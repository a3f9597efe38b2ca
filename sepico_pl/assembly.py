"""Builds the parts that a configuration names. No DictConfig goes past this file."""

from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
from hydra.utils import instantiate
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import (
    Callback,
    LearningRateMonitor,
    ModelCheckpoint,
)
from pytorch_lightning.loggers import Logger

from sepico_pl.augment.chance import Chance
from sepico_pl.callbacks import SelfSufficientCheckpoint, StopOnNonFinite
from sepico_pl.contrast.modes import MultiStageContrast
from sepico_pl.data.datamodule import AdaptationData
from sepico_pl.data.ledger import Ledger
from sepico_pl.model.segmentor import Segmentor
from sepico_pl.task import SegmentationTask
from sepico_pl.types import DomainPair, InputError

Config = dict[str, Any]

DATA_PATHS = (".root", "_images", "_labels", ".listed")


def plain_config(config: DictConfig) -> Config:
    """Resolve the configuration into plain types, with absolute data folders."""
    plain = cast(Config, OmegaConf.to_container(config, resolve=True, throw_on_missing=True))
    if "dataset" in plain:
        plain["dataset"] = _with_absolute_paths(plain["dataset"])
    return plain


def _with_absolute_paths(node: Config) -> Config:
    result: Config = {}
    for key, value in node.items():
        if isinstance(value, dict):
            result[key] = _with_absolute_paths(value)
        elif isinstance(value, str) and value and f".{key}".endswith(DATA_PATHS):
            result[key] = str(Path(value).expanduser().absolute())
        else:
            result[key] = value
    return result


def ledger_of(plain: Config) -> Ledger:
    """Open the list of files that were checked before."""
    return Ledger(None if plain["checked"] is None else Path(plain["checked"]).absolute())


def check_config(plain: Config) -> None:
    """Refuse choices that contradict each other.

    Raises:
        InputError: naming them.
    """
    if plain["contrast"] is not None and "contrast_start" not in plain["adapt"]:
        message = (
            "adapt learns from the source alone and cannot contrast; "
            "choose contrast=none with it, or adapt=sepico"
        )
        raise InputError(message)
    check_widths(plain)
    steps = plain["trainer"]["max_steps"]
    if not isinstance(steps, int) or steps <= 0:
        message = f"trainer.max_steps={steps} must be a positive integer"
        raise InputError(message)


def check_widths(plain: Config) -> None:
    """Refuse a network without channels.

    Raises:
        InputError: naming the width.
    """
    parts = {
        "backbone": plain["backbone"],
        "head.decode": plain["head"]["decode"],
        "head.projection": plain["head"]["projection"],
    }
    for name, part in parts.items():
        for key in ("width", "stem_width"):
            value = part.get(key, 1)
            if not isinstance(value, int) or value <= 0:
                message = f"{name}.{key}={value} must be a positive integer"
                raise InputError(message)


def build(config: Config, **parts: object) -> Any:  # noqa: ANN401
    """Call what `config` names with its keys and `parts`; lists and dicts arrive as plain types.

    Raises:
        InputError: for a value that the called refuses.
    """
    try:
        return instantiate(config, _partial_=True, _convert_="all")(**parts)
    except InputError:
        raise
    except (TypeError, ValueError, MisconfigurationException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        message = f"{config['_target_']}: {reason}; check the keys it is given"
        raise InputError(message) from error


def build_data(plain: Config) -> AdaptationData:
    """Build the domain pair and what feeds it."""
    pair = build(plain["dataset"])
    data: AdaptationData = build(plain["data"], pair=pair, seed=plain["seed"])
    return data


def build_task(plain: Config, pair: DomainPair) -> SegmentationTask:
    """Build student, contrast and the method that trains them."""
    classes = pair.classes
    encoder = build(plain["backbone"])
    head = build(plain["head"]["decode"], channels=encoder.channels, num_classes=len(classes))
    projection, extra = None, {}
    if plain["contrast"] is not None:
        projection = build(plain["head"]["projection"], channels=encoder.channels)
        stages = [
            build(plain["contrast"], num_classes=len(classes), width=width)
            for width in projection.widths
        ]
        extra["contrast"] = MultiStageContrast(stages)
    task: SegmentationTask = build(
        plain["adapt"],
        student=Segmentor(encoder, head, projection),
        classes=classes,
        optimizer=build(plain["optim"]),
        chance=Chance(plain["seed"]),
        **extra,
    )
    return task


def without_downloads(plain: Config) -> Config:
    """Return the configuration without pretrained weights: the checkpoint's own follow."""
    return {**plain, "backbone": {**plain["backbone"], "weights": None}}


def build_trainer(plain: Config, folder: Path) -> pl.Trainer:
    """Build the trainer with its loggers and callbacks; everything it writes goes into `folder`."""
    settings = dict(plain["trainer"])
    for every in ("val_check_interval", "log_every_n_steps"):
        settings[every] = min(settings[every], settings["max_steps"])
    loggers: list[Logger] = [
        build(logger, save_dir=str(folder)) for logger in plain["logger"].values()
    ]
    for logger in loggers:
        logger.log_hyperparams(plain)
    callbacks: list[Callback] = [
        ModelCheckpoint(dirpath=folder, filename="last", enable_version_counter=False),
        SelfSufficientCheckpoint(plain),
        StopOnNonFinite(),
    ]
    if loggers:
        callbacks.append(LearningRateMonitor())
    trainer: pl.Trainer = build(
        settings,
        limit_train_batches=settings["max_steps"],
        default_root_dir=str(folder),
        logger=loggers or False,
        callbacks=callbacks,
    )
    return trainer
