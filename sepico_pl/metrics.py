"""Intersection over union from one confusion matrix over a whole data set.

Shapes: C classes, H, W label size.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from sepico_pl.types import IGNORE_INDEX


def confusion_matrix(num_classes: int) -> MulticlassConfusionMatrix:
    """Return the running matrix (C, C), rows the truth, columns the prediction, without 255."""
    return MulticlassConfusionMatrix(num_classes, ignore_index=IGNORE_INDEX, validate_args=False)


def iou_per_class(matrix: Tensor) -> Tensor:
    """Return the IoU of each class in [0, 1] from a confusion matrix (C, C): (C,) float64.

    NaN for a class that occurs neither in the truth nor in the prediction.
    """
    matrix = matrix.double()
    both = matrix.diagonal()
    return both / (matrix.sum(dim=0) + matrix.sum(dim=1) - both)


def mean_iou(matrix: Tensor, classes: Sequence[int] | None = None) -> float:
    """Return the mean IoU in [0, 1] over those of `classes` that occur; None for all classes.

    The matrix is over all classes: a pixel of a class within that is predicted as one without
    counts as missed.
    """
    per_class = iou_per_class(matrix)
    return float(torch.nanmean(per_class if classes is None else per_class[list(classes)]))
