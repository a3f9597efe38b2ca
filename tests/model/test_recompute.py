"""Activation checkpointing: less is kept, and nothing else differs."""

import copy

import pytest
import torch
from measuring import LiveBytes
from torch import nn

from sepico_pl.model.encoder import Encoder, SmpEncoder
from sepico_pl.model.recompute import blocks, recompute_blocks
from sepico_pl.model.resnet_v1c import ResNetV1c


def small_v1c() -> Encoder:
    return ResNetV1c(depth=50, width=8, stem_width=8, weights=None, norm="batch")


def smp(name: str) -> Encoder:
    return SmpEncoder(name=name, weights=None, norm="batch", output_stride=32)


def trained_once(encoder: Encoder) -> tuple[list[torch.Tensor], list[torch.Tensor], int]:
    """Return gradients, buffers, and the bytes that a step holds at most."""
    image = torch.randn(2, 3, 128, 192, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(2)
    with LiveBytes() as live:
        sum(stage.square().mean() for stage in encoder(image)).backward()
    gradients = [p.grad for p in encoder.parameters() if p.grad is not None]
    return gradients, [buffer.clone() for buffer in encoder.buffers()], live.peak


@pytest.mark.parametrize(
    ("encoder", "number"),
    [(small_v1c, 16), (lambda: smp("mit_b0"), 8), (lambda: smp("tu-convnext_atto"), 12)],
)
def test_the_numbers_are_the_same_and_less_is_kept(encoder, number: int) -> None:
    torch.manual_seed(0)
    plain = encoder().train()
    thrifty = copy.deepcopy(plain)
    recompute_blocks(thrifty)
    assert len(list(blocks(thrifty))) == number
    for _ in range(2):
        expected, ours = trained_once(plain), trained_once(thrifty)
        for one, other in zip(expected[:2], ours[:2], strict=True):
            assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))
        assert ours[2] < 0.8 * expected[2], (ours[2], expected[2])


def test_statistics_come_back_after_a_pass_that_breaks_off() -> None:
    class Fragile(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(3)
            self.passes = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.passes += 1
            if self.passes == 2:
                raise RuntimeError("no memory")
            return self.norm(x)

    network = nn.Sequential(Fragile())
    recompute_blocks(network)
    loss = network(torch.randn(4, 3)).sum()
    after_forward = [buffer.clone() for buffer in network.buffers()]
    with pytest.raises(RuntimeError, match="no memory"):
        loss.backward()
    assert all(map(torch.equal, network.buffers(), after_forward))
    assert network[0].norm.momentum == 0.1


def test_batch_norm_over_ranks_is_recomputed_too() -> None:
    plain = small_v1c().train()
    thrifty = copy.deepcopy(plain)
    recompute_blocks(thrifty)
    thrifty = nn.SyncBatchNorm.convert_sync_batchnorm(thrifty)
    trained_once(plain)
    trained_once(thrifty)
    for one, other in zip(plain.buffers(), thrifty.buffers(), strict=True):
        torch.testing.assert_close(one, other)


def test_without_gradients_a_block_runs_as_it_is() -> None:
    plain = small_v1c().eval()
    thrifty = copy.deepcopy(plain)
    recompute_blocks(thrifty)
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert all(map(torch.equal, plain(image), thrifty(image)))


def test_a_kept_graph_is_recomputed_for_each_gradient_and_copies_by_themselves() -> None:
    plain = small_v1c().train()
    original = copy.deepcopy(plain)
    recompute_blocks(original)
    thrifty = copy.deepcopy(original)
    found = []
    for encoder in (plain, thrifty):
        loss = encoder(torch.ones(2, 3, 64, 64).cumsum(dim=3))[-1].square().mean()
        parameters = list(encoder.parameters())
        twice = [torch.autograd.grad(loss, parameters, retain_graph=True) for _ in range(2)]
        found.append([*twice[0], *twice[1], *encoder.buffers()])
    assert all(map(torch.equal, *found))
    assert all(buffer.sum() == 0 for n, buffer in original.named_buffers() if n.endswith("mean"))
