"""What `train` does: begin or go on with a run, judge it, and leave its folder whole."""

import os
from contextlib import nullcontext
from pathlib import Path
from typing import cast

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from sepico_pl.assembly import (
    Config,
    build_data,
    build_task,
    check_config,
    ledger_of,
    without_downloads,
)
from sepico_pl.boards import describe_run
from sepico_pl.checkpoints import resumed_task, start_from
from sepico_pl.cli import environment
from sepico_pl.compiling import compile_networks
from sepico_pl.contrast_start import contrast_steps, without_contrast
from sepico_pl.data.datamodule import AdaptationData
from sepico_pl.folder_lock import locked_folder
from sepico_pl.job_signals import exit_if_signalled
from sepico_pl.judging import batch_norm_name, be_quiet, judge
from sepico_pl.keeping import (
    count_from,
    exit_on_signal,
    raise_if_signalled,
    set_aside,
    signal_handler_of,
)
from sepico_pl.loggers import ended, forget_after
from sepico_pl.model.recompute import recompute_blocks
from sepico_pl.multirun import FAILURE
from sepico_pl.processes import (
    follow_first_rank,
    is_first_rank,
    refuse_spawning_multirun,
)
from sepico_pl.record import Record, write_record
from sepico_pl.resumed_config import configuration, recorded_and_typed
from sepico_pl.resuming import FIRST_RANK, key_of, newest_checkpoint, traces
from sepico_pl.tables import print_scores, write_json
from sepico_pl.task import SegmentationTask
from sepico_pl.training import build_trainer, check_batch_norm, gradient_clip
from sepico_pl.types import InputError


def train(config: DictConfig) -> dict[str, float]:
    """Train, judge the target, leave weights, scores and a report in the run folder.

    Returns:
        The target's scores in percent, by "mIoU" and "IoU/<class>".

    Raises:
        InputError: for what cannot be used, before the first step.
        SystemExit: after a signal, once the state is saved.
    """
    exit_if_signalled()
    follow_first_rank()
    folder = Path(HydraConfig.get().runtime.output_dir)
    with locked_folder(folder) if is_first_rank() else nullcontext():
        return train_in(folder, config)


def train_in(folder: Path, config: DictConfig) -> dict[str, float]:
    """Train in a run folder that is this process's own; see `train`."""
    refuse_links(folder)
    (folder / FAILURE).unlink(missing_ok=True)
    resumed = chosen_checkpoint(config.resume, folder)
    plain = configuration(config, resumed, folder)
    check_config(plain)
    pl.seed_everything(plain["seed"], workers=True, verbose=False)
    data = build_data(plain)
    ledger = ledger_of(plain)
    data.check_training(ledger)
    data.check_judging(ledger)
    data.check_loaders(training=True)
    refuse_shared_folder(plain["resume"], folder)
    say_whether_it_contrasts(plain)
    task, step = prepared_task(plain, data, resumed)
    check_batch_norm(plain, task, data)
    be_quiet()
    record = begin_record(folder, plain, data, resumed, step)
    with ended():
        trainer = build_trainer(plain, folder)
        refuse_spawning_multirun(trainer)
        describe_run(trainer.loggers, plain, record, ["mIoU", *data.pair.classes.subsets])
        task.gradient_clip = gradient_clip(plain)
        prepare_networks(task, plain, trainer)
        with exit_on_signal(trainer):
            fit(trainer, task, data, resumed)
            scores = final_scores(trainer, task, data, plain, folder)
    if trainer.is_global_zero:
        report_on(folder)
    print(f"run folder: {folder}")
    return scores


def prepare_networks(task: SegmentationTask, plain: Config, trainer: pl.Trainer) -> None:
    """Let the networks save memory and time as configured."""
    if plain["recompute"]:
        recompute_blocks(task.student.encoder)
    if plain["compile"]:
        compile_networks(task, trainer.strategy.root_device)


def report_on(folder: Path) -> None:
    """Write the report; one that cannot be written, for whatever reason, does not undo the run."""
    from sepico_pl.reporting.page import write_report

    try:
        print(f"report: {write_report(folder)}")
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        print(f"no report: {reason}; the run is whole, python -m sepico_pl.report run={folder}")


def fit(
    trainer: pl.Trainer, task: SegmentationTask, data: AdaptationData, resumed: Path | None
) -> None:
    """Train, from a checkpoint on if there is one.

    Raises:
        Interrupted: after a signal, once the state is saved.
    """
    with environment(FIRST_RANK, os.environ.get(FIRST_RANK, str(os.getpid()))):
        trainer.fit(task, datamodule=data, ckpt_path=resumed, weights_only=True)
    raise_if_signalled(trainer)


