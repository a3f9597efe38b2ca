"""The teacher: a slow average of the student that labels the target and embeds the source."""

import copy
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from sepico_pl.adapt.batch_norm import use_batch_statistics
from sepico_pl.types import InputError


def ema_decay(step: int, limit: float) -> float:
    """Return the share the teacher keeps of itself at `step`: min(1 - 1/(step + 1), limit).

    0 at step 0, where the teacher becomes the student (Tarvainen and Valpola 2017).
    """
    return min(1 - 1 / (step + 1), limit)


class EmbeddingNetwork(Protocol):
    """Logits (B, C, H, W) of images, and unit embeddings (B, D, h, w) of stages."""

    def __call__(self, image: Tensor) -> Tensor:
        """Return logits (B, C, H, W) of images (B, 3, H, W)."""
        ...

    def encode(self, image: Tensor) -> list[Tensor]:
        """Return the encoder's stages of images (B, 3, H, W)."""
        ...

    def embed(self, stages: list[Tensor]) -> list[Tensor]:
        """Return one embedding map per projected input."""
        ...


class Teacher(nn.Module):
    """An exponential moving average of the student's parameters, never trained.

    Parameters only: batch-norm buffers come from the teacher's own forward passes. In training its
    batch norm uses batch statistics while dropout and drop-path are off at any depth.

    Args:
        student: the network to follow; copied.
        decay: the limit of `ema_decay`, in [0, 1).
    """

    def __init__(self, student: nn.Module, decay: float) -> None:
        """Copy the student.

        Raises:
            InputError: for a decay outside [0, 1).
        """
        super().__init__()
        if not 0 <= decay < 1:
            message = f"adapt.teacher_decay={decay} must be at least 0 and less than 1"
            raise InputError(message)
        self.network = copy.deepcopy(student).requires_grad_(False)
        self.decay = decay
        self.train()

    @torch.no_grad()
    def follow(self, student: nn.Module, step: int) -> None:
        """Move towards the student: theta' <- a theta' + (1 - a) theta, a = `ema_decay`."""
        weight = 1 - ema_decay(step, self.decay)
        own: list[Tensor] = list(self.network.parameters())
        theirs: list[Tensor] = list(student.parameters())
        torch._foreach_lerp_(own, theirs, weight)

    def train(self, mode: bool = True) -> "Teacher":
        """Switch to batch statistics without dropout (`mode`), or to plain evaluation."""
        self.training = mode
        if mode:
            use_batch_statistics(self.network)
        else:
            self.network.eval()
        return self

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Return class probabilities (B, C, H, W), at least float32, of images (B, 3, H, W)."""
        logits: Tensor = self.network(image)
        return logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(dim=1)

    @torch.no_grad()
    def embed(self, image: Tensor) -> list[Tensor]:
        """Return unit embeddings (B, D, h, w) of images (B, 3, H, W), one per projected input."""
        network = cast(EmbeddingNetwork, self.network)
        return network.embed(network.encode(image))
