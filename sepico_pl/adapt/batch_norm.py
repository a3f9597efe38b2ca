"""Whose statistics batch norm uses: the batch's alone, or those of unlabelled target images."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from sepico_pl.types import InputError

BatchNormPolicy = Literal["running", "target"]

FEW_TARGET_VALUES = (
    "the target's images are too small for batch norm to take statistics of them; choose a larger "
    "data.target_size or data.judge_batch_size, or running statistics (adapt.batch_norm=running, "
    "of a checkpoint batch_norm=running)"
)
TOO_FEW = "Expected more than 1 value per channel"
"""What torch says where a batch has one value of each channel: its variance is not defined."""


def batch_norm_policy(name: str, key: str) -> BatchNormPolicy:
    """Return the policy called `name`, given as `key`.

    Raises:
        InputError: for an unknown name.
    """
    if name not in ("running", "target"):
        message = f"{key}={name} is unknown; choose running or target"
        raise InputError(message)
    return cast(BatchNormPolicy, name)


@contextmanager
def enough_values(remedy: str) -> Iterator[None]:
    """Say what to do where batch norm sees a single value per channel.

    Raises:
        InputError: with the remedy.
    """
    try:
        yield
    except ValueError as error:
        if not str(error).startswith(TOO_FEW):
            raise
        message = f"batch norm sees a single value of each channel: {remedy}"
        raise InputError(message) from error


def use_batch_statistics(network: nn.Module) -> None:
    """Let batch norm use the batch's statistics, with dropout and drop-path off at any depth."""
    network.eval()
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.training = True


class _BatchStatistics(nn.Module):
    """What `update_bn` may call `train()` on without switching dropout on."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def train(self, mode: bool = True) -> "_BatchStatistics":
        if mode:
            use_batch_statistics(self.network)
        else:
            self.network.eval()
        return self

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.network(image)
        return result


@contextmanager
def target_statistics(network: nn.Module, images: Iterable[Tensor]) -> Iterator[None]:
    """Give batch norm the statistics of `images` (AdaBN, Li et al. 2016) for a while.

    Args:
        network: takes (B, 3, H, W).
        images: batches (B, 3, H, W) of unlabelled target images on the network's device; the
            running statistics become the average over these batches.

    Raises:
        InputError: for images too small for it.
    """
    own = {
        name: buffer.clone()
        for name, buffer in network.named_buffers()
        if name.rpartition(".")[2] in {"running_mean", "running_var", "num_batches_tracked"}
    }
    training = network.training
    wrapped = _BatchStatistics(network)
    wrapped.training = False
    try:
        with enough_values(FEW_TARGET_VALUES):
            update_bn(images, wrapped)
        yield
    finally:
        buffers = dict(network.named_buffers())
        with torch.no_grad():
            for name, value in own.items():
                buffers[name].copy_(value)
        network.train(training)
