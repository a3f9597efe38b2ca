"""Official checkpoints: every key is accounted for, the numbers are the official ones."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import TINY, call
from golden_fill import load as load_python
from golden_fill import tensor
from paper_networks import CHOICES, network

from sepico_pl.checkpoints import load
from sepico_pl.official import official_names, read_official
from sepico_pl.types import InputError

pytestmark = pytest.mark.slow

TINY_DEEPLAB = (
    "backbone=resnet18_v1c",
    "backbone.width=8",
    "backbone.stem_width=8",
    "head=deeplabv2",
    "head.projection.width=16",
)
TINY_DAFORMER = ("backbone=mit_b0", "backbone.width=8", "head=daformer", "head.decode.width=16")
TINY_SEGFORMER = ("backbone=mit_b0", "head=segformer", "head.decode.width=16")
TWO_STEPS = [*TINY, "trainer.max_steps=2", "dataset=streets19"]


@pytest.fixture(scope="module", params=list(CHOICES))
def imported(
    request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, Callable]:
    """Import a checkpoint with all golden keys and shapes, filled by the rule."""
    folder = tmp_path_factory.mktemp(request.param)
    fill = load_python(shared / "golden" / "fill.py").fill
    record = json.loads((shared / "golden" / f"f_state_dict_uda_{request.param}.json").read_text())
    filled: dict[str, torch.Tensor] = {}
    state = {}
    for key, (shape, _) in record.items():
        name = key.partition(".")[2]
        if name not in filled:
            filled[name] = tensor(fill, name, tuple(shape))
        state[key] = filled[name]
    meta = {"iter": 40000, "CLASSES": ("road",), "PALETTE": [[0, 0, 0]], "best": np.float64(61.0)}
    torch.save({"meta": meta, "state_dict": state, "optimizer": {"state": {}}}, folder / "o.pth")
    assert len(read_official(folder / "o.pth").student) * 2 == len(record)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert call(patch, folder, "import_official", "checkpoint=o.pth", "output=ours.ckpt") == ""
    (folder / "o.pth").unlink()
    return request.param, folder / "ours.ckpt", fill


def test_student_and_teacher_give_the_golden_logits(golden, imported) -> None:
    name, path, fill = imported
    _, task = load(path)
    assert task.batch_norm == "running"
    image = tensor(fill, "input.image", (1, 3, 64, 128))
    theirs = golden("f_models.npz")[f"{name}_logits_full_every4"]
    for one in (task.student, task.teacher.network):
        one.eval()
        with torch.no_grad():
            ours = one(image)[..., ::4, ::4].numpy()
        assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max()


def test_a_run_started_from_the_import_trains(imported, monkeypatch: pytest.MonkeyPatch) -> None:
    name, path, _ = imported
    arguments = [*CHOICES[name], *TWO_STEPS, f"start={path}", "hydra.run.dir=run"]
    assert call(monkeypatch, path.parent, "train", *arguments) == ""
    before = torch.load(path, weights_only=True)["state_dict"]
    after = torch.load(path.parent / "run" / "last.ckpt", weights_only=True)["state_dict"]
    changed = [
        float((after[name] - value).norm() / value.norm())
        for name, value in before.items()
        if name.startswith("student.encoder.network.") and name.endswith(".weight")
    ]
    assert 0 < np.median(changed) < 0.1, "near where it started, and trained"


def synthetic(*choices: str, prefixes: tuple[str, ...] = ("model.", "ema_model.")) -> dict:
    """Return the state dict of an official checkpoint; each network has weights of its own."""
    state = {}
    for index, prefix in enumerate(prefixes):
        torch.manual_seed(index)
        built = network(*choices)
        names = official_names(built)
        state |= {prefix + names[key]: value for key, value in built.state_dict().items()}
    return state


def take_in(monkeypatch: pytest.MonkeyPatch, folder: Path, content: object, *arguments: str) -> str:
    torch.save(content, folder / "o.pth")
    command = ["checkpoint=o.pth", "output=ours.ckpt", *arguments]
    return call(monkeypatch, folder, "import_official", *command)


@pytest.mark.parametrize("stages", ["last", "fused", "layerwise"])
@pytest.mark.parametrize("choices", [TINY_DEEPLAB, TINY_DAFORMER])
def test_each_network_lands_in_its_place(tmp_path, monkeypatch, choices, stages: str) -> None:
    state = synthetic(*choices, f"head.projection.stages={stages}")
    assert take_in(monkeypatch, tmp_path, {"state_dict": state}) == ""
    _, task = load(tmp_path / "ours.ckpt")
    assert task.student.projection.stages == stages
    seen = set()
    for prefix, one in (("model.", task.student), ("ema_model.", task.teacher.network)):
        for ours, theirs in official_names(one).items():
            value = state[prefix + theirs]
            torch.testing.assert_close(one.state_dict()[ours], value, rtol=0, atol=0)
            seen.add(prefix + theirs)
    assert seen == set(state)


def test_daformer_has_no_projection_head_and_an_imagenet_twin(
    tmp_path, monkeypatch, capsys: pytest.CaptureFixture
) -> None:
    state = {k: v for k, v in synthetic(*TINY_DAFORMER).items() if "auxiliary_head" not in k}
    state |= {f"imnet_{k}": v for k, v in state.items() if k.startswith("model.")}
    content = {"meta": {"iter": 1}, "state_dict": state, "optimizer": {}}
    assert take_in(monkeypatch, tmp_path, content) == ""
    _, task = load(tmp_path / "ours.ckpt")
    assert task.student.projection is None
    torch.testing.assert_close(
        task.teacher.network.head.classifier.weight, state["ema_model.decode_head.conv_seg.weight"]
    )
    printed = capsys.readouterr().out
    twins = sum(key.startswith("imnet_") for key in state)
    assert f"and {twins - 5} more (DAFormer's frozen ImageNet encoder" in printed
    assert "meta (texts" in printed
    assert "optimizer (moments" in printed
    start = ["start=ours.ckpt", *TINY_DAFORMER, *TWO_STEPS, "hydra.run.dir=run"]
    assert call(monkeypatch, tmp_path, "train", *start) == ""
    assert "this run's starts from scratch" in capsys.readouterr().out


def test_segformer_is_a_student_alone(tmp_path, monkeypatch, capsys) -> None:
    state = {
        k: v
        for k, v in synthetic(*TINY_SEGFORMER, prefixes=("",)).items()
        if "auxiliary_head" not in k
    }
    state["decode_head.conv_seg.weight"] = torch.ones(19, 16, 1, 1)
    assert take_in(monkeypatch, tmp_path, {"meta": {}, "state_dict": state}) == ""
    _, task = load(tmp_path / "ours.ckpt")
    assert not hasattr(task, "teacher")
    reason = "SegFormer's head classifies with linear_pred"
    assert f"conv_seg.weight ({reason}" in capsys.readouterr().out
    stages = task.student.encode(torch.randn(2, 3, 64, 64))
    torch.testing.assert_close(
        task.student.eval().head(stages), segformer_by_hand(stages, state), rtol=1e-4, atol=1e-5
    )


def segformer_by_hand(stages: list[torch.Tensor], state: dict) -> torch.Tensor:
    """SegFormer's head as its paper and names say: from the deepest stage to the finest."""
    size = stages[0].shape[-2:]
    embedded = []
    for index in (4, 3, 2, 1):
        weight, bias = (state[f"decode_head.linear_c{index}.proj.{k}"] for k in ("weight", "bias"))
        one = torch.einsum("bchw,dc->bdhw", stages[index - 1], weight) + bias[:, None, None]
        embedded.append(
            torch.nn.functional.interpolate(one, size, mode="bilinear", align_corners=False)
        )
    fused = torch.nn.functional.conv2d(
        torch.cat(embedded, 1), state["decode_head.linear_fuse.conv.weight"]
    )
    norm = {
        key: state[f"decode_head.linear_fuse.bn.{key}"]
        for key in ("running_mean", "running_var", "weight", "bias")
    }
    fused = torch.nn.functional.batch_norm(fused, **norm).relu()
    return torch.nn.functional.conv2d(
        fused, state["decode_head.linear_pred.weight"], state["decode_head.linear_pred.bias"]
    )


