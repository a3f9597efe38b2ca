"""A copy of a task that goes through a step beforehand, and leaves no trace of it."""

import copy
from typing import Any, Self

import pytorch_lightning as pl


class Rehearsable(pl.LightningModule):
    """A Lightning module of which a copy can compute a step's losses, and change nothing.

    Attributes:
        rehearsed_step: the step that this copy goes through; None for the module that is trained.
    """

    rehearsed_step: int | None = None

    def rehearsal(self) -> Self:
        """Return a copy at this step, with networks, statistics and dice of its own.

        It has no trainer and logs nothing; torch's generators are everybody's.
        """
        twin = copy.deepcopy(self)
        twin.rehearsed_step = self.global_step
        return twin

    @property
    def global_step(self) -> int:
        """The optimizer steps so far; 0 without a trainer, the rehearsed step in a rehearsal."""
        return super().global_step if self.rehearsed_step is None else self.rehearsed_step

    def log(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Log as Lightning does; nothing in a rehearsal."""
        if self.rehearsed_step is None:
            super().log(*args, **kwargs)
