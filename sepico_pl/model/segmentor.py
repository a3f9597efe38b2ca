"""Encoder, decode head and projection head as one network.

Shapes: B batch, C classes, H, W image size, D embedding width, h, w embedding size.
"""

from collections.abc import Sequence
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from sepico_pl.model.heads import ProjectionHead, resize


class Segmentor(nn.Module):
    """A segmentation network whose pixels can also be embedded.

    Args:
        encoder: images (B, 3, H, W) to stages, finest first.
        head: stages to logits at their resolution; `head.divisor` is what image sides must be a
            multiple of.
        projection: stages to unit embeddings; None where nothing is contrasted.
    """

    def __init__(
        self, encoder: nn.Module, head: nn.Module, projection: ProjectionHead | None
    ) -> None:
        """Join the parts."""
        super().__init__()
        self.divisor = cast(int, head.divisor)
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
        height, width = size
        logits = resize(
            self.head(stages), (height + -height % self.divisor, width + -width % self.divisor)
        )
        return logits[..., :height, :width]

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
