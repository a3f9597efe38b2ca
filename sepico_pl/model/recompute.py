"""Activation checkpointing (Chen et al. 2016): less memory for one more forward pass."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recompute_blocks(network: nn.Module) -> None:
    """Let each block of a network keep its input alone, and run again in the backward pass.

    The numbers are the same: dropout falls alike, and batch norm's running statistics see each
    batch once.
    """
    for block in blocks(network):
        block.forward = partial(_recomputed, block)


def blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Yield what lies in sequences and has parts of its own: the outermost ones."""
    in_sequence = isinstance(module, nn.Sequential | nn.ModuleList)
    for child in module.children():
        if not in_sequence:
            yield from blocks(child)
        elif any(True for _ in child.children()):
            yield child


def _recomputed(block: nn.Module, *inputs: object) -> object:
    forward = partial(type(block).forward, block)
    if not torch.is_grad_enabled():
        return forward(*inputs)
    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=partial(_contexts, block))


def _contexts(
    block: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _UnmovedStatistics(block)


class _UnmovedStatistics(AbstractContextManager[None]):
    """Lets batch norm leave its running statistics alone for a while.

    Entered anew with each backward pass through a graph that is kept.
    """

    def __init__(self, block: nn.Module) -> None:
        self.norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]

    def __enter__(self) -> None:
        self.before = [(norm.momentum, norm.num_batches_tracked) for norm in self.norms]
        for norm in self.norms:
            norm.momentum = 0.0
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked = norm.num_batches_tracked.clone()

    def __exit__(self, *_: object) -> None:
        for norm, (momentum, tracked) in zip(self.norms, self.before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, tracked
