"""What `evaluate` does: predict the labelled images on one or several devices, and score that."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.lightning import (
    LightningEnvironment,
    find_free_network_port,
)
from omegaconf import DictConfig
from pytorch_lightning.utilities.exceptions import SIGTERMException

from sepico_pl.assembly import Config, ledger_of, plain_config
from sepico_pl.data.benchmark import Benchmark
from sepico_pl.data.datamodule import AdaptationData
from sepico_pl.devices import in_processes
from sepico_pl.judging import batch_norm_name, be_quiet, chosen_target, judge, rebuilt
from sepico_pl.limits import DEVICE_COUNT, NETWORK, PATH, OrNull, Rule, check_limits
from sepico_pl.protocol import device_of
from sepico_pl.scores_files import protocol_of, refuse_another_protocol, scores_file
from sepico_pl.tables import check_writable, print_scores, write_json
from sepico_pl.task import SegmentationTask
from sepico_pl.types import InputError, LabelledImages

FILES: dict[str, Rule] = {
    "checkpoint": PATH,
    "output": OrNull(PATH),
    "dataset_root": OrNull(PATH),
    "network": NETWORK,
    "devices": DEVICE_COUNT,
}


def evaluate(config: DictConfig) -> dict[str, dict[str, float]]:
    """Evaluate a checkpoint on target and source validation; print and write the scores.

    Returns:
        Scores in percent by domain, then by "mIoU", "mIoU<n>" of class subsets and "IoU/<class>".
    """
    plain = plain_config(config)
    check_limits(plain, FILES)
    path = Path(plain["checkpoint"])
    if plain["devices"] > 1:
        device_of(plain["accelerator"], plain["devices"] - 1)
    data, task, benchmark = prepared(plain)
    output = scores_file(plain, benchmark)
    if not data.domains:
        message = f"checkpoint={path}: its data set has no validation labels to evaluate on"
        raise InputError(message)
    protocol = protocol_of(plain, data, task, benchmark)
    check_writable(output, "output")
    refuse_another_protocol(output, protocol)
    data.check_judging(ledger_of(plain))
    number = min(plain["devices"], max(len(scenes) for scenes in data.judged.values()))
    load_here_if_shared_memory_is_small(data, number)
    scores = (
        evaluate_together(number, plain, data) if number > 1 else evaluate_alone(plain, data, task)
    )
    title = f"{path}: {plain['network']}, {batch_norm_name(task)}"
    where = "" if benchmark is None else f" on {benchmark.name} {benchmark.val}"
    columns = {f"{domain} validation{where}": found for domain, found in scores.items()}
    write_json(output, {**protocol, **scores})
    print_scores(title, task.class_names, columns)
    print(f"written: {output}")
    return scores


def prepared(plain: Config) -> tuple[AdaptationData, SegmentationTask, Benchmark | None]:
    """Load a checkpoint with the images to evaluate it on: its own, or those of a benchmark."""
    data, task = rebuilt(plain)
    benchmark = chosen_target(plain, task)
    if benchmark is None:
        data.judge_both_domains()
    else:
        images = benchmark.images(benchmark.train) if benchmark.train else None
        scenes = benchmark.labelled(benchmark.val)
        data.judge_on(scenes, images, plain["data"]["target_size"])
    return data, task, benchmark


def load_here_if_shared_memory_is_small(data: AdaptationData, processes: int) -> None:
    """Do without loader processes whose batches shared memory cannot hold, and say so."""
    try:
        data.check_loaders(training=False, processes=processes)
    except InputError as error:
        print(f"{str(error).partition(';')[0]}; images are loaded without loader processes")
        data.workers = 0


def evaluate_alone(
    plain: Config, data: AdaptationData, task: SegmentationTask
) -> dict[str, dict[str, float]]:
    """Evaluate in this process."""
    be_quiet()
    trainer = pl.Trainer(accelerator=plain["accelerator"], devices=1, logger=False)
    try:
        return judge(trainer, task, data)
    except SIGTERMException as stop:  # carries no exit code: it would pass for an end without fault
        raise SystemExit(128 + signal.SIGTERM) from stop


def evaluate_together(
    number: int, plain: Config, data: AdaptationData
) -> dict[str, dict[str, float]]:
    """Evaluate in a process per device; all count the pixels of their images into one matrix."""
    parts = plain, data.judged, data.workers, find_free_network_port()
    (scores,) = in_processes(evaluate_share, number, *parts)
    return scores


def evaluate_share(
    rank: int,
    number: int,
    plain: Config,
    scenes: dict[str, LabelledImages],
    workers: int,
    port: int,
) -> Iterator[dict[str, dict[str, float]]]:
    """Evaluate one process's share of the images; the first one yields the scores of all.

    Args:
        rank: of this process.
        number: of processes.
        plain: the configuration of `evaluate`.
        scenes: checked images by domain.
        workers: loader processes.
        port: through which the processes find each other.
    """
    be_quiet()
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    with redirect_stdout(StringIO()):  # the process that started this one has said it
        data, task, _ = prepared(plain)
    data.judged, data.workers = scenes, workers
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"NODE_RANK": "0", "LOCAL_RANK": str(rank)}
    trainer = pl.Trainer(
        accelerator=plain["accelerator"],
        devices=number,
        strategy="ddp",
        plugins=[LightningEnvironment()],
        use_distributed_sampler=False,
        logger=False,
    )
    scores = judge(trainer, task, data)
    if rank == 0:
        yield scores
