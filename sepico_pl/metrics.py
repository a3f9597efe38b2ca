"""Intersection over union from one confusion matrix over a whole data set.

Shapes: C classes, H, W label size.
"""

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


def mean_iou(matrix: Tensor) -> float:
    """Return the mean IoU in [0, 1] over the classes that occur."""
    return float(torch.nanmean(iou_per_class(matrix)))
