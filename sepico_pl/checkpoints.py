"""Checkpoints of ours: read, rebuilt, and given to a new run as its start."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sepico_pl.assembly import (
    REFUSALS,
    Config,
    build_data,
    build_task,
    without_downloads,
)
from sepico_pl.model.allocation import bounded_by
from sepico_pl.model.segmentor import Segmentor
from sepico_pl.model.weights import list_keys, read_file, take_over
from sepico_pl.plain_data import check_file_config
from sepico_pl.quoting import first_line
from sepico_pl.resuming import FREE_ON_RESUME, flat
from sepico_pl.tensor_files import write_tensors
from sepico_pl.typed_paths import DATA_PATHS, OWN_FOLDERS
from sepico_pl.types import InputError

if TYPE_CHECKING:  # what predicts does not import Lightning
    from sepico_pl.data.datamodule import AdaptationData
    from sepico_pl.task import SegmentationTask

PARTS = ("dataset", "data", "backbone", "head", "contrast", "adapt", "optim", "seed")


def read_checkpoint(path: Path, key: str = "checkpoint") -> Config:
    """Load a checkpoint of ours: tensors and plain types only, its configuration checked.

    Args:
        path: the checkpoint; a run leaves `last.ckpt` in its folder.
        key: the option that names it, for the message.

    Raises:
        InputError: if the file is absent, broken, or no checkpoint of sepico_pl's making.
    """
    content: Config = read_file(path, key)
    config = content.get("config") if isinstance(content, dict) else None
    if not isinstance(config, dict) or not isinstance(content.get("state_dict"), dict):
        message = (
            f"{key}={path}: not written by sepico_pl, it has no config in it; "
            "an official one is turned into ours by python -m sepico_pl.import_official"
        )
        raise InputError(message)
    check_parts(check_file_config(config, f"{key}={path}"), f"{key}={path}")
    return content


def check_parts(config: Config, what: str) -> None:
    """Check that a configuration has what every run has.

    Raises:
        InputError: naming what it lacks.
    """
    missing = [name for name in PARTS if name not in config]
    if missing:
        message = f"{what}: its config lacks {list_keys(missing)}; is the file whole?"
        raise InputError(message)


@contextmanager
def built_from_file(what: str) -> Iterator[None]:
    """Explain what cannot be built because a file holds other values than a run writes.

    Args:
        what: the option and file, for the message.

    Raises:
        InputError: naming them.
    """
    try:
        yield
    except InputError:
        raise
    except REFUSALS as error:
        message = (
            f"{what}: its content is not what a run writes ({type(error).__name__}: "
            f"{first_line(error)}); fetch or make it again"
        )
        raise InputError(message) from error


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
    with built_from_file(f"checkpoint={path}"):
        if dataset_root is not None:
            _move_dataset(plain, dataset_root)
        data = build_data(plain)
        task = _task_of(checkpoint, plain, data, f"checkpoint={path}")
    return data, task


def _task_of(
    checkpoint: Config, plain: Config, data: AdaptationData, what: str
) -> SegmentationTask:
    """Build a task, no larger than the checkpoint's weights explain, and give it those."""
    with bounded_by(checkpoint["state_dict"], what):
        task = build_task(without_downloads(plain), data.pair)
    take_over(task, checkpoint["state_dict"], what)
    return task


def _move_dataset(plain: Config, root: str) -> None:
    """Let the data set lie somewhere else: its root, or what holds all of one's own folders.

    Raises:
        InputError: if it has neither, or none of the folders lies there.
    """
    dataset = plain["dataset"]
    if "root" in dataset:
        dataset["root"] = root
        return
    recorded = {
        key: os.path.abspath(value)
        for key, value in dataset.items()
        if key.endswith(OWN_FOLDERS) and isinstance(value, str)
    }
    if not recorded:
        message = (
            f"dataset_root={root}: this checkpoint's data set has several folders or none; choose "
            "a benchmark by target=<name> paths.<name>=<folder>"
        )
        raise InputError(message)
    before = os.path.commonpath(recorded.values())
    moved = {key: str(Path(root, os.path.relpath(one, before))) for key, one in recorded.items()}
    if not any(map(os.path.isdir, moved.values())):
        message = (
            f"dataset_root={root}: there is no {next(iter(moved.values()))}; give the folder that "
            f"takes the place of {before}, which held all folders of the data"
        )
        raise InputError(message)
    dataset |= moved


