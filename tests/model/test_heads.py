import json
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_fill import load

from sepico_pl.model.heads import LightHead
from sepico_pl.model.projection import ProjectionHead
from sepico_pl.model.smp_heads import FPNHead
from sepico_pl.types import InputError

CHANNELS = (8, 16, 40, 64)
SIZES = ((16, 32), (8, 16), (4, 8), (2, 4))
OFFICIAL = {"last": "None", "fused": "resize_concat", "layerwise": "multiple_select"}


@pytest.mark.parametrize("stages", list(OFFICIAL))
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_projection_is_the_official_one(shared: Path, golden, stages, depth) -> None:
    fill = load(shared / "golden" / "fill.py").fill
    record = golden("d_proj_head.npz")
    case = f"{OFFICIAL[stages]}_n{depth}"
    described = json.loads((shared / "golden" / "d_proj_head.json").read_text())[case]
    head = ProjectionHead(channels=CHANNELS, width=24, depth=depth, stages=stages, norm="batch")
    inputs = [
        torch.from_numpy(fill(f"d.feat{i}", (2, c, *size)))
        for i, (c, size) in enumerate(zip(CHANNELS, SIZES, strict=True))
    ]
    if "error" in described:
        assert len(head.eval()(inputs)) == len(head.widths)
        return
    official = list(described["state_dict"])
    state = head.state_dict()
    assert [list(v.shape) for v in state.values()] == list(described["state_dict"].values())
    values = [
        fill(f"auxiliary_head.{name}", state[key].shape)
        for key, name in zip(state, official, strict=True)
    ]
    head.load_state_dict(
        {k: torch.from_numpy(np.asarray(v)) for k, v in zip(state, values, strict=True)}
    )
    for mode in ("eval", "train"):
        head.train(mode == "train")
        for level, ours in enumerate(head(inputs)):
            theirs = torch.from_numpy(record[f"proj_{case}_{mode}{level}"])
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
            assert ours.shape[1] == head.widths[level]
    for (key, ours), name in zip(head.state_dict().items(), official, strict=True):
        if f"proj_{case}_after.{name}" in record.files:
            assert "running" in key
            theirs = torch.from_numpy(record[f"proj_{case}_after.{name}"])
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_unknown_projection_input() -> None:
    with pytest.raises(InputError, match=r"head\.projection\.stages=first"):
        ProjectionHead(channels=CHANNELS, width=8, depth=1, stages="first", norm="batch")


def test_light_head_answers_at_the_finest_stage() -> None:
    head = LightHead(channels=CHANNELS, num_classes=5, width=8, dropout=0.1, norm="group")
    stages = [torch.randn(2, c, *s) for c, s in zip(CHANNELS, SIZES, strict=True)]
    assert head(stages).shape == (2, 5, 16, 32)


def test_fpn_head_answers_at_the_finest_of_four_stages() -> None:
    head = FPNHead(channels=CHANNELS, num_classes=5, width=64, dropout=0.0)
    stages = [torch.randn(2, c, *s) for c, s in zip(CHANNELS, SIZES, strict=True)]
    assert head(stages).shape == (2, 5, 16, 32)
