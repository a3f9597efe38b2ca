"""The projection head: stages to unit embeddings.

Shapes: B batch, D embedding width; stages are (B, c_i, h_i, w_i), finest first.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepico_pl.model.encoder import Norm
from sepico_pl.model.heads import PYRAMID_STAGES, convolution, resize
from sepico_pl.types import InputError

ProjectionInput = Literal["last", "fused", "layerwise"]


class ProjectionHead(nn.Module):
    """Embed pixels on the unit sphere: `depth` 1x1 convolutions, each with norm and ReLU.

    Args:
        channels: c_i of the encoder's stages.
        width: D.
        depth: number of convolutions, >= 0 (0: the stages themselves, whose own width is D). All
            but the last have the stage's width ("fused": the stages' mean width, as the official
            1024 -> 256 -> 512).
        stages: "last", "fused" (the last four, resized to the finest and concatenated) or
            "layerwise" (each of the last four on its own).
        norm: "batch" or "group".

    Attributes:
        widths: D of each embedding map that `forward` returns.
    """

    def __init__(
        self,
        *,
        channels: Sequence[int],
        width: int,
        depth: int,
        stages: ProjectionInput,
        norm: Norm,
    ) -> None:
        """Build one branch per embedding map."""
        super().__init__()
        if stages not in ("last", "fused", "layerwise"):
            message = f"head.projection.stages={stages} is unknown; choose last, fused or layerwise"
            raise InputError(message)
        self.stages = stages
        pyramid = list(channels[-PYRAMID_STAGES:])
        if stages == "last":
            plans = [(pyramid[-1], pyramid[-1])]
        elif stages == "fused":
            plans = [(sum(pyramid), sum(pyramid) // len(pyramid))]
        else:
            plans = [(stage, stage) for stage in pyramid]
        self.widths = [width if depth else first for first, _ in plans]
        self.branches = nn.ModuleList(
            self._branch([first, *[hidden] * (depth - 1), *[width] * min(depth, 1)], norm)
            for first, hidden in plans
        )

    @staticmethod
    def _branch(widths: Sequence[int], norm: Norm) -> nn.Sequential:
        pairs = pairwise(widths)
        return nn.Sequential(*(convolution(before, after, 1, norm) for before, after in pairs))

    def forward(self, stages: Sequence[Tensor]) -> list[Tensor]:
        """Return unit embeddings (B, D, h, w), one map per branch."""
        pyramid = stages[-PYRAMID_STAGES:]
        if self.stages == "last":
            inputs = [pyramid[-1]]
        elif self.stages == "fused":
            size = pyramid[0].shape[-2:]
            inputs = [torch.cat([resize(stage, size) for stage in pyramid], dim=1)]
        else:
            inputs = list(pyramid)
        return [
            F.normalize(branch(stage), dim=1)
            for branch, stage in zip(self.branches, inputs, strict=True)
        ]
