"""Who is right about a target cell: the concepts, the head, both or neither.

A cell is a place of the embedding map.
"""

import torch
from torch import Tensor

from sepico_pl.diagnosis.counts import CellCounts
from sepico_pl.types import IGNORE_INDEX


def count_cells(truth: Tensor, concept: Tensor, head: Tensor, num_classes: int) -> CellCounts:
    """Count by true class.

    Args:
        truth: int64 of any shape, class ids in [0, C) or 255 for cells that do not count.
        concept: class of the nearest concept, of the same shape.
        head: class that the head says, of the same shape.
        num_classes: C.
    """
    known = truth != IGNORE_INDEX
    truth, concept, head = (labels[known].cpu() for labels in (truth, concept, head))
    by_concept, by_head = concept == truth, head == truth
    kinds = (torch.ones_like(by_head), by_concept, by_head, by_concept & by_head)
    return CellCounts(
        *(torch.bincount(truth[kind], minlength=num_classes).tolist() for kind in kinds)
    )


def accuracy(label: Tensor, truth: Tensor, counted: Tensor) -> float | None:
    """Return the percentage of labels that are right, of those counted with a known truth.

    Args:
        label: int64 of any shape.
        truth: of the same shape, 255 for unknown.
        counted: bool, of the same shape.

    Returns:
        None if there is none.
    """
    counted = counted & (truth != IGNORE_INDEX)
    number = int(counted.sum())
    return 100 * int((label == truth)[counted].sum()) / number if number else None
