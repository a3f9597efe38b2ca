"""What the commands do that make a checkpoint."""

from pathlib import Path

import pytorch_lightning as pl
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from sepico_pl.architecture import Architecture
from sepico_pl.assembly import (
    Config,
    build_data,
    build_task,
    build_trainer,
    check_config,
    ledger_of,
    plain_config,
    without_downloads,
)
from sepico_pl.checkpoints import refuse_to_overwrite, save, start_from
from sepico_pl.data.datamodule import AdaptationData
from sepico_pl.judging import batch_norm_name, be_quiet, judge
from sepico_pl.official import OfficialCheckpoint, account, read_official
from sepico_pl.tables import print_scores, write_json
from sepico_pl.task import SegmentationTask
from sepico_pl.types import InputError


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
    ledger = ledger_of(plain)
    data.check_training(ledger)
    data.check_judging(ledger)
    task = build_student_task(plain, data)
    be_quiet()
    trainer = build_trainer(plain, folder)
    trainer.fit(task, datamodule=data)
    if not data.domains:
        print(f"no labelled target images to judge on\nrun folder: {folder}")
        return {}
    scores = judge(trainer, task, data)["target"]
    title = f"target validation of the student, {batch_norm_name(task)}"
    print_scores(title, task.class_names, {plain["name"]: scores})
    write_json(folder / "scores.json", {"target": scores, "batch_norm": task.batch_norm})
    print(f"run folder: {folder}")
    return scores


def build_student_task(plain: Config, data: AdaptationData) -> SegmentationTask:
    """Build the task of a new run, its student started as configured."""
    if plain["start"] is not None:
        task = build_task(without_downloads(plain), data.pair)
        start_from(Path(plain["start"]), task.student)
        return task
    if plain["backbone"]["weights"] is None:
        print("the encoder starts from scratch; backbone.weights=imagenet fetches pretrained ones")
    return build_task(plain, data.pair)


def import_official(config: DictConfig) -> OfficialCheckpoint:
    """Turn an official checkpoint into one of ours; print what became of each of its keys.

    Returns:
        The official checkpoint, as it was read.
    """
    official = read_official(Path(config.checkpoint))
    plain = compose_for(official)
    output = Path(plain.pop("output"))
    plain.pop("checkpoint")
    refuse_to_overwrite(output)
    data = build_data(plain)
    classes, found = data.pair.classes, Architecture(official.student, official.path).num_classes
    if len(classes) != found:
        message = (
            f"checkpoint={official.path} has {found} classes and the data set {len(classes)}; "
            "choose a dataset=<name> with as many"
        )
        raise InputError(message)
    task = build_task(plain, data.pair)
    teacher = getattr(task, "teacher", None)
    official.load_into(task.student, None if teacher is None else teacher.network)
    save(output, task, plain)
    print("\n".join(account(official)))
    print(f"written: {output}")
    return official


def compose_for(official: OfficialCheckpoint) -> Config:
    """Configure the network that a checkpoint holds; what the command line says comes last."""
    architecture = Architecture(official.student, official.path)
    typed = list(HydraConfig.get().overrides.task)
    keys = {override.split("=")[0].lstrip("+") for override in typed}
    chosen = architecture.overrides()
    if not architecture.has_projection:
        chosen.append("adapt=none" if official.teacher is None else "adapt=self_training")
    chosen = [override for override in chosen if override.split("=")[0] not in keys]
    return plain_config(compose("import_official", [*chosen, *typed]))
