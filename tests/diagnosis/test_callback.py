"""A run with a diagnosis: its numbers, its file, its page, and the same training as without it."""

import json
from pathlib import Path

import pytest
import torch
from command_line import SOURCE_ONLY, TINY, call, configured
from photographs import own_folders
from soak import differences, logged

from sepico_pl.diagnosis.history import begun
from sepico_pl.training import build_trainer
from sepico_pl.types import InputError

pytestmark = pytest.mark.slow

JUDGED = ["trainer.val_check_interval=1", "trainer.log_every_n_steps=1", "pictures=0"]
TRUSTED = "adapt.confidence_threshold=0.15"
PERCENT = {
    *("pseudo_label/all", "pseudo_label/trusted", "pseudo_label/contrasted"),
    *("accuracy/concept", "accuracy/head"),
    *("share/concept_alone_right", "share/head_alone_right"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run diagnosed at each of its three steps, and the same without."""
    folder = tmp_path_factory.mktemp("diagnosed")
    with pytest.MonkeyPatch.context() as patch:
        for every in (0, 1):
            words = [*TINY, *JUDGED, TRUSTED, "keep.every=2", f"hydra.run.dir=run{every}"]
            assert call(patch, folder, "train", *words, f"diagnosis={every}") == ""
    return folder


@pytest.mark.parametrize("name", ["last.ckpt", "checkpoints/step_00000002.ckpt"])
def test_training_is_the_same_to_the_bit(trained: Path, name: str) -> None:
    without, diagnosed = (
        torch.load(trained / f"run{every}" / name, weights_only=True) for every in (0, 1)
    )
    assert differences(without, diagnosed, "") == []


def diagnosed(run: Path) -> dict[str, dict[str, float]]:
    """Return what was measured, by the step that was, without the first part of the names."""
    rows = logged(run)
    kept = {
        step: {
            name.removeprefix("diagnosis/"): float(value)
            for name, value in row.items()
            if name.startswith("diagnosis/")
        }
        for step, row in rows.items()
    }
    return {step: row for step, row in kept.items() if row}


def test_what_else_is_logged_is_the_same(trained: Path) -> None:
    without, with_diagnosis = (logged(trained / f"run{every}") for every in (0, 1))
    assert without == {
        step: {name: v for name, v in row.items() if not name.startswith("diagnosis/")}
        for step, row in with_diagnosis.items()
    }


def test_values_by_step(trained: Path) -> None:
    rows = diagnosed(trained / "run1")
    assert list(rows) == ["0", "1", "2"]
    contrasted = {f"gradient/encoder/{domain}_contrast" for domain in ("source", "target")}
    assert not contrasted & set(rows["0"])  # adapt.contrast_start=1
    always = {
        f"gradient/{part}/{n}" for part in ("encoder", "decoder") for n in ("source", "mixed")
    }
    values = PERCENT | always | {"margin/source", "margin/target", "cosine/encoder"}
    assert set(rows["2"]) == values | contrasted
    for row in rows.values():
        assert all(0 <= row[name] <= 100 for name in PERCENT & set(row))
        assert -1 <= row["cosine/encoder"] <= 1
        alone = row["share/concept_alone_right"] - row["share/head_alone_right"]
        assert row["accuracy/concept"] - row["accuracy/head"] == pytest.approx(alone)


def test_the_file_says_who_is_right_by_class(trained: Path) -> None:
    content = json.loads((trained / "run1/diagnosis.json").read_text())
    assert (content["latest"], len(content["classes"])) == (3, 9)
    assert content["images"] == ["streets/night/val/0", "streets/night/val/1"]
    assert [one["step"] for one in content["history"]] == [1, 2, 3]
    rows = diagnosed(trained / "run1")
    for one in content["history"]:
        row = rows[str(one["step"] - 1)]
        share = 100 * sum(one["concept"]) / sum(one["cells"])
        assert row["accuracy/concept"] == pytest.approx(share)
        assert sum(one["cells"]) > 0
    assert not (trained / "run0/diagnosis.json").exists()


def test_the_report_shows_it(trained: Path) -> None:
    page = (trained / "run1/report.html").read_text()
    assert '<h2 id="diagnosis">Diagnosis</h2>' in page
    assert '<a href="#diagnosis">Diagnosis</a>' in page
    assert "Accuracy of concepts and head by training step: concept from" in page
    assert "Step 3, 2 target images" in page
    assert 'id="diagnosis"' not in (trained / "run0/report.html").read_text()


def test_a_resumed_run_measures_anew_what_it_repeats(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained / "run1"
    before = (run / "diagnosis.json").read_bytes()
    rows = diagnosed(run)
    words = ["resume=run1/checkpoints/step_00000002.ckpt", "diagnosis=1"]
    assert call(monkeypatch, trained, "train", *words) == ""
    assert (run / "diagnosis.json").read_bytes() == before
    assert diagnosed(run) == rows


def test_a_short_run_is_measured_at_its_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = [*SOURCE_ONLY, "adapt=none", "pictures=0", "diagnosis=100", "hydra.run.dir=run"]
    assert call(monkeypatch, tmp_path, "train", *words) == ""
    rows = diagnosed(tmp_path / "run")
    assert {step: set(row) for step, row in rows.items()} == {
        "2": {"gradient/encoder/source", "gradient/decoder/source"}
    }
    assert not (tmp_path / "run/diagnosis.json").exists()


def test_without_labelled_target_images(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of half precision, and with blocks that run again in the backward pass."""
    words = [*own_folders(tmp_path), "hydra.run.dir=run"]
    words += [word for word in TINY if not word.startswith("dataset")]
    words += ["trainer.precision=bf16-mixed", "recompute=true", "diagnosis=1"]
    assert call(monkeypatch, tmp_path, "train", *words) == ""
    assert capsys.readouterr().out.count("there are no labelled target images") == 1
    rows = diagnosed(tmp_path / "run")
    assert {name.partition("/")[0] for name in rows["0"]} == {"gradient", "margin"}
    assert "gradient/encoder/source_contrast" in rows["2"]
    assert "margin/target" not in rows["2"]
    assert not (tmp_path / "run/diagnosis.json").exists()
    page = (tmp_path / "run/report.html").read_text()
    assert "Gradients on the encoder" in page
    assert "Concepts and head by class" not in page


def test_several_processes_are_refused(tmp_path: Path) -> None:
    words = ["logger=none", "pictures=0", "trainer.accelerator=cpu", "trainer.strategy=ddp"]
    config = configured(*words, "trainer.devices=2", "diagnosis=10")
    with pytest.raises(InputError, match=r"^diagnosis=10 .* and here are 2: choose diagnosis=0"):
        build_trainer(config, tmp_path)


def test_a_damaged_file_is_written_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "diagnosis.json"
    assert begun(path, ["a", "b"], ["x"], 5).history == []
    measured = {"cells": [2, 1], "concept": [1, 0], "head": [1, 1], "both": [0, 0]}
    steps = [{"step": step, **measured} for step in (4, 8)]
    content = {"classes": ["a", "b"], "images": ["x"], "latest": 8, "history": steps}
    path.write_text(json.dumps(content))
    assert [one.step for one in begun(path, ["a", "b"], ["x"], 5).history] == [4]
    assert begun(path, ["a", "b"], ["y"], 5).history == []
    assert capsys.readouterr().out == ""
    content["history"][0]["both"] = [2, 0]
    path.write_text(json.dumps(content))
    assert begun(path, ["a", "b"], ["x"], 5).history == []
    assert "its counts do not fit each other; it is written anew" in capsys.readouterr().out
