"""Builds the parts that a configuration names, and runs them. No DictConfig goes past this file."""

import logging
import pickle
import warnings
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
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
from sepico_pl.model.segmentor import Segmentor
from sepico_pl.tables import print_scores, write_json
from sepico_pl.task import DOMAINS, SegmentationTask, batch_norm_policy
from sepico_pl.types import DomainPair, InputError

Config = dict[str, Any]


def train(config: DictConfig) -> dict[str, float]:
    """Train, judge the target, leave `last.ckpt` and `scores.json` in the run folder.

    Returns:
        The target's scores in percent, by "mIoU" and "IoU/<class>".
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    plain = plain_config(config)
    check_config(plain)
    pl.seed_everything(plain["seed"], workers=True, verbose=False)
    data = build_data(plain)
    task = build_task(plain, data.pair)
    be_quiet()
    trainer = build_trainer(plain, folder)
    trainer.fit(task, datamodule=data)
    scores = judge(trainer, task, data)["target"]
    title = f"target validation of the student, {batch_norm_name(task)}"
    print_scores(title, task.class_names, {plain["name"]: scores})
    write_json(folder / "scores.json", {"target": scores, "batch_norm": task.batch_norm})
    print(f"run folder: {folder}")
    return scores


def evaluate(config: DictConfig) -> dict[str, dict[str, float]]:
    """Judge a checkpoint on target and source validation; print and write the scores.

    Returns:
        Scores in percent by domain, then by "mIoU" and "IoU/<class>".
    """
    path = Path(config.checkpoint)
    data, task = load(path, config.dataset_root)
    data.judge_both_domains()
    task.batch_norm = batch_norm_policy(config.batch_norm or task.batch_norm, key="batch_norm")
    task.student = evaluated_network(task, config.network)
    be_quiet()
    trainer = pl.Trainer(accelerator=config.accelerator, devices=1, logger=False)
    scores = judge(trainer, task, data)
    title = f"{path}: {config.network}, {batch_norm_name(task)}"
    print_scores(
        title, task.class_names, {f"{domain} validation": scores[domain] for domain in DOMAINS}
    )
    output = Path(config.output or path.with_suffix(".scores.json"))
    write_json(output, {"network": config.network, "batch_norm": task.batch_norm, **scores})
    print(f"written: {output}")
    return scores


def judge(
    trainer: pl.Trainer, task: SegmentationTask, data: AdaptationData
) -> dict[str, dict[str, float]]:
    """Run validation and return its scores in percent by domain."""
    trainer.validate(task, datamodule=data, verbose=False)
    scores: dict[str, dict[str, float]] = {}
    for key, value in trainer.callback_metrics.items():
        stage, _, rest = key.partition("/")
        if stage == "val":
            domain, _, name = rest.partition("/")
            scores.setdefault(domain, {})[name] = float(value)
    return scores


def load(path: Path, dataset_root: str | None = None) -> tuple[AdaptationData, SegmentationTask]:
    """Rebuild what a checkpoint was trained with, and its weights.

    Args:
        path: the checkpoint.
        dataset_root: where the data set lies now; None for where it lay in training.

    Raises:
        InputError: if the file or the data set cannot be used.
    """
    checkpoint = read_checkpoint(path)
    plain = checkpoint["config"]
    if dataset_root is not None:
        plain["dataset"]["root"] = dataset_root
    data = build_data(plain)
    task = build_task(without_downloads(plain), data.pair)
    task.load_state_dict(checkpoint["state_dict"])
    return data, task


def batch_norm_name(task: SegmentationTask) -> str:
    """Name the batch-norm policy of an evaluation."""
    return f"batch norm: {task.batch_norm} statistics"


def plain_config(config: DictConfig) -> Config:
    """Resolve the configuration into plain types, with an absolute data root."""
    plain = cast(Config, OmegaConf.to_container(config, resolve=True, throw_on_missing=True))
    if "root" in plain["dataset"]:
        plain["dataset"]["root"] = str(Path(plain["dataset"]["root"]).expanduser().absolute())
    return plain


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
    steps = plain["trainer"]["max_steps"]
    if not isinstance(steps, int) or steps <= 0:
        message = f"trainer.max_steps={steps} must be a positive integer"
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
        class_names=classes.names,
        optimizer=build(plain["optim"]),
        chance=Chance(plain["seed"]),
        **extra,
    )
    return task


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


def be_quiet() -> None:
    """Keep Lightning's remarks on what is meant to be so off the screen."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    for remark in (
        ".*does not have many workers.*",
        ".*exists and is not empty.*",
        ".*module\\(s\\) in eval mode at the start of training.*",
        ".*isinstance\\(treespec, LeafSpec\\).*",
    ):
        warnings.filterwarnings("ignore", message=remark)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint of ours; tensors and plain types only.

    Raises:
        InputError: if the file is absent, broken, or no checkpoint of sepico_pl.
    """
    if not path.is_file():
        message = f"checkpoint={path}: there is no such file; a run leaves last.ckpt in its folder"
        raise InputError(message)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        message = f"checkpoint={path}: cannot be read as tensors ({reason}); is the file whole?"
        raise InputError(message) from error
    if not isinstance(content, dict) or not {"config", "state_dict"} <= content.keys():
        message = f"checkpoint={path}: not written by sepico_pl.train; it has no config in it"
        raise InputError(message)
    return content


def without_downloads(plain: Config) -> Config:
    """Return the configuration without pretrained weights: the checkpoint's own follow."""
    return {**plain, "backbone": {**plain["backbone"], "weights": None}}


def evaluated_network(task: SegmentationTask, network: str) -> Segmentor:
    """Return the student or the teacher of a task.

    Raises:
        InputError: for another name, or a task without a teacher.
    """
    if network == "student":
        return task.student
    teacher = getattr(task, "teacher", None)
    if network != "teacher" or teacher is None:
        message = f"network={network}: this checkpoint has no such network; choose network=student"
        raise InputError(message)
    return cast(Segmentor, teacher.network)
