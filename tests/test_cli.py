"""The real command lines, as a user types them, from a folder that is not the checkout."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

TINY = [
    "dataset.size=[32,64]",
    "dataset.train_length=6",
    "dataset.val_length=2",
    "data.crop_size=[32,32]",
    "data.batch_size=2",
    "trainer.max_steps=3",
    "adapt.contrast_start=1",
    "trainer.enable_progress_bar=false",
]
SOURCE_ONLY = [argument for argument in TINY if "contrast_start" not in argument]


def run(module: str, *arguments: str, cwd: Path, **environment: str):
    return subprocess.run(
        [sys.executable, "-m", f"sepico_pl.{module}", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **environment},
        check=False,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    done = run("train", *TINY, "hydra.run.dir=run", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "target validation of the student, batch norm: target statistics" in done.stdout
    return folder / "run"


def test_a_run_leaves_checkpoint_scores_and_metrics(trained: Path) -> None:
    scores = json.loads((trained / "scores.json").read_text())
    assert 0 <= scores["target"]["mIoU"] <= 100
    header = (trained / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"train/source", "train/mixed", "train/target", "val/target/mIoU"} <= set(header)
    checkpoint = torch.load(trained / "last.ckpt", weights_only=True)
    assert checkpoint["config"]["trainer"]["max_steps"] == 3
    state = checkpoint["state_dict"]
    assert any(key.startswith("teacher.") for key in state)
    assert state["contrast.stages.0.moments.count"].sum() > 0


def test_evaluate_needs_the_checkpoint_alone(trained: Path, tmp_path: Path) -> None:
    done = run("evaluate", f"checkpoint={trained / 'last.ckpt'}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "target validation" in done.stdout
    assert "source validation" in done.stdout
    scores = json.loads((trained / "last.scores.json").read_text())
    of_training = json.loads((trained / "scores.json").read_text())
    assert scores["target"] == pytest.approx(of_training["target"])
    assert scores["source"].keys() >= {"mIoU", "IoU/road"}
    assert list(tmp_path.iterdir()) == []


def test_evaluate_names_another_network_and_policy(trained: Path, tmp_path: Path) -> None:
    done = run(
        "evaluate",
        f"checkpoint={trained / 'last.ckpt'}",
        "network=teacher",
        "batch_norm=running",
        f"output={tmp_path / 'teacher.json'}",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "teacher, batch norm: running statistics" in done.stdout
    written = json.loads((tmp_path / "teacher.json").read_text())
    assert (written["network"], written["batch_norm"]) == ("teacher", "running")


def test_help_and_configuration_are_readable(tmp_path: Path) -> None:
    shown = run("train", "--help", cwd=tmp_path)
    assert shown.returncode == 0
    for part in (
        "contrast: bank, distribution, none, prototype",
        "HYDRA_FULL_ERROR",
        "temperature",
    ):
        assert part in shown.stdout
    job = run("train", "adapt=adabn", "--cfg", "job", cwd=tmp_path)
    assert "batch_norm: target" in job.stdout
    assert "contrast: null" in job.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["contrast.temperatur=1"], ["contrast.temperatur", "temperatur"]),
        (["contrast=prototyp"], ["prototyp", "bank", "distribution"]),
        (["dataset=camvid"], ["dataset.root"]),
        (["dataset=camvid", "dataset.root=/nowhere"], ["dataset.root=/nowhere", "source_day"]),
        (["dataset.size=[0,64]"], ["dataset.size", "[0, 64]"]),
        (["data.crop_size=[65,64]"], ["data.crop_size", "65x64", "64x128"]),
        (["data.crop_size=[-1,64]"], ["data.crop_size", "positive"]),
        (["data.batch_size=0"], ["data.batch_size=0", "positive"]),
        (["trainer.max_steps=-5"], ["trainer.max_steps=-5", "positive"]),
        (["adapt=none", "contrast=bank"], ["contrast=none", "adapt=sepico"]),
        (["backbone.name=resnet1"], ["backbone.name=resnet1"]),
        (["backbone.weights=imagenet"], ["backbone.weights=imagenet", "backbone.weights=null"]),
        (["adapt.batch_norm=source"], ["adapt.batch_norm=source", "running or target"]),
        (["head.projection.stages=first"], ["head.projection.stages=first", "layerwise"]),
    ],
    ids=lambda value: " ".join(value) if value and "=" in value[0] else "",
)
def test_bad_input_is_one_line_before_the_first_step(
    tmp_path: Path, arguments: list[str], expected: list[str]
) -> None:
    done = run("train", *arguments, "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    for part in expected:
        assert part in done.stderr
    if done.stderr.startswith("error: "):
        assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "run" / "last.ckpt").exists()


def test_the_traceback_on_demand(tmp_path: Path) -> None:
    done = run("train", "data.batch_size=0", cwd=tmp_path, HYDRA_FULL_ERROR="1")
    assert done.returncode != 0
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "no such file"), (b"", "is the file whole"), (b"PK\x03\x04junk", "is the file whole")],
)
def test_evaluate_refuses_what_is_no_checkpoint(
    tmp_path: Path, content: bytes | None, expected: str
) -> None:
    path = tmp_path / "some.ckpt"
    if content is not None:
        path.write_bytes(content)
    done = run("evaluate", f"checkpoint={path}", cwd=tmp_path)
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1
    assert str(path) in done.stderr
    assert expected in done.stderr


@pytest.mark.slow
def test_every_row_of_the_ablation_trains(tmp_path: Path) -> None:
    for overrides in (
        ["adapt=none", *SOURCE_ONLY],
        ["adapt=self_training", *TINY],
        ["contrast=bank", "head.projection.stages=layerwise", *TINY],
        ["contrast=prototype", "head=fpn", "backbone=resnet10t_groupnorm", *TINY],
    ):
        done = run("train", *overrides, "logger=none", cwd=tmp_path)
        assert done.returncode == 0, (overrides, done.stderr)


@pytest.mark.slow
def test_a_multirun_trains_each_choice_in_its_own_folder(tmp_path: Path) -> None:
    done = run("train", "-m", "seed=1,2", *TINY, "hydra.sweep.dir=sweep", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    scores = [json.loads(path.read_text()) for path in (tmp_path / "sweep").rglob("scores.json")]
    assert len(scores) == 2


@pytest.mark.slow
def test_wandb_runs_offline_without_a_prompt(tmp_path: Path) -> None:
    environment = {"WANDB_MODE": "", "WANDB_API_KEY": "", "HOME": str(tmp_path)}
    done = run("train", "logger=wandb", *TINY, "hydra.run.dir=run", cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    assert "offline" in done.stdout
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*"))


@pytest.mark.realdata
@pytest.mark.slow
def test_camvid_trains_and_is_judged(tmp_path: Path, shared: Path) -> None:
    root = shared / "camvid"
    arguments = ["data.batch_size=1", "trainer.max_steps=2", "adapt.contrast_start=0"]
    done = run(
        "train",
        "dataset=camvid",
        f"dataset.root={root}",
        *arguments,
        "hydra.run.dir=run",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    done = run("evaluate", "checkpoint=run/last.ckpt", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "pedestrian" in done.stdout
