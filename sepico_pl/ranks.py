"""What the processes ("ranks") of one training run agree on; with one process, nothing changes.

Every rank must make the same calls in the same order.
"""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor


def number_of_ranks() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_over_ranks(values: Tensor) -> Tensor:
    """Add up a tensor over all ranks, without gradients; the tensor itself with one process."""
    if number_of_ranks() > 1:
        values = values.detach().clone()
        dist.all_reduce(values)
    return values


def shared_sum(values: Tensor) -> Tensor:
    """Add up a tensor over all ranks, so that averaged gradients are those of the sum.

    Each rank's gradient reaches its own share alone, times the number of ranks: the average over
    ranks that data-parallel training takes is then the gradient that one process would have.
    """
    ranks = number_of_ranks()
    if ranks == 1:
        return values
    return sum_over_ranks(values) + ranks * (values - values.detach())


def norm_over_ranks(gradients: Sequence[Tensor]) -> Tensor:
    """Return the norm of what `gradients` would be in one process with the whole batch, a scalar.

    Each rank holds those of its share of a `shared_sum`, which are as many times too large as
    there are ranks.
    """
    squares = torch.stack([gradient.double().square().sum() for gradient in gradients]).sum()
    return sum_over_ranks(squares).sqrt() / number_of_ranks()


def count_over_ranks(count: int, device: torch.device) -> int:
    """Add up a count over all ranks."""
    if number_of_ranks() == 1:
        return count
    return int(sum_over_ranks(torch.tensor(count, device=device)))


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether `flag` is set on any rank."""
    return bool(count_over_ranks(int(flag), device))
