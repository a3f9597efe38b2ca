"""One measurement: what the terms of a step ask for, and who knows the target.

Shapes: B batch, C classes, H, W image size, h, w embedding size.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from sepico_pl.adapt.batch_norm import enough_values, use_batch_statistics
from sepico_pl.adapt.pseudo_labels import PseudoLabels, mixing_weight, most_likely
from sepico_pl.contrast.modes import MultiStageContrast
from sepico_pl.contrast.pixels import labels_at
from sepico_pl.diagnosis.cells import accuracy, count_cells
from sepico_pl.diagnosis.counts import CellCounts, accuracies
from sepico_pl.diagnosis.gradients import contrast_cosine, gradient_norms
from sepico_pl.module import SePiCo
from sepico_pl.task import SegmentationTask
from sepico_pl.types import IGNORE_INDEX, AdaptationBatch, SourceBatch

FEW_VALUES = (
    "the diagnosis takes statistics of its few target images alone; choose diagnosis=0, more "
    "target validation images of one size, or norm=group"
)


class Scenes(NamedTuple):
    """Labelled target images: (B, 3, H, W) normalised, and (B, H, W) int64, 255 ignored."""

    image: Tensor
    truth: Tensor


class Measured(NamedTuple):
    """Values by name, and the cells by class; None without a contrast or true labels."""

    values: dict[str, float]
    counts: CellCounts | None


def measure(
    task: SegmentationTask, batch: AdaptationBatch, scenes: Scenes | None, scale: float = 1.0
) -> Measured:
    """Go through a step, then ask the networks that it found.

    For all but the step itself batch norm takes the statistics of what it is asked about, and
    dropout is off: as the teacher is asked in training.

    Args:
        task: a copy at the step (`copy_at_step`); it is used up.
        batch: that the step is trained on.
        scenes: to compare with the truth on; None where there are none.
        scale: of the losses, see `gradients`.
    """
    norms = gradient_norms(task, batch, scale)
    found: dict[str, float | None] = {f"gradient/{name}": norm for name, norm in norms.items()}
    counts = None
    if isinstance(task, SePiCo):
        use_batch_statistics(task.student)
        with enough_values(FEW_VALUES):
            if scenes is not None:
                target, counts = target_measures(task, scenes, scale)
                found |= target
            if task.contrast is not None:
                found["margin/source"] = source_margin(task, task.contrast, batch["source"])
    return Measured({name: value for name, value in found.items() if value is not None}, counts)


def target_measures(
    task: SePiCo, scenes: Scenes, scale: float
) -> tuple[dict[str, float | None], CellCounts | None]:
    """Compare pseudo-labels, concepts and head with the truth; see `Measured`.

    What takes gradients comes first: autocast keeps the weights that it has cast without them.
    """
    pseudo = most_likely(task.teacher(scenes.image))
    used = used_labels(task, pseudo)
    found = pixel_accuracies(task, pseudo, used, scenes.truth)
    if task.contrast is None:
        return found, None
    found["cosine/encoder"] = contrast_cosine(task, scenes.image, used, scenes.truth, scale)
    cells, counts = cell_measures(task, task.contrast, scenes, used)
    return found | cells, counts


def used_labels(task: SePiCo, pseudo: PseudoLabels) -> Tensor:
    """Return the pseudo-labels (B, H, W) that the target contrast would take; 255 elsewhere."""
    trust = mixing_weight(pseudo.confidence, task.confidence_threshold)
    weight = task.ignored_rows.pixel_weights(pseudo.confidence, trust)
    return pseudo.label.where(weight > 0, IGNORE_INDEX)


def pixel_accuracies(
    task: SePiCo, pseudo: PseudoLabels, used: Tensor, truth: Tensor
) -> dict[str, float | None]:
    """Compare the pseudo-labels of all pixels with the truth, and those that are trusted."""
    trusted = (used != IGNORE_INDEX) & (pseudo.confidence >= task.confidence_threshold)
    return {
        "pseudo_label/all": accuracy(pseudo.label, truth, torch.ones_like(trusted)),
        "pseudo_label/trusted": accuracy(pseudo.label, truth, trusted),
    }


@torch.no_grad()
def cell_measures(
    task: SePiCo, contrast: MultiStageContrast, scenes: Scenes, used: Tensor
) -> tuple[dict[str, float | None], CellCounts]:
    """Compare with the truth of the last embedding map's cells: concepts, head, pseudo-labels.

    Args:
        task: to ask.
        contrast: of the task.
        scenes: B images.
        used: (B, H, W), see `used_labels`.
    """
    classes, stage = len(task.class_names), contrast.last
    stages = task.student.encode(scenes.image)
    head = task.student.decode(stages, scenes.image.shape[-2:]).argmax(dim=1)
    embeddings = task.student.embed(stages)
    size = (embeddings[-1].shape[-2], embeddings[-1].shape[-1])
    truth = labels_at(scenes.truth, size, classes, stage.min_share or 0.0)
    said = labels_at(head, size, classes, 0.0)
    selected = labels_at(used, size, classes, stage.min_share)
    counts = count_cells(truth, stage.nearest(embeddings[-1]), said, classes)
    margin = contrast.margin(embeddings, scenes.truth)
    return {
        "pseudo_label/contrasted": accuracy(selected, truth, selected != IGNORE_INDEX),
        "margin/target": None if margin is None else float(margin),
        **accuracies(counts),
    }, counts


@torch.no_grad()
def source_margin(task: SePiCo, contrast: MultiStageContrast, source: SourceBatch) -> float | None:
    """Measure the margin of the step's weak source images by their labels."""
    embeddings = task.student.embed(task.student.encode(source["image"]))
    margin = contrast.margin(embeddings, source["label"])
    return None if margin is None else float(margin)
