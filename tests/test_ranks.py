"""Two real processes against one with the whole batch."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import call
from soak import logged

from sepico_pl.data.streets import streets
from sepico_pl.types import IGNORE_INDEX

pytestmark = pytest.mark.slow

DRIVER = Path(__file__).with_name("ranks_driver.py")
# Without batch norm, which would need a GPU to be synchronised, and dropout, which each rank draws
# for itself. In float64: AdamW turns the rounding of a gradient that should be 0 into a whole step.
RUN = [
    "dataset.size=[32,64]",
    "dataset.train_length=6",
    "dataset.val_length=3",
    "data.crop_size=[32,32]",
    "adapt.contrast_start=1",
    "adapt.confidence_threshold=0.15",
    "contrast=bank",
    "masking=consistency",
    "contrast.diversity_weight=1",
    "norm=group",
    "head.decode.dropout=0",
    "trainer.precision=64-true",
    "trainer.accelerator=cpu",
    "trainer.log_every_n_steps=1",
    "trainer.enable_progress_bar=false",
]
TWO = ["trainer.devices=2", "trainer.strategy=ddp", "data.batch_size=2"]
STEPS = 4


def command(*words: str) -> list[str]:
    return [sys.executable, str(DRIVER), *RUN, *words]


def environment(folder: Path, **variables: str) -> dict[str, str]:
    return {"OMP_NUM_THREADS": "1", **os.environ, "EXCHANGES": str(folder), **variables}


def two_ranks(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(*TWO, *words, "hydra.run.dir=two"),
        cwd=folder,
        env=environment(folder, **variables),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def numbers(run: Path) -> list[dict[str, float]]:
    return [{name: float(v) for name, v in row.items()} for row in logged(run).values()]


def state(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "last.ckpt", weights_only=True)["state_dict"]


def drift(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], part: str) -> float:
    """Return the largest relative difference of a tensor whose name begins with `part`."""
    assert one.keys() == other.keys()
    return max(
        float(
            (one[name] - other[name]).double().norm() / one[name].double().norm().clamp(min=1e-12)
        )
        for name in one
        if name.startswith(part)
    )


def one_process(folder: Path, *more: str) -> Path:
    """Return the run of one process with the whole batch."""
    words = [*RUN, f"trainer.max_steps={STEPS}", "data.batch_size=4", "hydra.run.dir=one", *more]
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert call(monkeypatch, folder, "train", *words) == ""
    return folder / "one"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return one_process(tmp_path_factory.mktemp("alone"))


def test_two_ranks_are_one_with_the_whole_batch(alone: Path, tmp_path: Path) -> None:
    done = two_ranks(tmp_path, f"trainer.max_steps={STEPS}")
    assert done.returncode == 0, done.stderr
    one, two = state(alone), state(tmp_path / "two")
    for name in ("count", "written"):
        names = [key for key in one if key.endswith(name)]
        assert names
        assert all(torch.equal(one[key], two[key]) for key in names)
    assert drift(one, two, "contrast.") < 1e-12
    assert drift(one, two, "student.") < 1e-12
    assert drift(one, two, "teacher.") < 1e-12
    ours, theirs = (numbers(run) for run in (alone, tmp_path / "two"))
    assert {
        "train/gradient_norm",
        "train/target_contrast_gradient",
        "train/confidence",
    } <= set().union(*ours)
    for row, other in zip(ours, theirs, strict=True):
        assert row == pytest.approx(other, rel=1e-9)
    exchanged = [(tmp_path / f"exchanges_{rank}").read_text() for rank in (0, 1)]
    assert exchanged == ["x\n" * STEPS] * 2


def test_two_ranks_have_the_contrasts_control_of_the_whole_batch(tmp_path: Path) -> None:
    """With other numbers of selected pixels on each rank."""
    words = ["adapt=auxiliary", "masking=none"]
    alone = one_process(tmp_path, *words)
    done = two_ranks(tmp_path, f"trainer.max_steps={STEPS}", *words)
    assert done.returncode == 0, done.stderr
    for part in ("student.", "teacher.", "contrast."):
        assert drift(state(alone), state(tmp_path / "two"), part) < 1e-12
    ours, theirs = (numbers(run) for run in (alone, tmp_path / "two"))
    assert "train/target_auxiliary" in ours[-1]
    for row, other in zip(ours, theirs, strict=True):
        assert row == pytest.approx(other, rel=1e-9)


def test_without_the_reduction_it_would_not_be(alone: Path, tmp_path: Path) -> None:
    words = [f"trainer.max_steps={STEPS}", "dataset.val_length=1"]
    done = two_ranks(tmp_path, *words, SABOTAGE="sum_over_ranks")
    assert done.returncode == 0, done.stderr
    # The process without a validation image of its own counts nothing.
    confusion = json.loads((tmp_path / "two/confusion.json").read_text())
    _, label = streets(size=(32, 64), seed=0, train_length=6, val_length=1).target_val[0]
    assert np.sum(confusion["target"]) == np.sum(label != IGNORE_INDEX)
    assert drift(state(alone), state(tmp_path / "two"), "student.") > 1e-5
    parts = drift(state(alone), state(tmp_path / "two"), "contrast.")
    assert parts > 1e-5


def test_a_rank_that_dies_ends_the_run_and_one_process_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    long = ["trainer.max_steps=5000", "keep.every=2", "hydra.run.dir=two", "logger=none"]
    log = tmp_path / "output.log"
    running = subprocess.Popen(
        command(*TWO, *long),
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 200
        while not list((tmp_path / "two").glob("checkpoints/step_*.ckpt")):
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        ranks = [
            pid
            for pid in children
            if b"train_ddp_process_1" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        os.kill(int(ranks[0]), signal.SIGKILL)
        assert running.wait(60) != 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
    said = log.read_text()
    assert "Traceback" not in said
    ours = "error: another process of this run ended" in said and "resume=last" in said
    # Lightning looks after its processes every five seconds, and may be the first to notice.
    assert ours or "terminated with code -9" in said, said
    resumed = ["resume=last", "hydra.run.dir=two", "trainer.devices=1", "trainer.strategy=auto"]
    error = call(monkeypatch, tmp_path, "train", *resumed, "data.batch_size=2")
    assert "took 4 images and would now take 2" in error
