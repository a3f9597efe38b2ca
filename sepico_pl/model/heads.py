"""What decode heads share, and the light one: stages to logits.

Shapes: B batch, C classes; stages are (B, c_i, h_i, w_i), finest first.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from sepico_pl.model.encoder import Norm, group_norm

PYRAMID_STAGES = 4


def resize(images: Tensor, size: Sequence[int]) -> Tensor:
    """Resize (B, K, H, W) bilinearly to `size`."""
    return F.interpolate(images, size=tuple(size), mode="bilinear", align_corners=False)


def convolution(
    width_in: int, width_out: int, kernel: int, norm: Norm, *, dilation: int = 1, groups: int = 1
) -> nn.Module:
    """Return convolution (items 0), norm (1) and ReLU (2), keeping the size."""
    layer = nn.BatchNorm2d if norm == "batch" else group_norm
    block: nn.Module = Conv2dNormActivation(
        width_in, width_out, kernel, norm_layer=layer, dilation=dilation, groups=groups
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

    halves = False

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
