"""Real runs, killed and resumed, against the same run left alone."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import TINY, call
from PIL import Image
from real_runs import RUN, assert_same_run, start, wait_for
from soak import differences

from sepico_pl.loggers import wandb_logger

pytestmark = pytest.mark.slow

CASES = [
    ("bank", 2, signal.SIGTERM),
    ("distribution", 2, signal.SIGKILL),
    ("prototype", 0, signal.SIGUSR1),
]


@pytest.mark.parametrize(("contrast", "workers", "signum"), CASES)
def test_ended_and_resumed_it_is_the_same_to_the_bit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, contrast: str, workers: int, signum: int
) -> None:
    arguments = [*RUN, f"contrast={contrast}", "masking=consistency"]
    assert call(monkeypatch, tmp_path, "train", *arguments, "hydra.run.dir=whole") == ""
    ended = start(tmp_path, *arguments, f"data.workers={workers}", "hydra.run.dir=ended")
    wait_for(tmp_path / "ended/checkpoints/step_00000003.ckpt", ended, tmp_path)
    if signum == signal.SIGKILL:
        os.killpg(ended.pid, signal.SIGKILL)
        ended.wait()
        resume = ["resume=last", "hydra.run.dir=ended"]
    else:
        os.killpg(ended.pid, signum)
        assert ended.wait(30) == 128 + signum
        said = (tmp_path / "output.log").read_text()
        assert "Traceback" not in said
        requeued = signum == signal.SIGUSR1  # SLURM itself queues a job again after SIGTERM
        assert (tmp_path / "scontrol.log").exists() == requeued
        if requeued:
            assert (tmp_path / "scontrol.log").read_text() == "requeue 7\n"
        resume = ["resume=" + said.rsplit("resume=", 1)[1].split()[0]]
    assert not (tmp_path / "ended/last.ckpt").exists()
    assert call(monkeypatch, tmp_path, "train", *resume) == ""
    assert_same_run(tmp_path / "whole", tmp_path / "ended")
    record = json.loads((tmp_path / "ended/run.json").read_text())
    assert len(record["resumed"]) == 1
    assert record["seed"] == 1
    assert record["versions"]["torch"] == torch.__version__
    assert record["overrides"] == [*arguments, f"data.workers={workers}"]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the checkpoint of a run that was not finished."""
    folder = tmp_path_factory.mktemp("begun")
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert call(monkeypatch, folder, "train", *RUN, "hydra.run.dir=run") == ""
    (folder / "run/last.ckpt").unlink()
    return folder


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["contrast.temperature=1"], ["contrast.temperature was 0.1 and is 1", "start="]),
        (["contrast=bank"], ["contrast._target_", "start="]),
        (["trainer.max_steps=20"], ["trainer.max_steps was 12 and is 20"]),
        (["dataset.train_length=7"], ["dataset.train_length was 6 and is 7"]),
        (["data.batch_size=3"], ["took 2 images", "would now take 3", "data.batch_size"]),
    ],
)
def test_another_run_is_not_resumed(
    monkeypatch: pytest.MonkeyPatch, begun: Path, words: list[str], said: list[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in begun.rglob("*.ckpt")}
    error = call(monkeypatch, begun, "train", "resume=last", "hydra.run.dir=run", *words)
    assert error.startswith("error: resume")
    assert all(part in error for part in said), error
    assert {path: path.stat().st_mtime_ns for path in begun.rglob("*.ckpt")} == before


def test_a_run_is_not_begun_in_anothers_folder(
    monkeypatch: pytest.MonkeyPatch, begun: Path
) -> None:
    record = (begun / "run/run.json").read_bytes()
    error = call(monkeypatch, begun, "train", *RUN, "hydra.run.dir=run")
    assert "hydra.run.dir=run holds a run already" in error
    assert "resume=last" in error
    assert (begun / "run/run.json").read_bytes() == record


def test_what_cannot_be_resumed_is_named(monkeypatch: pytest.MonkeyPatch, begun: Path) -> None:
    error = call(monkeypatch, begun, "train", "resume=last", "hydra.run.dir=nowhere")
    assert "there is no checkpoint in nowhere" in error
    error = call(monkeypatch, begun, "train", "resume=missing.ckpt")
    assert "resume=missing.ckpt: there is no such file" in error
    error = call(monkeypatch, begun, "train", "resume=auto")
    assert "hydra.run.dir=<folder>" in error
    content = torch.load(begun / "run/checkpoints/best.ckpt", weights_only=True)
    weights = {key: content[key] for key in ("config", "state_dict")}
    torch.save(weights, begun / "weights.ckpt")
    error = call(monkeypatch, begun, "train", *RUN, "resume=weights.ckpt")
    assert "weights alone" in error
    assert "start=" in error
    for group in content["optimizer_states"][0]["param_groups"]:
        group["fused"] = None
    torch.save(content, begun / "old.ckpt")
    words = [*RUN, "resume=old.ckpt", "trainer.precision=16-mixed"]
    assert "old.ckpt: an earlier version" in call(monkeypatch, begun, "train", *words)
    truncated = (begun / "run/checkpoints/best.ckpt").read_bytes()[:-1000]
    (begun / "cut.ckpt").write_bytes(truncated)
    error = call(monkeypatch, begun, "train", *RUN, "resume=cut.ckpt")
    assert "cut.ckpt" in error
    assert "is the file whole" in error


def test_images_that_changed_are_another_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for index in range(3):
        image = np.random.default_rng(index).integers(0, 255, (40, 60, 3), dtype=np.uint8)
        for part in ("day", "night"):
            (tmp_path / part).mkdir(exist_ok=True)
            Image.fromarray(image).save(tmp_path / part / f"{index}.png")
        (tmp_path / "labels").mkdir(exist_ok=True)
        Image.fromarray(image[..., 0] % 2).save(tmp_path / "labels" / f"{index}.png")
    folders = ["dataset=folder", "dataset.source_images=day", "dataset.source_labels=labels"]
    folders += ["dataset.target_images=night", "dataset.classes=[a,b]", "data.crop_size=[32,32]"]
    folders += ["data.source_size=[40,60]", "data.target_size=[40,60]", "data.workers=0"]
    short = ["data.batch_size=2", "trainer.max_steps=2", "keep.every=1", "hydra.run.dir=run"]
    assert call(monkeypatch, tmp_path, "train", *folders, *short) == ""
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / "night/1.png")
    error = call(monkeypatch, tmp_path, "train", "resume=run/checkpoints/step_00000001.ckpt")
    assert "the training images are not those that the run began with" in error


