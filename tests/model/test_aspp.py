from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from golden_fill import load, tensor
from torch import nn

from sepico_pl.model.aspp import DAFormerHead, DeepLabV2Head
from sepico_pl.model.segmentor import Segmentor
from sepico_pl.official import official_name

CHANNELS = (64, 128, 320, 512)
SIZES = ((16, 24), (8, 12), (4, 6), (2, 3))


class Stages(nn.Module):
    """An encoder without weights, to name a head's parameters."""

    divisor = 1


def filled(head: nn.Module, fill: Callable) -> nn.Module:
    network = Segmentor(Stages(), head, None)
    state = network.state_dict()
    for name, value in state.items():
        state[name] = tensor(fill, official_name(name, network), value.shape)
    network.load_state_dict(state)
    return head


def daformer() -> DAFormerHead:
    return DAFormerHead(
        channels=CHANNELS,
        num_classes=19,
        width=256,
        dilations=(1, 6, 12, 18),
        dropout=0.1,
        norm="batch",
    )


def error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def test_deeplabv2_logits_are_the_official_ones(shared: Path, golden) -> None:
    fill = load(shared / "golden" / "fill.py").fill
    head = DeepLabV2Head(channels=(2048,), num_classes=19, dilations=(6, 12, 18, 24))
    features = tensor(fill, "e.dlv2.feat3", (1, 2048, 9, 17)).clamp(min=0)
    logits = filled(head, fill).eval()([features])
    theirs = torch.from_numpy(golden("e_heads.npz")["dlv2_logits"])
    assert error(logits, theirs) <= 1e-5


def test_deeplabv2_starts_small() -> None:
    head = DeepLabV2Head(channels=(512,), num_classes=19, dilations=(6, 12))
    for branch in head.branches:
        assert branch.weight.std().item() == pytest.approx(0.01, rel=0.02)
        assert branch.bias.count_nonzero() == 0


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_daformer_logits_and_statistics_are_the_official_ones(shared: Path, golden, mode) -> None:
    fill = load(shared / "golden" / "fill.py").fill
    record = golden("e_heads.npz")
    head = filled(daformer(), fill).train(mode == "train")
    head.dropout.eval()
    stages = [
        tensor(fill, f"e.daf.feat{i}", (2, c, *size))
        for i, (c, size) in enumerate(zip(CHANNELS, SIZES, strict=True))
    ]
    key = "daformer_logits_eval" if mode == "eval" else "daformer_logits_trainBN_nodropout"
    assert error(head(stages), torch.from_numpy(record[key])) <= 1e-5
    if mode == "train":
        compare_statistics(head, record)


def compare_statistics(head: DAFormerHead, record) -> None:
    network = Segmentor(Stages(), head, None)
    state = {official_name(name, network): value for name, value in network.state_dict().items()}
    after = [name for name in record.files if name.startswith("daformer_after.")]
    assert len(after) == 16
    for name in after:
        ours = state["decode_head." + name.removeprefix("daformer_after.")]
        torch.testing.assert_close(ours, torch.from_numpy(record[name]), rtol=1e-5, atol=1e-6)


def test_daformer_drops_whole_channels_in_training_only() -> None:
    head = daformer()
    seen = []
    head.classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    stages = [torch.randn(2, c, *size) for c, size in zip(CHANNELS, SIZES, strict=True)]
    for mode in (True, False):
        head.train(mode)(stages)
    empty = [(features.flatten(2) == 0).all(dim=2).float().mean().item() for features in seen]
    assert 0.04 < empty[0] < 0.2
    assert empty[1] < 0.01
