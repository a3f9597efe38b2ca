"""Decode heads (stages to logits) and the projection head (stages to unit embeddings).

Shapes: B batch, C classes, D embedding width; stages are (B, c_i, h_i, w_i), finest first.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.decoders.fpn.decoder import FPNDecoder
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from sepico_pl.model.encoder import Norm, group_norm
from sepico_pl.types import InputError

PYRAMID_STAGES = 4


def resize(images: Tensor, size: Sequence[int]) -> Tensor:
    """Resize (B, K, H, W) bilinearly to `size`."""
    return F.interpolate(images, size=tuple(size), mode="bilinear", align_corners=False)


def convolution(width_in: int, width_out: int, kernel: int, norm: Norm) -> nn.Module:
    """Return convolution, norm and ReLU."""
    layer = nn.BatchNorm2d if norm == "batch" else group_norm
    block: nn.Module = Conv2dNormActivation(
        width_in, width_out, kernel_size=kernel, norm_layer=layer
    )
    return block


class LightHead(nn.Module):
    """Project all stages to one width, sum them at the finest, smooth and classify.

    The all-MLP idea of SegFormer (Xie et al. 2021) with a sum in place of the concatenation. Works
    at any image size.

    Args:
        channels: c_i of the encoder's stages.
        num_classes: C.
        width: common width of the stages.
        dropout: probability before the classifier.
        norm: "batch" or "group".
    """

    divisor = 1

    def __init__(
        self, *, channels: Sequence[int], num_classes: int, width: int, dropout: float, norm: Norm
    ) -> None:
        """Build the head."""
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(stage, width, 1) for stage in channels)
        self.smooth = convolution(width, width, 3, norm)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width, num_classes, 1)

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Return logits (B, C, h, w) at the finest stage."""
        size = stages[0].shape[-2:]
        merged = torch.stack(
            [
                resize(lateral(stage), size)
                for lateral, stage in zip(self.laterals, stages, strict=True)
            ]
        ).sum(dim=0)
        logits: Tensor = self.classifier(self.dropout(self.smooth(merged)))
        return logits


class FPNHead(nn.Module):
    """The feature pyramid decoder of segmentation-models-pytorch with a 1x1 classifier.

    Args:
        channels: c_i of the encoder's stages.
        num_classes: C.
        width: of the pyramid, a multiple of 64; half of it in the segmentation blocks.
        dropout: probability before the classifier.
    """

    divisor = 32

    def __init__(
        self, *, channels: Sequence[int], num_classes: int, width: int, dropout: float
    ) -> None:
        """Build the head.

        Raises:
            InputError: for a width that its group norms cannot divide.
        """
        super().__init__()
        if width <= 0 or width % 64:
            message = f"head.decode.width={width} must be a positive multiple of 64 for this head"
            raise InputError(message)
        self.decoder = FPNDecoder(
            encoder_channels=list(channels[-PYRAMID_STAGES:]),
            encoder_depth=PYRAMID_STAGES,
            pyramid_channels=width,
            segmentation_channels=width // 2,
            dropout=dropout,
        )
        self.classifier = nn.Conv2d(self.decoder.out_channels, num_classes, 1)

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Return logits (B, C, h, w) at the finest of the last four stages."""
        logits: Tensor = self.classifier(self.decoder(list(stages)))
        return logits


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
