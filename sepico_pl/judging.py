"""How a checkpoint is evaluated: its network, what it is asked, on which device; `submit`."""

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from torch import Tensor

from sepico_pl.adapt.batch_norm import batch_norm_policy
from sepico_pl.assembly import Config, build, ledger_of, plain_config
from sepico_pl.checkpoints import evaluated_network, load
from sepico_pl.data.benchmark import Benchmark
from sepico_pl.data.checks import with_progress
from sepico_pl.data.classes import CITYSCAPES
from sepico_pl.data.datamodule import AdaptationData
from sepico_pl.data.datasets import ImageFolder
from sepico_pl.data.geometry import fit, to_tensor
from sepico_pl.data.submissions import Submission, submission_format
from sepico_pl.protocol import device_of, inference_of
from sepico_pl.task import SegmentationTask
from sepico_pl.types import InputError


def submit(config: DictConfig) -> Path:
    """Write a server's archive of predictions on its test images, and validate it.

    Returns:
        The archive.
    """
    plain = plain_config(config)
    output = Path(plain["output"]).expanduser()
    benchmark = cast(Benchmark, build("dataset", plain["dataset"]["target"]))
    form = submission_format(benchmark.name)
    images = benchmark.images("test")
    if len(images) != form.images:
        message = (
            f"{benchmark.root}: {len(images)} test images of {benchmark.name}, the server expects "
            f"{form.images}; unpack the test archive whole, and choose all conditions"
        )
        raise InputError(message)
    if plain["checkpoint"] is not None:
        if output.exists():
            message = f"output={output} exists already; choose another name"
            raise InputError(message)
        data, task = rebuilt(plain)
        chosen_target(plain, task)
        data.target_size = plain["data"]["target_size"]
        data.images_for_statistics = benchmark.images(benchmark.train)
        images.check(ledger_of(plain))
        with Submission(output, form) as archive:
            for path, scores in scored(task, data, images, accelerator=plain["accelerator"]):
                archive.add(path.name, task.inference.probabilities(scores).cpu().numpy())
        print(f"written: {output}, predictions of the {plain['network']}, {batch_norm_name(task)}")
    sizes = {path.name: images.size(index) for index, path in enumerate(images.images)}
    form.validate(output, sizes)
    print(f"valid: {output} has all {len(sizes)} test images of {benchmark.name}")
    return output


def rebuilt(plain: Config) -> tuple[AdaptationData, SegmentationTask]:
    """Load a checkpoint, with the network and the way of asking it that were chosen."""
    root = plain.get("dataset_root")
    data, task = load(Path(plain["checkpoint"]), root)
    policy = plain["batch_norm"] or task.batch_norm
    task.batch_norm = batch_norm_policy(policy, key="batch_norm")
    task.student = evaluated_network(task, plain["network"])
    task.inference = inference_of(plain, len(task.class_names))
    return data, task


def chosen_target(plain: Config, task: SegmentationTask) -> Benchmark | None:
    """Return the benchmark that target=<name> chose; None for the checkpoint's own data.

    Raises:
        InputError: if the network has other classes.
    """
    if "target" not in plain.get("dataset", {}):
        return None
    if task.class_names != CITYSCAPES.names:
        message = (
            f"checkpoint={plain['checkpoint']} has {len(task.class_names)} classes of its own and "
            "the target those of Cityscapes; judge it on its own data (no target=)"
        )
        raise InputError(message)
    return cast(Benchmark, build("dataset", plain["dataset"]["target"]))


@torch.no_grad()
def scored(
    task: SegmentationTask, data: AdaptationData, images: ImageFolder, *, accelerator: str
) -> Iterator[tuple[Path, Tensor]]:
    """Yield each image's file and its scores (C, H, W) at the image's own size."""
    device = device_of(accelerator)
    network = task.student.to(device).eval()
    with task.judge(network, data.statistics_images(device)):
        for index, path in enumerate(with_progress(images.images, len(images), "predicting")):
            image = images[index]
            resized = to_tensor(fit(image, None, data.target_size)[0])[None].to(device)
            scores = task.inference(network, resized, image.shape[:2])[0]
            yield path, scores


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


def batch_norm_name(task: SegmentationTask) -> str:
    """Name the batch-norm policy of an evaluation."""
    return f"batch norm: {task.batch_norm} statistics"


def be_quiet() -> None:
    """Keep Lightning's remarks on what is meant to be so off the screen."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    for remark in (
        ".*does not have many workers.*",
        ".*exists and is not empty.*",
        ".*Total length of `list` across ranks is zero.*",
        ".*module\\(s\\) in eval mode at the start of training.*",
        ".*resuming from a checkpoint that ended before the epoch ended.*",
        ".*isinstance\\(treespec, LeafSpec\\).*",
    ):
        warnings.filterwarnings("ignore", message=remark)
