"""What `evaluate` and `submit` do with a checkpoint: judge it, and write a server's archive."""

import logging
import signal
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from pytorch_lightning.utilities.exceptions import SIGTERMException
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
from sepico_pl.json_files import load_json
from sepico_pl.limits import NETWORK, PATH, OrNull, Rule, check_limits
from sepico_pl.protocol import device_of, inference_of
from sepico_pl.tables import check_writable, print_scores, write_json
from sepico_pl.task import SegmentationTask
from sepico_pl.types import InputError

FILES: dict[str, Rule] = {
    "checkpoint": PATH,
    "output": OrNull(PATH),
    "dataset_root": OrNull(PATH),
    "network": NETWORK,
}
ASKED = ("network", "scales", "flip", "window", "stride", "class_weights_deviation")
SHOWN, SHOWN_KEYS = 100, 5


def evaluate(config: DictConfig) -> dict[str, dict[str, float]]:
    """Judge a checkpoint on target and source validation; print and write the scores.

    Returns:
        Scores in percent by domain, then by "mIoU", "mIoU<n>" of class subsets and "IoU/<class>".
    """
    plain = plain_config(config)
    check_limits(plain, FILES)
    path = Path(plain["checkpoint"])
    data, task = rebuilt(plain)
    benchmark = chosen_target(plain, task)
    output = scores_file(plain, benchmark)
    if benchmark is None:
        data.judge_both_domains()
    else:
        images = benchmark.images(benchmark.train) if benchmark.train else None
        scenes = benchmark.labelled(benchmark.val)
        data.judge_on(scenes, images, plain["data"]["target_size"])
    if not data.domains:
        message = f"checkpoint={path}: its data set has no validation labels to judge on"
        raise InputError(message)
    protocol = protocol_of(plain, data, task, benchmark)
    check_writable(output, "output")
    refuse_another_protocol(output, protocol)
    data.check_judging(ledger_of(plain))
    load_here_if_shared_memory_is_small(data)
    be_quiet()
    trainer = pl.Trainer(accelerator=plain["accelerator"], devices=1, logger=False)
    try:
        scores = judge(trainer, task, data)
    except SIGTERMException as stop:  # carries no exit code: it would pass for an end without fault
        raise SystemExit(128 + signal.SIGTERM) from stop
    title = f"{path}: {plain['network']}, {batch_norm_name(task)}"
    where = "" if benchmark is None else f" on {benchmark.name} {benchmark.val}"
    columns = {f"{domain} validation{where}": found for domain, found in scores.items()}
    write_json(output, {**protocol, **scores})
    print_scores(title, task.class_names, columns)
    print(f"written: {output}")
    return scores


def load_here_if_shared_memory_is_small(data: AdaptationData) -> None:
    """Do without loader processes whose batches shared memory cannot hold, and say so."""
    try:
        data.check_loaders(training=False)
    except InputError as error:
        print(f"{str(error).partition(';')[0]}; images are loaded without loader processes")
        data.workers = 0


def scores_file(plain: Config, benchmark: Benchmark | None) -> Path:
    """Return where scores go: `output`, or beside the checkpoint a file for each target."""
    if plain["output"] is not None:
        return Path(plain["output"]).expanduser()
    ending = "scores.json" if benchmark is None else f"{benchmark.name}.scores.json"
    return Path(plain["checkpoint"]).with_suffix(f".{ending}")


def protocol_of(
    plain: Config, data: AdaptationData, task: SegmentationTask, benchmark: Benchmark | None
) -> dict[str, Any]:
    """Return what is evaluated, and how: the scores' file begins with it."""
    judged_on = {} if benchmark is None else {"judged_on": f"{benchmark.name} {benchmark.val}"}
    return {
        "checkpoint": Path(plain["checkpoint"]).name
        if plain["output"] is None
        else str(Path(plain["checkpoint"]).absolute()),
        **{key: plain[key] for key in ASKED},
        "input_size": list(data.target_size),
        **judged_on,
        "batch_norm": task.batch_norm,
    }


def refuse_another_protocol(output: Path, protocol: Mapping[str, Any]) -> None:
    """Refuse to replace scores that came about in another way.

    Raises:
        InputError: naming what differs, or that the file holds no scores.
    """
    if not output.exists():
        return
    remedy = "keep it, and choose another file by output=<file>"
    found = load_json(output, remedy)
    before = {key: value for key, value in found.items() if not isinstance(value, dict)}
    before.setdefault("checkpoint", protocol["checkpoint"])  # earlier versions do not say
    differing = [
        f"{key} was {str(before.get(key))[:SHOWN]} and is {protocol.get(key)}"
        for key in dict.fromkeys([*protocol, *before])
        if before.get(key) != protocol.get(key)
    ]
    if differing:
        message = f"{output} holds other scores ({'; '.join(differing[:SHOWN_KEYS])}); {remedy}"
        raise InputError(message)


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
