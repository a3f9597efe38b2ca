"""The embedding space of a checkpoint: measured, mapped and written into its run's folder."""

from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from sepico_pl.adapt.batch_norm import batch_norm_policy
from sepico_pl.assembly import Config, ledger_of, plain_config
from sepico_pl.checkpoints import evaluated_network, load
from sepico_pl.data.datamodule import AdaptationData
from sepico_pl.data.streams import EvaluationSet
from sepico_pl.judging import batch_norm_name
from sepico_pl.limits import COUNT, NATURAL, NETWORK, PATH, OrNull, Rule, check_limits
from sepico_pl.protocol import device_of
from sepico_pl.reporting.embedding_map import map_pixels
from sepico_pl.reporting.embedding_measures import Domain, measure
from sepico_pl.reporting.embedding_output import print_summary, summarise, write
from sepico_pl.reporting.embedding_sampling import ClassSample, Embedder, embed_domain
from sepico_pl.task import SegmentationTask
from sepico_pl.types import InputError

DOMAINS = ("source", "target")
RULES: dict[str, Rule] = {
    "checkpoint": PATH,
    "run": OrNull(PATH),
    "dataset_root": OrNull(PATH),
    "checked": OrNull(PATH),
    "network": NETWORK,
    "images": NATURAL,
    "pixels_per_class": NATURAL,
    "map_pixels": NATURAL,
    "seed": COUNT,
}


def analyse(config: DictConfig) -> dict[str, Any]:
    """Measure and map the embedding space of a checkpoint on labelled images of both domains.

    Prints the measures and writes them, the map and its points into `embeddings/` of the run.

    Returns:
        What `summary.json` holds.

    Raises:
        InputError: for a value that cannot be, an accelerator that is not there, a target without
            validation labels, or a checkpoint that cannot be used.
    """
    plain = plain_config(config)
    check_limits(plain, RULES)
    device = device_of(plain["accelerator"])
    data, task, embedder = prepared(plain)
    source, target = embedded(embedder, task, data, plain, device)
    classes = data.pair.classes
    summary = summarise(measure(source, target), classes.names, origin(embedder, task, data, plain))
    points = map_pixels(source, target, plain["map_pixels"], plain["seed"])
    folder = folder_of(plain) / "embeddings"
    write(folder, summary, points, classes)
    print_summary(summary)
    print(f"written: {folder}" + ("" if points else " (too few pixels for a map)"))
    return summary


def prepared(plain: Config) -> tuple[AdaptationData, SegmentationTask, Embedder]:
    """Load a checkpoint, its data with labels of both domains, and the network to embed with.

    A source without validation images (GTA5, SYNTHIA) lends its training images.

    Raises:
        InputError: if something cannot be used.
    """
    path = Path(plain["checkpoint"]).expanduser()
    data, task = load(path, plain["dataset_root"])
    task.batch_norm = batch_norm_policy(plain["batch_norm"] or task.batch_norm, key="batch_norm")
    embedder = Embedder(evaluated_network(task, plain["network"]), plain["features"])
    if "target" not in data.judged:
        message = (
            f"checkpoint={path}: its target has no validation labels, and without them no class "
            "is known; use a checkpoint whose data set has them (evaluate would judge on them)"
        )
        raise InputError(message)
    data.judged["source"] = data.pair.source_val or data.pair.source_train
    data.check_judging(ledger_of(plain))
    return data, task, embedder


def embedded(
    embedder: Embedder,
    task: SegmentationTask,
    data: AdaptationData,
    plain: Config,
    device: torch.device,
) -> list[Domain]:
    """Embed source and target by the batch-norm policy of the task."""
    embedder.to(device).eval()
    boxes = (data.source_size, data.target_size)
    with task.judge(embedder, data.statistics_images(device)):
        return [
            embed_domain(
                embedder,
                EvaluationSet(data.judged[domain], box),
                num_classes=len(task.class_names),
                images=plain["images"],
                sample=ClassSample(
                    plain["pixels_per_class"], embedder.width, [plain["seed"], number]
                ),
                title=f"embedding the {domain}",
            )
            for number, (domain, box) in enumerate(zip(DOMAINS, boxes, strict=True))
        ]


def origin(
    embedder: Embedder, task: SegmentationTask, data: AdaptationData, plain: Config
) -> dict[str, Any]:
    """Say what was embedded, and how."""
    split = "training" if data.pair.source_val is None else "validation"
    return {
        "checkpoint": plain["checkpoint"],
        "embeddings": f"{embedder.description} of the {plain['network']}, {batch_norm_name(task)}",
        "features": embedder.features,
        "network": plain["network"],
        "batch_norm": task.batch_norm,
        "source_images": f"{min(plain['images'], len(data.judged['source']))} of {split}",
        "target_images": f"{min(plain['images'], len(data.judged['target']))} of validation",
        "pixels_per_class": plain["pixels_per_class"],
        "map_pixels": plain["map_pixels"],
        "seed": plain["seed"],
    }


def folder_of(plain: Config) -> Path:
    """Return the run folder: the one that is named, else that of the checkpoint."""
    if plain["run"] is not None:
        return Path(plain["run"]).expanduser()
    folder = Path(plain["checkpoint"]).expanduser().parent
    return folder.parent if folder.name == "checkpoints" else folder
