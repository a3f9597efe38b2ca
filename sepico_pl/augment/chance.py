"""Every random decision of a training step, in one place that a test can replace.

Drawn on the host from (seed, rank, step), so that a resumed run decides as the uninterrupted one
and no decision waits for the device.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class JitterFactors(NamedTuple):
    """Strengths of one colour jitter, and the order of its four changes, shared by the batch.

    strengths (4, B): brightness is added to an image in [0, 1], contrast and saturation are
    factors, hue is in radians; order: a permutation of these four.
    """

    strengths: Tensor
    order: tuple[int, ...]


class Chance:
    """The dice of the training step.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        """Start at step 0 of rank 0."""
        self.seed = seed
        self.start(step=0, rank=0)

    def start(self, step: int, rank: int) -> None:
        """Begin a step: what follows depends on (seed, rank, step) and the order of calls."""
        self.dice = np.random.default_rng([self.seed, rank, step])

    def happens(self, probability: float) -> bool:
        """Decide once, for the whole batch."""
        return bool(self.dice.random() < probability)

    def crop_corners(self, images: int, tries: int, room: tuple[int, int]) -> Tensor:
        """Draw candidate crops: their top left corners (images, tries, 2) int64.

        Args:
            images: B.
            tries: candidates per image.
            room: rows and columns that a crop can move by, each >= 0.
        """
        corners = self.dice.integers(0, np.asarray(room) + 1, (images, tries, 2))
        return torch.from_numpy(corners)

    def pasted_classes(self, present: Tensor) -> Tensor:
        """Choose half of the classes `present` (K,), rounded up: those pasted into one image."""
        chosen = self.dice.permutation(len(present))[: (len(present) + 1) // 2]
        return present[torch.from_numpy(chosen).to(present.device)]

    def jitter_factors(self, images: int, strength: float) -> JitterFactors:
        """Draw the strengths of a colour jitter, each uniform within `strength` of no change."""
        drawn = torch.from_numpy(self.dice.uniform(-strength, strength, (4, images)))
        scale = torch.tensor([1.0, 1.0, 1.0, 2 * torch.pi])[:, None]
        neutral = torch.tensor([0.0, 1.0, 1.0, 0.0])[:, None]
        order = tuple(self.dice.permutation(4).tolist())
        return JitterFactors(neutral + scale * drawn.float(), order)

    def blur_sigma(self, low: float, high: float) -> float:
        """Draw the standard deviation of a blur in pixels, shared by the batch."""
        return float(self.dice.uniform(low, high))
