"""A training step in the order of the official code (docs/departures.md): the benchmarks' baseline.

Source, target and mixed pass, each with a backward pass of its own; four teacher forwards, the
decoded source among them; statistics through N x C x D and labels through one-hot maps; teacher and
optimizer one parameter after the other.
"""

from collections.abc import Iterator

import torch
from bench_contrast import ExpandedMoments, one_hot_labels
from torch import Tensor

from sepico_pl.adapt.pseudo_labels import mixing_weight, most_likely
from sepico_pl.adapt.teacher import ema_decay
from sepico_pl.augment.class_mix import classes_present, paste
from sepico_pl.contrast.modes import PixelContrast
from sepico_pl.module import SePiCo
from sepico_pl.types import IGNORE_INDEX


def in_official_order(task: SePiCo) -> None:
    """Let a task take its step as the official code does: the same numbers but for rounding."""
    task.to(memory_format=torch.contiguous_format)
    task.losses = lambda batch: official_losses(task, batch)
    (stage,) = task.contrast.stages
    num_classes, width = stage.moments.mean.shape
    stage.moments = ExpandedMoments(num_classes, width).to(stage.moments.mean.device)
    stage.update = lambda embeddings, labels: expanded_update(stage, embeddings, labels)


def official_losses(
    task: SePiCo, batch: dict[str, dict[str, Tensor]]
) -> Iterator[tuple[str, Tensor]]:
    """Yield the losses of the source, target and mixed pass."""
    source, target = batch["source"], batch["target"]
    task.start_step()
    follow_one_by_one(task)
    target = task.crop_target(target)
    pseudo = most_likely(task.vote(task.teacher, target))
    trust = mixing_weight(pseudo.confidence, task.confidence_threshold)
    weight = task.ignored_rows.pixel_weights(pseudo.confidence, trust)
    draw = task.strong.draw(task.chance)
    strong_source = task.strong(source["image"], draw, task.chance)
    strong_target = task.strong(target["image"], draw, task.chance)
    task.teacher(source["image"])
    task.update_statistics(source)
    yield "source", task.source_loss(strong_source, source["label"])
    yield "target", task.target_loss(strong_target, pseudo.label.where(weight > 0, IGNORE_INDEX))
    mask = task.pasted(source["label"], classes_present(source["label"]))
    mixed = task.strong(paste(mask, source["image"], target["image"]), draw, task.chance)
    mixed_label = paste(mask, source["label"], pseudo.label)
    mixed_weight = paste(mask, torch.ones_like(weight), weight)
    yield "mixed", task.cross_entropy(task.student(mixed), mixed_label, mixed_weight)


@torch.no_grad()
def follow_one_by_one(task: SePiCo) -> None:
    """Let the teacher follow, one parameter after the other."""
    keep = ema_decay(task.global_step, task.teacher.decay)
    parameters = zip(task.teacher.network.parameters(), task.student.parameters(), strict=True)
    for own, theirs in parameters:
        own.copy_(keep * own + (1 - keep) * theirs)


@torch.no_grad()
def expanded_update(stage: PixelContrast, embeddings: Tensor, labels: Tensor) -> None:
    """Take the source's statistics through one-hot label maps and N x C x D."""
    scale = labels.shape[-1] // embeddings.shape[-1]
    cells = one_hot_labels(labels, scale, len(stage.moments.count), stage.min_share)
    chosen = cells != IGNORE_INDEX
    stage.moments.update(embeddings.movedim(1, -1)[chosen].float(), cells[chosen])