def test_a_multirun_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = ["-m", "seed=1,2", *TINY, "keep.every=2", "logger=none", "hydra.sweep.dir=sweep"]
    words += ["hydra.sweep.subdir='${hydra.job.num}'"]
    assert call(monkeypatch, tmp_path, "train", *words) == ""
    first, second = (tmp_path / "sweep" / number for number in "01")
    assert (first / "last.ckpt").is_file()
    finished = (second / "last.ckpt").read_bytes()
    for name in ("last.ckpt", "scores.json"):
        (second / name).unlink()
    assert call(monkeypatch, tmp_path, "train", *words, "resume=auto") == ""
    assert json.loads((second / "run.json").read_text())["resumed"][0]["checkpoint"].endswith(
        "step_00000002.ckpt"
    )
    (tmp_path / "before.ckpt").write_bytes(finished)
    states = [
        torch.load(path, weights_only=True)
        for path in (tmp_path / "before.ckpt", second / "last.ckpt")
    ]
    assert differences(*states, "") == []


def test_a_resumed_run_is_the_same_in_weights_and_biases(tmp_path: Path) -> None:
    ids = {
        wandb_logger(
            project="p",
            name="n",
            group="g",
            tags=[],
            finish_timeout=1,
            save_dir=str(tmp_path / run),
        )._id
        for run in ("one", "one", "two")
        if (tmp_path / run).mkdir(exist_ok=True) is None
    }
    assert len(ids) == 2
    assert (tmp_path / "one/wandb_id").read_text().strip() in ids


def test_an_earlier_checkpoint_sets_later_ones_aside(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else the stale ones would pass for the newest, and new ones would be removed as old."""
    words = [*RUN, "keep.last=9", "logger=none", "hydra.run.dir=run"]
    assert call(monkeypatch, tmp_path, "train", *words) == ""
    folder = tmp_path / "run/checkpoints"
    before = torch.load(tmp_path / "run/last.ckpt", weights_only=True)
    resumed = ["resume=run/checkpoints/step_00000003.ckpt", "keep.last=1", "keep.every=2"]
    assert call(monkeypatch, tmp_path, "train", *resumed) == ""
    aside = sorted(path.name for path in (folder / "set_aside").iterdir())
    checkpoints = ["last.ckpt", "step_00000006.ckpt", "step_00000009.ckpt"]
    assert aside == sorted([*checkpoints, "confusion.json", "scores.json"])
    assert [path.name for path in folder.glob("step_*.ckpt")] == ["step_00000010.ckpt"]
    after = torch.load(tmp_path / "run/last.ckpt", weights_only=True)
    assert differences(before, after, "") == []


def test_jobs_of_a_multirun_do_not_share_a_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = [
        "-m",
        "seed=1,2",
        *TINY,
        "logger=none",
        "hydra.sweep.dir=all",
        "hydra.sweep.subdir=one",
    ]
    error = call(monkeypatch, tmp_path, "train", *words)
    assert "all/one holds a run already (run.json)" in error
    assert "hydra.sweep.subdir" in error
    assert json.loads((tmp_path / "all/one/run.json").read_text())["seed"] == 1