def resumed_task(path: Path, plain: Config, data: AdaptationData) -> tuple[SegmentationTask, int]:
    """Build the task of a run that goes on, once its checkpoint is known to be of that run.

    Args:
        path: the checkpoint.
        plain: the configuration.
        data: built from it.

    Returns:
        The task with the checkpoint's weights, and the steps it has made.

    Raises:
        InputError: if the file cannot be used, or is of another run.
    """
    content = read_checkpoint(path, key="resume")
    with built_from_file(f"resume={path}"):
        _check_resumable(content, path, plain)
        task = _task_of(content, plain, data, f"resume={path}")
        return task, int(content["global_step"])


def _check_resumable(content: Config, path: Path, plain: Config) -> None:
    if not {"optimizer_states", "lr_schedulers", "loops", "global_step"} <= content.keys():
        message = (
            f"resume={path}: holds weights alone, not the state of a run; "
            f"begin a run with start={path}"
        )
        raise InputError(message)
    _refuse_unfused(content, path, plain["trainer"]["precision"])
    before, now = flat(content["config"]), flat(plain)
    changed = [
        f"{key} was {before.get(key, 'absent')} and is {now.get(key, 'absent')}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
        and not key.startswith(FREE_ON_RESUME)
        and not key.endswith(DATA_PATHS)
    ]
    if changed:
        message = (
            f"resume={path}: {list_keys(changed, separator='; ')}; a resumed run is the same run: "
            f"leave these as they were, or begin a run with start={path}"
        )
        raise InputError(message)


def _refuse_unfused(content: Mapping[str, Any], path: Path, precision: str) -> None:
    """Refuse an optimizer of an earlier version, which a gradient scaler cannot drive any more.

    Raises:
        InputError: naming the file.
    """
    groups = [group for state in content["optimizer_states"] for group in state["param_groups"]]
    if precision == "16-mixed" and not all(group.get("fused") for group in groups):
        message = (
            f"resume={path}: an earlier version wrote it, whose optimizer cannot go on in "
            f"16-mixed; begin a run with start={path}"
        )
        raise InputError(message)


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


def start_from(path: Path, student: Segmentor) -> None:
    """Give a new run's student the weights of a checkpoint's; what is new starts as it was built.

    The teacher becomes the student at step 0 and the class statistics begin anew, as in any run.

    Args:
        path: a checkpoint of ours.
        student: receives encoder, decode head and, where both have one, projection head.

    Raises:
        InputError: if the file cannot be used or its network is another one.
    """
    content = read_checkpoint(path, key="start")
    with built_from_file(f"start={path}"):
        _start_from(content, path, student)


def _start_from(content: Config, path: Path, student: Segmentor) -> None:
    state = {
        name.removeprefix("student."): value
        for name, value in content["state_dict"].items()
        if name.startswith("student.")
    }
    new = [name for name in student.state_dict() if name.startswith("projection.")]
    spare = [name for name in state if name.startswith("projection.")]
    if new and not spare:
        print(f"start={path}: it has no projection head; this run's starts from scratch")
        state |= {name: student.state_dict()[name] for name in new}
    elif spare and not new:
        print(f"start={path}: this run has no projection head; dropped {list_keys(spare)}")
        state = {name: value for name, value in state.items() if name not in spare}
    take_over(student, state, f"start={path}, of {_network_of(content['config'])},")
    print(f"start={path}: the student has its weights; statistics and teacher begin anew")


def _network_of(plain: Config) -> str:
    kinds = (plain["backbone"]["_target_"], plain["head"]["decode"]["_target_"])
    encoder, head = (kind.rpartition(".")[2] for kind in kinds)
    settings = ", ".join(
        f"{key} {plain['backbone'][key]}"
        for key in ("name", "depth", "variant", "width")
        if key in plain["backbone"]
    )
    return f"{encoder} ({settings}) with {head}"


def refuse_to_overwrite(path: Path) -> None:
    """Refuse a name that is taken.

    Raises:
        InputError: if there is such a file or folder already.
    """
    if path.exists():
        message = f"output={path} exists already; choose another name, nothing is overwritten"
        raise InputError(message)


def save(path: Path, task: SegmentationTask, plain: Config) -> None:
    """Write a checkpoint that `load` and `start_from` take; it appears whole or not at all.

    Raises:
        InputError: if it cannot be written.
    """
    write_tensors(path, {"config": plain, "state_dict": task.state_dict()})
