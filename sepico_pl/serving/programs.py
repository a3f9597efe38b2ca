"""A model as a program that needs none of this code: torch.export and ONNX, of any batch and size.

Shapes: B batch, C classes, H, W image size.
"""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from sepico_pl.serving.model import SegmentationModel
from sepico_pl.types import InputError

LEAST_SIDE = 64
"""Least height and width: the coarsest stage must have more than one pixel each way."""
EXAMPLE_SHAPE = (2, 3, 96, 160)
CHECKED_SHAPES = ((1, 3, 64, 128), (2, 3, 97, 131), (3, 3, 200, 72))
TOLERANCE = 1e-4

Program = Callable[[Tensor], Tensor]


def traced(model: SegmentationModel) -> ExportedProgram:
    """Return the model as a program (B, 3, H, W) -> (B, C, H, W) of any B, H and W.

    Raises:
        InputError: if the network depends on the size it was traced at.
    """
    sizes = {0: Dim.DYNAMIC(min=1), 2: Dim.DYNAMIC(min=LEAST_SIDE), 3: Dim.DYNAMIC(min=LEAST_SIDE)}
    try:
        with torch.no_grad():
            return torch.export.export(
                model, (torch.rand(EXAMPLE_SHAPE),), dynamic_shapes=(sizes,)
            )
    except Exception as error:
        raise _refusal("torch.export", error) from error


def _refusal(form: str, error: Exception) -> InputError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return InputError(
        f"formats: this network cannot be exported by {form} for images of any size ({reason}); "
        "leave this format out (docs/using.md lists what works)"
    )
