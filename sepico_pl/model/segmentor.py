"""Encoder, decode head and projection head as one network.

Shapes: B batch, C classes, H, W image size, D embedding width, h, w embedding size.
"""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from sepico_pl.model.encoder import Encoder
from sepico_pl.model.heads import PYRAMID_STAGES, resize
from sepico_pl.model.projection import ProjectionHead
from sepico_pl.types import InputError


class Segmentor(nn.Module):
    """A segmentation network whose pixels can also be embedded.

    Args:
        encoder: images (B, 3, H, W) to stages, finest first.
        head: stages to logits at their resolution; `head.halves` says that each of the last four
            stages must have exactly half the size of the one before.
        projection: stages to unit embeddings; None where nothing is contrasted.

    Attributes:
        divisor: what image sides are padded to a multiple of.
    """

    def __init__(
        self, encoder: Encoder, head: nn.Module, projection: ProjectionHead | None
    ) -> None:
        """Join the parts.

        Raises:
            InputError: if encoder and head do not fit each other.
        """
        super().__init__()
        self.divisor = encoder.divisor
        if head.halves:
            check_halving(encoder.strides, head)
            self.divisor = math.lcm(encoder.divisor, int(encoder.strides[-1]))
        self.encoder = encoder
        self.head = head
        self.projection = projection

    def encode(self, image: Tensor) -> list[Tensor]:
        """Return the stages of images (B, 3, H, W), zero-padded where the head needs it."""
        bottom, right = (-side % self.divisor for side in image.shape[-2:])
        stages: list[Tensor] = self.encoder(F.pad(image, (0, right, 0, bottom)))
        return stages

    def decode(self, stages: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Return logits (B, C, H, W) for images of `size` (H, W)."""
        return self.enlarge(self.head(stages), size)

    def enlarge(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """Bring the head's logits (B, C, h, w) to `size` (H, W), less the padding: (B, C, H, W)."""
        height, width = size
        bottom, right = (-side % self.divisor for side in size)
        logits = resize(logits, (height + bottom, width + right))
        # Negative padding crops. torch.export takes it at any size, but a slice at some alone.
        return logits if self.divisor == 1 else F.pad(logits, (0, -right, 0, -bottom))

    def embed(self, stages: Sequence[Tensor]) -> list[Tensor]:
        """Return unit embeddings (B, D, h, w), one map per projected input.

        Raises:
            RuntimeError: if the network was built without a projection head.
        """
        if self.projection is None:
            message = "this network has no projection head"
            raise RuntimeError(message)
        embeddings: list[Tensor] = self.projection(stages)
        return embeddings

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (B, C, H, W) of images (B, 3, H, W)."""
        return self.decode(self.encode(image), image.shape[-2:])


def check_halving(strides: Sequence[float], head: nn.Module) -> None:
    """Refuse an encoder whose last four stages do not halve in size one after the other.

    Raises:
        InputError: with the strides, and what goes together.
    """
    pyramid = strides[-PYRAMID_STAGES:]
    halving = [pyramid[0] * 2**index for index in range(PYRAMID_STAGES)]
    if list(pyramid) != halving:
        met = ", ".join(f"{stride:g}" for stride in pyramid)
        message = (
            f"{type(head).__name__} needs four stages that halve one after the other, and this "
            f"backbone has strides {met}: choose head=deeplabv2, daformer, segformer, upernet or "
            "light for it, or another backbone (resnet18, convnext, mit_b*, dinov2_small)"
        )
        raise InputError(message)