def rename(state: dict) -> None:
    key = "model.backbone.layer2.0.conv1.weight"
    state[key + "s"] = state.pop(key)


def lose_in_teacher(state: dict) -> None:
    del state["ema_model.decode_head.aspp_modules.2.conv.bias"]


def reshape(state: dict) -> None:
    state["model.auxiliary_head.convs.1.bn.bias"] = torch.zeros(5)


def another_backbone(state: dict) -> None:
    for key in [k for k in state if k.startswith("model.backbone.")]:
        state[key.replace("backbone.", "backbone.conv1.")] = state.pop(key)


def another_depth(state: dict) -> None:
    for key in [k for k in state if "layer3.1." in k]:
        del state[key]


def another_head(state: dict) -> None:
    for key in [k for k in state if k.startswith("model.decode_head.")]:
        state[key.replace("decode_head.", "decode_head.head.")] = state.pop(key)


def a_third_network(state: dict) -> None:
    state["discriminator.weight"] = torch.ones(2)


def lose_what_tells(state: dict) -> None:
    del state["model.backbone.stem.6.weight"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (rename, ["the student", "missing: backbone.layer2.0.conv1.weight", "conv1.weights"]),
        (lose_in_teacher, ["the teacher", "missing: decode_head.aspp_modules.2.conv.bias"]),
        (reshape, ["auxiliary_head.convs.1.bn.bias (5,) instead of (16,)"]),
        (another_backbone, ["backbone.* is not a ResNet-v1c or a Mix Transformer"]),
        (another_depth, ["backbone.* is not a ResNet-v1c of depth 18, 34, 50, 101"]),
        (another_head, ["decode_head.* is not a deeplabv2, daformer, segformer head"]),
        (a_third_network, ["discriminator.weight is not of an official network"]),
        (lose_what_tells, ["missing: backbone.stem.6.weight"]),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, monkeypatch, change, said: list[str]) -> None:
    state = synthetic(*TINY_DEEPLAB)
    change(state)
    error = take_in(monkeypatch, tmp_path, {"state_dict": state})
    assert error.startswith("error: checkpoint=o.pth")
    assert len(error.splitlines()) == 1
    for part in said:
        assert part in error
    assert not (tmp_path / "ours.ckpt").exists()


