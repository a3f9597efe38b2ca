"""The optimizer's parameter groups and its learning-rate schedule."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal, NamedTuple

from torch import Tensor, nn
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


PRETRAINED = "encoder.network."


def undecayed(student: nn.Module) -> set[str]:
    """Name the student's parameters without weight decay.

    In the encoder: those of layer norms, as the official code has it for the Mix Transformer, and
    the tokens and position embeddings that a vision transformer names itself. Batch norms decay.
    """
    names = set()
    for prefix, module in student.named_modules():
        if f"{prefix}.".startswith(PRETRAINED):
            own = {"weight", "bias"} if isinstance(module, nn.LayerNorm) else _named_by(module)
            names |= {f"{prefix}.{name}" for name in own}
    return names


def _named_by(module: nn.Module) -> set[str]:
    """Ask a vision transformer, by timm's convention."""
    ask = getattr(module, "no_weight_decay", None)
    return set(ask()) if callable(ask) else set()


class AdamWPoly:
    """AdamW with faster heads, linear warm-up and polynomial decay.

    Args:
        learning_rate: of the encoder's network.
        head_factor: times that for everything else: decode and projection head.
        weight_decay: of all parameters but those of `undecayed`.
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
        without = undecayed(student)
        members: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
        for name, parameter in student.named_parameters():
            factor = 1.0 if name.startswith(PRETRAINED) else self.head_factor
            decay = 0.0 if name in without else self.weight_decay
            members[self.learning_rate * factor, decay].append(parameter)
        groups = [
            {"params": parameters, "lr": rate, "weight_decay": decay}
            for (rate, decay), parameters in members.items()
        ]
        optimizer = AdamW(groups, fused=True)
        return optimizer, LambdaLR(optimizer, lambda step: self.factor(step, total_steps))

    def factor(self, step: int, total_steps: int) -> float:
        """Return the factor of every learning rate at `step`."""
        return warmup_poly(step, self.warmup_steps, total_steps, self.power, self.warmup_start)


class GradientClip(NamedTuple):
    """A bound of gradients.

    Attributes:
        bound: of the norm of all of them together, or of the size of each value.
        of: which of the two.
    """

    bound: float
    of: Literal["norm", "value"]

    def __call__(self, parameters: Iterable[Tensor], scale: float) -> None:
        """Clip the gradients of parameters, in place.

        Args:
            parameters: those without a gradient are left out.
            scale: what the gradients are still multiplied by.
        """
        if self.of == "norm":
            nn.utils.clip_grad_norm_(parameters, self.bound * scale)
        else:
            nn.utils.clip_grad_value_(parameters, self.bound * scale)
