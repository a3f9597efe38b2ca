"""Every random decision of a training step, in one place that a test can replace.

Drawn on the host from (seed, step), so that a resumed run decides as the uninterrupted one and no
decision waits for the device. What concerns one image is drawn for the images of all ranks, of
which each takes its own: ranks never disagree, and two decide as one with the whole batch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

DECISIONS, DROPOUT, APART = 0, 1, 2


class JitterFactors(NamedTuple):
    """Strengths of one colour jitter, and the order of its four changes, shared by the batch.

    strengths (4, B): brightness is added to an image in [0, 1], contrast and saturation are
    factors, hue is in radians; order: a permutation of these four.
    """

    strengths: Tensor
    order: tuple[int, ...]


def derived_seed(*numbers: int) -> int:
    """Return a seed of 64 bits that depends on all `numbers`, each >= 0."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


class Chance:
    """The dice of the training step.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        """Start at step 0, with one rank."""
        self.seed = seed
        self._restart(step=0, rank=0, ranks=1)

    def start(self, step: int, *, rank: int, ranks: int) -> None:
        """Begin a step: what follows depends on (seed, step) and the order of calls.

        So do torch's own generators, for dropout and drop-path, on each rank its own way.
        """
        self._restart(step, rank, ranks)
        torch.manual_seed(derived_seed(self.seed, DROPOUT, step, rank))

    @contextmanager
    def apart(self, device: torch.device) -> Iterator["Chance"]:
        """Decide about an addition to the step, and leave every other decision as it is.

        Yields another random generator, which depends on (seed, step) alone. While it is in use,
        torch's generators of the host and of a CUDA `device` are others too.
        """
        other = Chance(derived_seed(self.seed, APART))
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            other.start(self.step, rank=self.rank, ranks=self.ranks)
            yield other

    def _restart(self, step: int, rank: int, ranks: int) -> None:
        self.dice = np.random.default_rng([self.seed, DECISIONS, step])
        self.step, self.rank, self.ranks = step, rank, ranks

    def _own(self, images: int) -> slice:
        """Return where this rank's `images` lie among those of all ranks."""
        return slice(self.rank * images, (self.rank + 1) * images)

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
        limits = np.asarray(room) + 1
        corners = self.dice.integers(0, limits, (images * self.ranks, tries, 2))
        return torch.from_numpy(corners[self._own(images)])

    def pasted_classes(self, present: Tensor, images: int) -> list[Tensor]:
        """Choose half of the classes `present` (K,), rounded up, to paste into each of B images.

        Returns:
            Ids ((K + 1) // 2,) for each image, on the host.
        """
        half = (len(present) + 1) // 2
        orders = [self.dice.permutation(len(present)) for _ in range(images * self.ranks)]
        return [present[torch.from_numpy(order[:half])] for order in orders[self._own(images)]]

    def jitter_factors(self, images: int, strength: float) -> JitterFactors:
        """Draw the strengths of a colour jitter, each uniform within `strength` of no change."""
        drawn = self.dice.uniform(-strength, strength, (4, images * self.ranks))
        own = torch.from_numpy(drawn[:, self._own(images)])
        scale = torch.tensor([1.0, 1.0, 1.0, 2 * torch.pi])[:, None]
        neutral = torch.tensor([0.0, 1.0, 1.0, 0.0])[:, None]
        order = tuple(self.dice.permutation(4).tolist())
        return JitterFactors(neutral + scale * own.float(), order)

    def blur_sigma(self, low: float, high: float) -> float:
        """Draw the standard deviation of a blur in pixels, shared by the batch."""
        return float(self.dice.uniform(low, high))

    def block_numbers(self, images: int, rows: int, columns: int) -> Tensor:
        """Draw a number for each block of B images, uniform in (0, 1]: (images, rows, columns)."""
        drawn = 1 - self.dice.random((images * self.ranks, rows, columns))
        return torch.from_numpy(drawn[self._own(images)])