def test_truncated_files_payloads_and_taken_names(tmp_path, monkeypatch) -> None:
    state = {"state_dict": synthetic(*TINY_DEEPLAB)}
    assert take_in(monkeypatch, tmp_path, state) == ""
    written = (tmp_path / "ours.ckpt").read_bytes()
    assert "output=ours.ckpt exists already" in take_in(monkeypatch, tmp_path, state)
    assert (tmp_path / "ours.ckpt").read_bytes() == written
    arguments = ["checkpoint=o.pth", "output=new.ckpt"]
    whole = (tmp_path / "o.pth").read_bytes()
    (tmp_path / "o.pth").write_bytes(whole[:-1000])
    assert "is the file whole?" in call(monkeypatch, tmp_path, "import_official", *arguments)
    trap = tmp_path / "executed"
    torch.save({**state, "meta": Trap(f"touch {trap}")}, tmp_path / "o.pth")
    assert "was not opened" in call(monkeypatch, tmp_path, "import_official", *arguments)
    assert not trap.exists()
    torch.save(state, tmp_path / "o.pth")
    error = call(monkeypatch, tmp_path, "import_official", *arguments, "dataset=streets")
    assert "has 19 classes and the data set 9" in error
    assert not (tmp_path / "new.ckpt").exists()


class Trap:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple:
        return os.system, (self.command,)


def test_a_start_of_another_network_is_refused(tmp_path, monkeypatch) -> None:
    assert take_in(monkeypatch, tmp_path, {"state_dict": synthetic(*TINY_DEEPLAB)}) == ""
    start = ["start=ours.ckpt", *TWO_STEPS, "hydra.run.dir=run"]
    error = call(monkeypatch, tmp_path, "train", *start)
    assert (
        f"start={tmp_path / 'ours.ckpt'}, of ResNetV1c (depth 18, width 8) with DeepLabV2Head"
        in error
    )
    assert not (tmp_path / "run" / "last.ckpt").exists()
    torch.save({"state_dict": {}}, tmp_path / "official.pth")
    error = call(monkeypatch, tmp_path, "train", *TWO_STEPS, "start=official.pth")
    assert f"start={tmp_path / 'official.pth'}: not written by sepico_pl" in error
    assert "python -m sepico_pl.import_official" in error


def test_only_official_heads_have_official_names() -> None:
    with pytest.raises(InputError, match="LightHead has no official counterpart"):
        official_names(network("backbone=resnet18_v1c", "backbone.width=8", "head=light"))
