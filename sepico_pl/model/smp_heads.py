"""Decoders of segmentation-models-pytorch as decode heads, each with dropout and a 1x1 classifier.

Shapes: B batch, C classes; stages are (B, c_i, h_i, w_i), finest first. All use the last four.
"""

from collections.abc import Sequence

from segmentation_models_pytorch.decoders.fpn.decoder import FPNDecoder
from segmentation_models_pytorch.decoders.segformer.decoder import SegformerDecoder
from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder
from torch import Tensor, nn

from sepico_pl.model.encoder import Norm, replace_batch_norm
from sepico_pl.model.heads import PYRAMID_STAGES
from sepico_pl.types import InputError


class FPNHead(nn.Module):
    """The feature pyramid decoder (Kirillov et al., CVPR 2019); its norms are group norms.

    Args:
        channels: c_i of the encoder's stages.
        num_classes: C.
        width: of the pyramid, a multiple of 64; half of it in the segmentation blocks.
        dropout: probability before the classifier.
    """

    halves = True

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
        logits: Tensor = self.classifier(self.decoder(list(stages[-PYRAMID_STAGES:])))
        return logits


class _DecoderHead(nn.Module):
    """A decoder that expects the image and a stage at half its size before the four stages."""

    halves = False

    def __init__(
        self, decoder: nn.Module, num_classes: int, width: int, dropout: float, norm: Norm
    ) -> None:
        super().__init__()
        if norm == "group":
            replace_batch_norm(decoder)
        self.decoder = decoder
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width, num_classes, 1)

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Return logits (B, C, h, w) at the finest of the last four stages."""
        pyramid = stages[-PYRAMID_STAGES:]
        height, width = pyramid[0].shape[-2:]
        image, half = (
            pyramid[0].new_empty((1, 0, scale * height, scale * width)) for scale in (4, 2)
        )
        logits: Tensor = self.classifier(self.dropout(self.decoder([image, half, *pyramid])))
        return logits


class SegFormerHead(_DecoderHead):
    """The all-MLP head of SegFormer (Xie et al., NeurIPS 2021).

    Args:
        channels: c_i of the encoder's stages.
        num_classes: C.
        width: of each embedded stage and of their fusion.
        dropout: probability before the classifier.
        norm: "batch" or "group".
    """

    def __init__(
        self, *, channels: Sequence[int], num_classes: int, width: int, dropout: float, norm: Norm
    ) -> None:
        """Build the head."""
        decoder = SegformerDecoder(
            encoder_channels=[3, 0, *channels[-PYRAMID_STAGES:]], segmentation_channels=width
        )
        super().__init__(decoder, num_classes, width, dropout, norm)


class UPerNetHead(_DecoderHead):
    """UPerNet (Xiao et al., ECCV 2018): pooled context of the last stage, and a feature pyramid.

    Args:
        channels: c_i of the encoder's stages.
        num_classes: C.
        width: of the pyramid.
        dropout: probability before the classifier.
        norm: "batch" or "group".
    """

    def __init__(
        self, *, channels: Sequence[int], num_classes: int, width: int, dropout: float, norm: Norm
    ) -> None:
        """Build the head."""
        decoder = UPerNetDecoder(
            encoder_channels=[3, 0, *channels[-PYRAMID_STAGES:]], decoder_channels=width
        )
        super().__init__(decoder, num_classes, width, dropout, norm)
