"""The real command lines, as a user types them, from a folder that is not the checkout."""

import json
from pathlib import Path

import pytest
import torch
from command_line import SOURCE_ONLY, TINY, call, run

from sepico_pl.types import InputError

pytestmark = pytest.mark.slow


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
        (["head.decode.width=0"], ["head.decode.width=0", "positive integer"]),
        (["backbone=mit_b0", "backbone.width=x"], ["backbone.width=x", "positive integer"]),
        (["backbone=resnet18_v1c", "head=fpn"], ["strides 4, 8, 8, 8", "head=deeplabv2"]),
        (
            ["backbone=resnet18", "backbone.weights=w.pth"],
            ["backbone.weights=w.pth", "no such file"],
        ),
        (["start=first.ckpt"], ["start=", "first.ckpt", "no such file"]),
        (["data.workers=-1"], ["data.workers=-1", ">= 0"]),
        (["contrast.temperature=0"], ["contrast.temperature=0", "positive"]),
        (["adapt.teacher_decay=1.5"], ["adapt.teacher_decay=1.5"]),
        (["masking=consistency", "masking.ratio=1"], ["masking.ratio=1", ">= 0 and < 1"]),
        (["masking=consistency", "masking.block=0"], ["masking.block=0", "positive integer"]),
        (["adapt=auxiliary", "contrast=none"], ["contrast=distribution", "adapt=self_training"]),
        (["adapt=none", "masking=unmasked"], ["masking=none", "adapt=sepico"]),
        (["trainer.precision=17"], ["pytorch_lightning.Trainer", "precision", "17"]),
        (["trainer.accelerator=abacus"], ["pytorch_lightning.Trainer", "abacus"]),
        (["dataset.seed=abc"], ["dataset.seed=abc", "integer"]),
        (["head.projection.stages=first"], ["head.projection.stages=first", "layerwise"]),
    ],
    ids=lambda value: " ".join(value) if value and "=" in value[0] else "",
)
def test_bad_input_is_one_line_before_the_first_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], expected: list[str]
) -> None:
    error = call(monkeypatch, tmp_path, "train", *arguments, "hydra.run.dir=run")
    assert error
    assert "Traceback" not in error
    for part in expected:
        assert part in error
    if error.startswith("error: "):
        assert len(error.splitlines()) == 1
    assert not (tmp_path / "run" / "last.ckpt").exists()


def test_bad_input_ends_a_real_process_with_one_line(tmp_path: Path) -> None:
    done = run("train", "data.crop_size=[65,64]", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: data.crop_size")
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_traceback_on_demand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(InputError, match=r"data\.batch_size=0"):
        call(monkeypatch, tmp_path, "train", "data.batch_size=0")


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "no such file"), (b"", "is the file whole"), (b"PK\x03\x04junk", "is the file whole")],
)
def test_evaluate_refuses_what_is_no_checkpoint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, expected: str
) -> None:
    path = tmp_path / "some.ckpt"
    if content is not None:
        path.write_bytes(content)
    error = call(monkeypatch, tmp_path, "evaluate", f"checkpoint={path}")
    assert len(error.splitlines()) == 1
    assert str(path) in error
    assert expected in error


def test_evaluate_refuses_a_payload_and_another_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    torch.save({"config": Path("/"), "state_dict": {}}, tmp_path / "payload.ckpt")
    error = call(monkeypatch, tmp_path, "evaluate", "checkpoint=payload.ckpt")
    assert "PosixPath" in error
    assert "was not opened" in error
    torch.save({"model": torch.ones(1)}, tmp_path / "other.ckpt")
    error = call(monkeypatch, tmp_path, "evaluate", "checkpoint=other.ckpt")
    assert "not written by sepico_pl" in error


