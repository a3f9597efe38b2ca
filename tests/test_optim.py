import json
from pathlib import Path

import numpy as np
import pytest
import torch
from paper_networks import paper_network
from torch import nn

from sepico_pl.model.vit import PlainViT
from sepico_pl.official import official_names
from sepico_pl.optim import AdamWPoly, GradientClip, undecayed, warmup_poly


def test_schedule_is_the_official_one(golden) -> None:
    record = golden("g_h_misc.npz")
    factors = np.array([warmup_poly(int(i), 1500, 40_000, 1.0, 1e-6) for i in record["lr_iters"]])
    ours = factors[:, None] * [6e-5, 6e-4]
    np.testing.assert_allclose(ours, record["lr_backbone_head"], rtol=1e-9)


def test_every_parameter_is_in_one_group_and_heads_learn_faster() -> None:
    encoder = nn.ModuleDict({"network": nn.Linear(2, 2)})
    student = nn.ModuleDict(
        {"encoder": encoder, "head": nn.Linear(2, 2), "projection": nn.Linear(2, 2)}
    )
    build = AdamWPoly(
        learning_rate=0.1,
        head_factor=10.0,
        weight_decay=0.01,
        warmup_steps=2,
        warmup_start=0.5,
        power=1.0,
    )
    optimizer, schedule = build(student, 10)
    sizes = [sum(p.numel() for p in group["params"]) for group in optimizer.param_groups]
    assert sizes == [6, 12]
    rates = []
    for _ in range(4):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    expected = [0.1 * 0.5, 0.1 * 0.9 * 0.75, 0.1 * 0.8, 0.1 * 0.7]
    assert [rate[0] for rate in rates] == pytest.approx(expected)
    assert [rate[1] for rate in rates] == pytest.approx([10 * rate for rate in expected])
    assert isinstance(optimizer, torch.optim.AdamW)
    assert all(group["fused"] for group in optimizer.param_groups)


def test_the_decay_ends_at_zero_and_stays_there() -> None:
    assert warmup_poly(99, 10, 100, 1.0, 1e-6) == pytest.approx(0.01)
    assert [warmup_poly(step, 10, 100, 1.0, 1e-6) for step in (100, 101)] == [0.0, 0.0]
    assert warmup_poly(50, 0, 100, 2.0, 1e-6) == pytest.approx(0.25)


@pytest.mark.parametrize("name", ["dlv2_r101", "daformer_mitb5"])
def test_every_parameter_has_its_official_rate_and_decay(shared: Path, name: str) -> None:
    record = json.loads((shared / "golden" / f"f_optim_groups_{name}.json").read_text())
    student = paper_network(name)
    build = AdamWPoly(
        learning_rate=6e-5,
        head_factor=10.0,
        weight_decay=0.01,
        warmup_steps=1500,
        warmup_start=1e-6,
        power=1.0,
    )
    optimizer, _ = build(student, 40_000)
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    names = official_names(student)
    ours = {
        f"model.{names[name]}": (groups[id(p)]["initial_lr"], groups[id(p)]["weight_decay"])
        for name, p in student.named_parameters()
    }
    theirs = {name: group for name, group in record.items() if name.startswith("model.")}
    assert ours.keys() == theirs.keys()
    for parameter, expected in theirs.items():
        assert ours[parameter] == pytest.approx(tuple(expected)), parameter


def test_tokens_positions_and_layer_norms_of_a_vision_transformer_do_not_decay() -> None:
    encoder = PlainViT(name="vit_tiny_patch16_224", drop_path=0.0, weights=None)
    names = undecayed(nn.ModuleDict({"encoder": encoder}))
    assert {"encoder.network.cls_token", "encoder.network.pos_embed"} <= names
    assert "encoder.network.blocks.3.norm2.weight" in names
    assert "encoder.network.blocks.3.attn.qkv.weight" not in names
    assert not [name for name in names if "pyramid" in name]


@pytest.mark.parametrize(("of", "expected"), [("norm", [3.0, 4.0]), ("value", [5.0, 5.0])])
def test_gradients_are_clipped_as_scaled(of: str, expected: list[float]) -> None:
    bound, scale = (1.25, 4.0)
    weight, idle = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([6.0, 8.0])
    GradientClip(bound, of)([weight, idle], scale)
    torch.testing.assert_close(weight.grad, torch.tensor(expected), atol=1e-5, rtol=0)
    assert idle.grad is None
