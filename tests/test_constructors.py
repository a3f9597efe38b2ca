"""What a configuration may name: what conf/ names; nothing of it writes, starts or fetches."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from command_line import CONF, ROOT, configured

from sepico_pl.constructors import NESTED, PARTS, RECORDED, TYPED, instantiate, offered
from sepico_pl.types import InputError

BUILT = [
    ["dataset=streets", "contrast=bank"],
    ["dataset=camvid", "dataset.root=there", "contrast=prototype", "backbone=resnet18_v1c"],
    ["dataset=gta", "backbone=mit_b0", "backbone.width=8", "head=daformer", "vote=day_night"],
    ["dataset=synthia", "head=segformer", "backbone.name=resnet18", "class_weights=night"],
    ["dataset=dark_zurich", "head=upernet", "backbone.name=resnet18", "adapt=self_training"],
    ["dataset=acdc", "head=fpn", "backbone.name=resnet18", "contrast=none", "adapt=none"],
    ["dataset=bdd100k", "head=deeplabv2"],
    ["dataset=benchmark", "source=cityscapes", "target=acdc", "backbone=dinov2_small"],
    [
        "dataset=folder",
        *(f"dataset.{part}=there" for part in ("source_images", "source_labels", "target_images")),
        "dataset.classes=[a,b]",
    ],
]
"""Configurations that together name every part but the next one."""
EVALUATION_ONLY = {"_target_": "sepico_pl.data.benchmarks.nighttime_driving", "root": "there"}


def names_in_conf() -> set[str]:
    texts = (path.read_text() for path in CONF.rglob("*.yaml"))
    return {name for text in texts for name in re.findall(r"_target_: (\S+)", text)}


def test_the_list_is_what_conf_names() -> None:
    listed = {
        name for group in (PARTS, NESTED, RECORDED) for names in group.values() for name in names
    }
    assert listed == names_in_conf() - {
        "sepico_pl.multirun.MultirunSummary",
        "sepico_pl.job_signals.JobSignals",
    }


def test_what_only_a_user_may_name_is_a_logger() -> None:
    from pytorch_lightning import loggers

    assert TYPED.keys() == {"logger"}
    assert all(hasattr(loggers, name.rpartition(".")[2]) for name in TYPED["logger"])


@pytest.mark.slow
def test_nothing_on_the_list_writes_starts_or_fetches(tmp_path: Path) -> None:
    """Build every part, in a process whose audit hook ends it at the first such event."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("constructors_audited.py"))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    built = set(done.stdout.split())
    assert built == {
        name for group in (PARTS, NESTED) for names in group.values() for name in names
    }
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "config"),
    [
        ("optim", {"_target_": "os.system", "command": "touch pwned"}),
        ("optim", {"_target_": "sepico_pl.module.SePiCo"}),
        ("optim", {"_target_": ["sepico_pl.optim.AdamWPoly"]}),
        ("optim", {"_target_": "sepico_pl.optim.AdamW"}),
        ("optim", {"_target_": "sepico_pl.optim.AdamWPoly", "_args_": [1]}),
        ("optim", {"_target_": "sepico_pl.optim.AdamWPoly", "_convert_": "all"}),
        ("optim", {"_target_": "sepico_pl.optim.AdamWPoly", "_recursive_": False}),
        ("optim", {"_target_": "sepico_pl.optim.AdamWPoly", "power": {"_target_": "os.getcwd"}}),
        ("optim", {"_target_": "sepico_pl.optim.AdamWPoly", "power": [{"a": {"_target_": "x"}}]}),
        ("optim", {"_partial_": True}),
        ("head.decode", {"_target_": "sepico_pl.model.encoder.SmpEncoder", "name": "resnet18"}),
        ("nowhere", {"_target_": "sepico_pl.optim.AdamWPoly"}),
        ("adapt", {"_target_": "sepico_pl.record.write_record"}),
        ("trainer", {"_target_": "pytorch_lightning.trainer.trainer.Trainer"}),
        ("logger", {"_target_": "pytorch_lightning.loggers.csv_logs.CSVLogger"}),
        ("dataset", {"_target_": "sepico_pl.data.copying.copy"}),
    ],
    ids=str,
)
def test_nothing_off_the_list_is_called(
    key: str, config: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="is not on offer"):
        instantiate(config, key)
    assert list(tmp_path.iterdir()) == []


def test_an_encoder_inside_a_part_is_not_built() -> None:
    """It could fetch its weights, which are left out of the outermost one alone."""
    encoder = {"_target_": "sepico_pl.model.encoder.SmpEncoder", "name": "resnet18"}
    nested = {**encoder, "norm": {**encoder, "weights": "imagenet"}}
    with pytest.raises(InputError, match=r"backbone\.norm\._target_: .* nothing is called there"):
        instantiate(nested, "backbone")


def test_parts_arrive_as_plain_types_and_partials_wait_for_arguments() -> None:
    plain = configured("dataset=dark_zurich", "vote=teacher", "class_weights=night")
    adapt = {key: value for key, value in plain["adapt"].items() if key in ("_target_", "vote")}
    with pytest.raises(TypeError, match="missing"):
        instantiate(adapt, "adapt")
    weights = plain["adapt"]["class_weights"]
    assert weights["_target_"] in NESTED["adapt"]
    assert isinstance(plain["data"]["crop_size"], list)
    optim = instantiate(plain["optim"], "optim")
    assert type(optim).__name__ == "AdamWPoly"
    partial = instantiate({**plain["optim"], "_partial_": True}, "optim")
    assert type(partial(power=2.0)) is type(optim)
    assert partial(power=2.0).power == 2.0
    assert offered("optim") == PARTS["optim"]


@pytest.mark.parametrize(
    "name", ["tu-hf-hub:timm/resnet18.a1_in1k", "tu-local-dir:/tmp", "tu-hf_hub:a/b"]
)
def test_an_encoder_is_never_looked_for_by_its_name(name: str) -> None:
    config = {
        "_target_": "sepico_pl.model.encoder.SmpEncoder",
        "name": name,
        "weights": None,
        "norm": "batch",
        "output_stride": 32,
    }
    with pytest.raises(InputError, match="never fetched by its name"):
        instantiate(config, "backbone")
    vit = {
        "_target_": "sepico_pl.model.vit.PlainViT",
        "name": name.removeprefix("tu-"),
        "drop_path": 0.0,
        "weights": None,
    }
    with pytest.raises(InputError, match="never fetched by its name"):
        instantiate(vit, "backbone")
    assert torch.is_grad_enabled()
