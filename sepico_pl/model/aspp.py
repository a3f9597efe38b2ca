"""The decode heads of the paper: DeepLab-v2's and DAFormer's.

Shapes: B batch, C classes; stages are (B, c_i, h_i, w_i), finest first.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sepico_pl.model.encoder import Norm
from sepico_pl.model.heads import PYRAMID_STAGES, convolution, resize


class DeepLabV2Head(nn.Module):
    """Atrous spatial pyramid pooling: parallel dilated 3x3 classifiers, summed.

    DeepLab-v2, Chen et al., TPAMI 2018.

    Args:
        channels: c_i of the encoder's stages; the last one is used.
        num_classes: C.
        dilations: of the classifiers.
    """

    halves = False

    def __init__(
        self, *, channels: Sequence[int], num_classes: int, dilations: Sequence[int]
    ) -> None:
        """Build the head; its weights start at a standard deviation of 0.01."""
        super().__init__()
        branches = [
            nn.Conv2d(channels[-1], num_classes, 3, padding=rate, dilation=rate)
            for rate in dilations
        ]
        for branch in branches:
            nn.init.normal_(branch.weight, std=0.01)
            nn.init.constant_(branch.bias, 0.0)  # type: ignore[arg-type]
        self.branches = nn.ModuleList(branches)

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Return logits (B, C, h, w) at the last stage."""
        return torch.stack([branch(stages[-1]) for branch in self.branches]).sum(dim=0)


class SeparableASPP(nn.Module):
    """Parallel dilated depthwise-separable convolutions, concatenated and fused by a 3x3.

    Args:
        width_in: channels that come in.
        width: channels of each branch and of the result.
        dilations: of the branches; 1 stands for a plain 1x1 convolution.
        norm: "batch" or "group".
    """

    def __init__(self, width_in: int, width: int, dilations: Sequence[int], norm: Norm) -> None:
        """Build the branches."""
        super().__init__()
        self.branches = nn.ModuleList(
            convolution(width_in, width, 1, norm)
            if rate == 1
            else nn.Sequential(
                convolution(width_in, width_in, 3, norm, dilation=rate, groups=width_in),
                convolution(width_in, width, 1, norm),
            )
            for rate in dilations
        )
        self.bottleneck = convolution(width * len(dilations), width, 3, norm)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, width, h, w) of (B, width_in, h, w)."""
        fused: Tensor = self.bottleneck(torch.cat([one(features) for one in self.branches], dim=1))
        return fused


class DAFormerHead(nn.Module):
    """Bring the last four stages to one width and the finest size, and fuse them with context.

    DAFormer, Hoyer et al., CVPR 2022.

    Args:
        channels: c_i of the encoder's stages.
        num_classes: C.
        width: of each embedded stage and of the fusion; 256 in the paper.
        dilations: of the fusion's branches.
        dropout: probability before the classifier.
        norm: "batch" or "group".
    """

    halves = False

    def __init__(
        self,
        *,
        channels: Sequence[int],
        num_classes: int,
        width: int,
        dilations: Sequence[int],
        dropout: float,
        norm: Norm,
    ) -> None:
        """Build the head."""
        super().__init__()
        pyramid = channels[-PYRAMID_STAGES:]
        self.classifier = nn.Conv2d(width, num_classes, 1)
        self.laterals = nn.ModuleList(nn.Conv2d(stage, width, 1) for stage in pyramid)
        self.fusion = SeparableASPP(width * len(pyramid), width, dilations, norm)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Return logits (B, C, h, w) at the finest of the last four stages."""
        pyramid = stages[-PYRAMID_STAGES:]
        size = pyramid[0].shape[-2:]
        embedded = [
            resize(lateral(stage), size)
            for lateral, stage in zip(self.laterals, pyramid, strict=True)
        ]
        fused = self.fusion(torch.cat(embedded, dim=1))
        logits: Tensor = self.classifier(self.dropout(fused))
        return logits