def test_evaluate_names_a_network_that_is_not_there(
    trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checkpoint = f"checkpoint={trained / 'last.ckpt'}"
    error = call(monkeypatch, tmp_path, "evaluate", checkpoint, "network=tutor")
    assert "network=tutor" in error
    error = call(monkeypatch, tmp_path, "evaluate", checkpoint, "batch_norm=mixed")
    assert "batch_norm=mixed" in error


def test_every_row_of_the_ablation_trains(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for overrides in (
        ["adapt=none", *SOURCE_ONLY],
        ["adapt=adabn", *SOURCE_ONLY],
        ["adapt=self_training", *TINY],
        ["contrast=bank", "head.projection.stages=layerwise", *TINY],
        ["contrast=prototype", "head=fpn", "norm=group", *TINY],
        ["contrast.weight=0", "data.workers=1", *TINY],
        ["masking=consistency", "masking.block=8", *TINY],
        ["adapt=self_training", "masking=unmasked", *TINY],
        ["adapt=auxiliary", "head.projection.stages=layerwise", *TINY],
    ):
        assert call(monkeypatch, tmp_path, "train", *overrides, "logger=none") == "", overrides


def test_judging_more_often_leaves_training_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    states = []
    for every in (1, 3):
        arguments = [*TINY, f"trainer.val_check_interval={every}", f"hydra.run.dir={every}"]
        assert call(monkeypatch, tmp_path, "train", *arguments, "logger=none") == ""
        checkpoint = torch.load(tmp_path / str(every) / "last.ckpt", weights_only=True)
        states.append(checkpoint["state_dict"])
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])


def test_a_multirun_trains_each_choice_in_its_own_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert call(monkeypatch, tmp_path, "train", "-m", "seed=1,2", *TINY, "hydra.sweep.dir=s") == ""
    folders = sorted(path.parent.name for path in (tmp_path / "s").rglob("scores.json"))
    assert len(folders) == 2
    assert [folder.rsplit("seed-", 1)[1][:1] for folder in folders] == ["1", "2"]


@pytest.mark.realdata
def test_camvid_trains_and_is_judged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shared: Path, capsys: pytest.CaptureFixture
) -> None:
    root = shared / "camvid"
    arguments = ["data.batch_size=1", "trainer.max_steps=2", "adapt.contrast_start=0"]
    arguments += ["data.statistics_images=2", "trainer.val_check_interval=2"]
    camvid = ["dataset=camvid", f"dataset.root={root}", *arguments, "hydra.run.dir=run"]
    assert call(monkeypatch, tmp_path, "train", *camvid) == ""
    assert "pedestrian" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("backbone", "head"), [("resnet101_v1c", "deeplabv2"), ("mit_b5", "daformer")]
)
def test_the_papers_networks_train(
    backbone: str, head: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chosen = [f"backbone={backbone}", f"head={head}", "contrast=distribution"]
    steps = ["trainer.max_steps=2", "hydra.run.dir=run"]
    assert call(monkeypatch, tmp_path, "train", *chosen, *TINY, *steps) == ""
    assert 0 <= json.loads((tmp_path / "run" / "scores.json").read_text())["target"]["mIoU"] <= 100


def test_a_word_without_a_key_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module in ("report", "predict"):
        error = call(monkeypatch, tmp_path, module, "outputs/streets/2026-01-31_12-00-00")
        assert error.startswith("error: outputs/streets/2026-01-31_12-00-00: cannot be read as key")
        assert len(error.splitlines()) == 1


def test_a_run_too_short_for_its_contrast_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*TINY, "trainer.max_steps=1", "logger=none"]
    assert call(monkeypatch, tmp_path, "train", *words, "hydra.run.dir=short") == ""
    printed = capsys.readouterr().out
    assert "the contrast starts at step 1 (adapt.contrast_start)" in printed
    assert "statistics; trained without its contrast, which starts after 1 steps" in printed
    assert call(monkeypatch, tmp_path, "train", *TINY, "hydra.run.dir=long") == ""
    printed = capsys.readouterr().out
    assert "the contrast starts" not in printed
    assert "without its contrast" not in printed
    words = [*SOURCE_ONLY, "adapt=none", "logger=none", "hydra.run.dir=none"]
    assert call(monkeypatch, tmp_path, "train", *words) == ""
    assert {
        name: json.loads((tmp_path / name / "scores.json").read_text())["contrast_steps"]
        for name in ("short", "long", "none")
    } == {"short": 0, "long": 2, "none": None}
