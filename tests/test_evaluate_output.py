"""What `evaluate` writes: nothing of another protocol is lost, and a bad name is told at once."""

import json
import shutil
from pathlib import Path

import pytest
from command_line import SOURCE_ONLY, call
from pytorch_lightning import Trainer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judged")
    with pytest.MonkeyPatch.context() as patch:
        words = [*SOURCE_ONLY, "adapt=none", "logger=none", "pictures=0", "hydra.run.dir=run"]
        assert call(patch, folder, "train", *words) == ""
    return folder / "run/last.ckpt"


def test_another_protocol_is_refused_before_judging_and_the_same_replaced(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluate(*words: str) -> str:
        return call(monkeypatch, tmp_path, "evaluate", f"checkpoint={checkpoint}", *words)

    assert evaluate("output=a.json") == ""
    before = (tmp_path / "a.json").read_bytes()
    assert evaluate("output=a.json") == ""
    assert (tmp_path / "a.json").read_bytes() == before

    monkeypatch.setattr(Trainer, "validate", None)  # nothing is judged from here on
    for words, said in (
        (["flip=true"], "flip was False and is True"),
        (["scales=[1.0,0.5]"], "scales was [1.0] and is [1.0, 0.5]"),
        (["batch_norm=target"], "batch_norm was running and is target"),
    ):
        error = evaluate("output=a.json", *words)
        assert error.startswith("error: a.json holds other scores (")
        assert said in error
        assert error.endswith("keep it, and choose another file by output=<file>")
        assert len(error.splitlines()) == 1
    assert (tmp_path / "a.json").read_bytes() == before


def test_a_run_folder_that_moved_is_judged_again(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    shutil.copy(checkpoint, tmp_path / "run/last.ckpt")
    assert call(monkeypatch, tmp_path, "evaluate", "checkpoint=run/last.ckpt") == ""
    before = (tmp_path / "run/last.scores.json").read_text()
    (tmp_path / "run").rename(tmp_path / "moved")
    assert call(monkeypatch, tmp_path, "evaluate", "checkpoint=moved/last.ckpt") == ""
    assert (tmp_path / "moved/last.scores.json").read_text() == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("folder", "Is a directory"),
        ("file/a.json", "output=file/a.json cannot be written"),
        ("damaged.json", "damaged.json: cannot be read as JSON"),
        ("scores.json", "scores.json holds other scores (network was None and is student"),
    ],
)
def test_a_name_that_will_not_do_is_told_before_judging(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "damaged.json").write_text("{")
    of_training = {"target": {"mIoU": 1.0}, "batch_norm": "running"}
    (tmp_path / "scores.json").write_text(json.dumps(of_training))
    monkeypatch.setattr(Trainer, "validate", None)
    words = [f"checkpoint={checkpoint}", f"output={name}"]
    error = call(monkeypatch, tmp_path, "evaluate", *words)
    assert said in error
    assert error.startswith("error: ")
    assert len(error.splitlines()) == 1


def test_a_run_goes_on_from_its_checkpoint_with_damaged_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*SOURCE_ONLY, "adapt=none", "keep.every=1", "trainer.log_every_n_steps=1"]
    assert call(monkeypatch, tmp_path, "train", *words, "hydra.run.dir=run") == ""
    run = tmp_path / "run"
    whole = (run / "metrics.csv").read_text()
    (run / "metrics.csv").write_text(whole[: len(whole) * 2 // 3])
    (run / "pictures/panel.json").write_text('{"scenes": ')
    capsys.readouterr()
    resumed = "resume=run/checkpoints/step_00000002.ckpt"
    assert call(monkeypatch, tmp_path, "train", resumed) == ""
    printed = capsys.readouterr().out
    assert "the file is metrics.damaged.csv now" in printed
    assert "panel.json: cannot be read as JSON" in printed
    assert (run / "metrics.damaged.csv").read_text() == whole[: len(whole) * 2 // 3]
    last = (run / "metrics.csv").read_text().splitlines()[-1]
    assert last.split(",")[-3:] == whole.splitlines()[-1].split(",")[-3:]
    assert json.loads((run / "pictures/panel.json").read_text())["steps"][-1] == 3
