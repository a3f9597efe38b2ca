"""The optimizer's parameter groups and its learning-rate schedule."""

from typing import Any

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR


def warmup_poly(
    step: int, warmup_steps: int, total_steps: int, power: float, start: float
) -> float:
    """Return the factor of the learning rate at `step`: linear warm-up times polynomial decay.

    The decay (1 - step / total)^power runs from the first step on; the warm-up multiplies it by a
    line from `start` at step 0 to 1 at `warmup_steps` (mmcv's poly policy).
    """
    decay: float = max(0.0, 1 - step / total_steps) ** power
    if step >= warmup_steps:
        return decay
    return decay * (1 - (1 - step / warmup_steps) * (1 - start))


class AdamWPoly:
    """AdamW with faster heads, linear warm-up and polynomial decay.

    Args:
        learning_rate: of the encoder.
        head_factor: times that for the decode and projection heads.
        weight_decay: of all parameters.
        warmup_steps: length of the warm-up.
        warmup_start: its first factor.
        power: of the decay to 0 at the last step.
    """

    def __init__(
        self,
        *,
        learning_rate: float,
        head_factor: float,
        weight_decay: float,
        warmup_steps: int,
        warmup_start: float,
        power: float,
    ) -> None:
        """Remember the settings."""
        self.learning_rate = learning_rate
        self.head_factor = head_factor
        self.weight_decay = weight_decay
        self.warmup_steps = warmup_steps
        self.warmup_start = warmup_start
        self.power = power

    def __call__(self, student: nn.Module, total_steps: int) -> tuple[Optimizer, LambdaLR]:
        """Build the optimizer of a student with an `encoder`, and its schedule."""
        named = list(student.named_parameters())
        encoder = [parameter for name, parameter in named if name.startswith("encoder.")]
        heads = [parameter for name, parameter in named if not name.startswith("encoder.")]
        head_rate = self.learning_rate * self.head_factor
        groups: list[dict[str, Any]] = [{"params": encoder}, {"params": heads, "lr": head_rate}]
        optimizer = AdamW(groups, lr=self.learning_rate, weight_decay=self.weight_decay)
        return optimizer, LambdaLR(optimizer, lambda step: self.factor(step, total_steps))

    def factor(self, step: int, total_steps: int) -> float:
        """Return the factor of every learning rate at `step`."""
        return warmup_poly(step, self.warmup_steps, total_steps, self.power, self.warmup_start)