def final_scores(
    trainer: pl.Trainer,
    task: SegmentationTask,
    data: AdaptationData,
    plain: Config,
    folder: Path,
) -> dict[str, float]:
    """Judge the student on the target; print the scores and write them, with how they came about.

    Raises:
        Interrupted: after a signal before the last image.
    """
    if not data.domains:
        print("no labelled target images to judge on")
        return {}
    contrasted = contrast_steps(plain, trainer.global_step)
    count_from(trainer, trainer.global_step - 1)  # the scores belong into the last step's row
    scores = judge(trainer, task, data)["target"]
    signal_handler_of(trainer).restore_output()
    if trainer.is_global_zero:
        made = {"batch_norm": task.batch_norm, "contrast_steps": contrasted}
        write_json(folder / "scores.json", {"target": scores, **made})
        counts = task.confusion["target"].tolist()
        write_json(folder / "confusion.json", {"classes": task.class_names, "target": counts})
    title = f"target validation of the student, {batch_norm_name(task)}"
    if contrasted == 0:
        title += f"; trained {without_contrast(plain['adapt']['contrast_start'])}"
    print_scores(title, task.class_names, {plain["name"]: scores})
    return scores


def say_whether_it_contrasts(plain: Config) -> None:
    """Print that a run is too short for its contrast, if it is."""
    steps = plain["trainer"]["max_steps"]
    if contrast_steps(plain, steps) == 0:
        print(
            f"the contrast starts at step {plain['adapt']['contrast_start']} "
            f"(adapt.contrast_start) and the run ends at {steps}: it trains without"
        )


def refuse_links(folder: Path) -> None:
    """Refuse a run folder whose folders lie elsewhere: what is written and removed stays in it.

    Raises:
        InputError: naming the first.
    """
    for path in folder.glob("*"):
        if path.is_symlink() and path.is_dir():
            message = f"{path} is a link to another folder; put that folder itself there"
            raise InputError(message)


def refuse_shared_folder(resume: str | None, folder: Path) -> None:
    """Refuse to begin a run where another job of a multirun has written.

    Raises:
        InputError: naming the folder.
    """
    if resume is None and is_first_rank() and traces(folder):
        message = (
            f"{folder} holds a run already ({traces(folder)[0]}): continue it by resume=auto, or "
            "give each job a folder of its own: hydra.sweep.subdir='${hydra.job.num}'"
        )
        raise InputError(message)


def chosen_checkpoint(resume: str | None, folder: Path) -> Path | None:
    """Return the checkpoint to resume from; None for a new run.

    Raises:
        InputError: for resume=last in a folder without one.
    """
    if resume is None:
        return None
    if resume not in ("last", "auto"):
        return Path(resume)
    found = newest_checkpoint(folder)
    if found is None and resume == "last":
        message = f"resume=last: there is no checkpoint in {folder}; resume=auto would begin there"
        raise InputError(message)
    return found


def prepared_task(
    plain: Config, data: AdaptationData, resumed: Path | None
) -> tuple[SegmentationTask, int]:
    """Build the task, and return it with the steps it has made."""
    if resumed is None:
        return build_student_task(plain, data), 0
    task, step = resumed_task(resumed, plain, data)
    is_finished = step >= plain["trainer"]["max_steps"]
    doing = "is finished (trainer.max_steps), and evaluated again" if is_finished else "goes on"
    print(f"resume={resumed}: {doing} after step {step}")
    return task, step


def begin_record(
    folder: Path, plain: Config, data: AdaptationData, resumed: Path | None, step: int
) -> Record:
    """Write down how the run is made; take out of the way what it will write anew.

    Returns:
        What was written; nothing on other ranks than the first.
    """
    if not is_first_rank():
        return {}
    hydra = HydraConfig.get()
    sources = hydra.runtime.config_sources
    folders = [source.path for source in sources if source.provider == "command-line"]
    forget_after(folder / "metrics.csv", step)
    if resumed is not None:
        set_aside(folder, resumed, step)
    return write_record(
        folder,
        overrides=list(hydra.overrides.task),
        options=[
            *(word for word in hydra.overrides.hydra if not word.startswith("hydra.mode=")),
            *(word for path in folders for word in ("--config-dir", path)),
        ],
        choices=chosen_options(),
        typed=typed_groups(plain["resume"]),
        config=plain,
        images=data.fingerprint,
        resumed=resumed,
    )


def chosen_options() -> dict[str, object]:
    """Return the option, or the list of options, that each group of conf/ has in this run."""
    choices = cast(Config, OmegaConf.to_container(HydraConfig.get().runtime.choices))
    return {group: option for group, option in choices.items() if "/" not in group}


def typed_groups(resume: str | None) -> set[str]:
    """Return the groups whose options are typed now, of a run that is resumed."""
    words = list(HydraConfig.get().overrides.task)
    if resume is None or not any(key_of(word) == "resume" for word in words):
        return set()
    return {key_of(word) for word in recorded_and_typed(words)[1]}


def build_student_task(plain: Config, data: AdaptationData) -> SegmentationTask:
    """Build the task of a new run, its student started as configured."""
    if plain["start"] is not None:
        task = build_task(without_downloads(plain), data.pair)
        start_from(Path(plain["start"]), task.student)
        return task
    if plain["backbone"]["weights"] is None:
        print("the encoder starts from scratch; backbone.weights=imagenet fetches pretrained ones")
    return build_task(plain, data.pair)
