"""The panel of images over time: drawn from what there is, and training is as without it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import SOURCE_ONLY, TINY, call
from photographs import own_folders
from soak import differences

from sepico_pl.pictures import learnt_from
from sepico_pl.types import IMAGENET_MEAN, IMAGENET_STD, Preview

JUDGED = "trainer.val_check_interval=1"


def test_drawing_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its forwards move batch-norm statistics of student and teacher, and give them back."""
    for count in (0, 2):
        words = [*TINY, JUDGED, f"pictures={count}", f"hydra.run.dir=run{count}"]
        assert call(monkeypatch, tmp_path, "train", *words) == ""
    without, with_pictures = (
        torch.load(tmp_path / f"run{count}/last.ckpt", weights_only=True)["state_dict"]
        for count in (0, 2)
    )
    assert differences(without, with_pictures, "") == []
    assert not (tmp_path / "run0/pictures").exists()
    panel = json.loads((tmp_path / "run2/pictures/panel.json").read_text())
    assert (panel["steps"], len(panel["scenes"])) == ([1, 2, 3], 2)


def test_without_teacher_and_truth(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folders = own_folders(tmp_path)
    folders += ["dataset.source_val_images=day", "dataset.source_val_labels=labels"]
    folders += ["dataset.target_val_images=day", "dataset.target_val_labels=labels"]
    short = [word for word in SOURCE_ONLY if word.startswith(("trainer", "data.b", "data.c"))]
    words = [*folders, *short, "adapt=none", JUDGED, "hydra.run.dir=run"]
    assert call(monkeypatch, tmp_path, "train", *words) == ""
    folder = tmp_path / "run/pictures"
    names = {path.name for path in (folder / "step_00000001").iterdir()}
    assert names == {f"scene_{place}_student.png" for place in range(3)}
    panel = json.loads((folder / "panel.json").read_text())
    assert panel["mixed"] == 0
    assert [scene["name"] for scene in panel["scenes"]] == ["0.png", "1.png", "2.png"]


def test_what_a_step_learnt_from_is_shown_as_it_was() -> None:
    colours = torch.tensor([[0, 128, 255]] * 3).T.reshape(1, 3, 3, 1).expand(1, 3, 3, 3)
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    image = (colours / 255 - mean) / std
    label = torch.tensor([[[0, 18, 255]] * 3])
    confidence = torch.tensor([[[0.0, 0.5, 1.1]] * 3])  # night's class weights reach above 1
    preview = Preview(image, label, confidence, image.flip(-1), label.flip(-1))
    pictures = learnt_from(preview, count=4)
    (target,), (mixed,) = pictures["target"], pictures["mixed"]
    assert np.array_equal(target.image, colours[0].permute(1, 2, 0).numpy())
    assert target.labels["label"][0].tolist() == [0, 18, 255]
    assert target.confidence is not None
    assert target.confidence[0].tolist() == [0, 128, 255]
    assert mixed.labels["label"][0].tolist() == [255, 18, 0]
    assert mixed.confidence is None


def test_other_scenes_are_not_mixed_with_earlier_ones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another count chooses other scenes, and a resumed run may have another count."""
    words = [*TINY, "trainer.val_check_interval=2", "keep.every=2", "dataset.val_length=4"]
    assert call(monkeypatch, tmp_path, "train", *words, "pictures=2", "hydra.run.dir=run") == ""
    folder = tmp_path / "run/pictures"
    before = [scene["name"] for scene in json.loads((folder / "panel.json").read_text())["scenes"]]
    resumed = ["resume=run/checkpoints/step_00000002.ckpt", "pictures=4"]
    assert call(monkeypatch, tmp_path, "train", *resumed, "trainer.val_check_interval=2") == ""
    assert before == ["streets/night/val/0", "streets/night/val/2"]
    assert not folder.exists()  # nothing is judged between step 2 and the end at 3


def test_a_resumed_run_forgets_what_it_draws_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = [*TINY, JUDGED, "keep.every=1", "hydra.run.dir=run"]
    assert call(monkeypatch, tmp_path, "train", *words) == ""
    panel = tmp_path / "run/pictures/panel.json"
    whole = panel.read_bytes()
    assert call(monkeypatch, tmp_path, "train", "resume=run/checkpoints/step_00000002.ckpt") == ""
    assert json.loads(whole)["steps"] == [1, 2, 3]
    assert panel.read_bytes() == whole
    scores = json.loads((tmp_path / "run/scores.json").read_text())
    aside = tmp_path / "run/checkpoints/set_aside/scores.json"
    assert json.loads(aside.read_text()) == scores
