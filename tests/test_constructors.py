"""What a configuration may name: what conf/ names; nothing of it writes, starts or fetches."""

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from command_line import CONF, ROOT, configured

from sepico_pl.adapt.pseudo_labels import DayNightVote, teacher_vote
from sepico_pl.assembly import build_data, build_task
from sepico_pl.augment.balanced_crop import ClassBalancedCrop
from sepico_pl.constructors import NESTED, PARTS, RECORDED, TYPED, instantiate
from sepico_pl.types import InputError

BUILT = [
    ["dataset=streets", "contrast=bank", "masking=consistency"],
    ["dataset=camvid", "dataset.root=there", "contrast=prototype", "backbone=resnet18_v1c"],
    ["dataset=streets_to_camvid", "dataset.root=there"],
    ["dataset=benchmark", "source=streets", "target=folder", "dataset.target.train_images=there"],
    ["dataset=streets", "adapt=auxiliary"],
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


def test_what_stands_inside_is_built_and_partials_wait_for_arguments() -> None:
    words = ["dataset=dark_zurich", "class_weights=night", "data.crop_size=[32,48]"]
    plain = configured(*words, "vote=day_night")
    task = build_task(plain, build_data(plain).pair)
    assert isinstance(task.vote, DayNightVote)
    assert task.vote.class_weights.shape == (19,)
    assert isinstance(task.crop, ClassBalancedCrop)
    plain = configured(*words, "vote=teacher")
    task = build_task(plain, build_data(plain).pair)
    assert isinstance(task.vote, partial)
    assert task.vote.func is teacher_vote


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
