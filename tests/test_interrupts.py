"""Signals to the whole group of a run's processes, as a terminal and SLURM send them."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from command_line import call
from real_runs import (
    RUN,
    assert_same_run,
    end_by,
    start,
    wait_for,
    wait_until_alone,
)
from soak import differences

pytestmark = pytest.mark.slow

SHORT = [*RUN, "adapt=none", "contrast=null", "pictures=0", "logger=none"]
LONG_JUDGING = ["dataset.val_length=300", "data.judge_batch_size=1", "keep.last=9"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that nobody disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert call(monkeypatch, folder, "train", *RUN, "hydra.run.dir=run") == ""
    return folder / "run"


def resumed_is(whole: Path, monkeypatch: pytest.MonkeyPatch, folder: Path, said: str) -> None:
    resume = "resume=" + said.rsplit("resume=", 1)[1].split()[0]
    assert call(monkeypatch, folder, "train", resume) == ""
    assert_same_run(whole, folder / "run")


@pytest.mark.parametrize(
    ("workers", "signum"),
    [
        (2, signal.SIGINT),
        (2, signal.SIGTERM),
        (2, signal.SIGUSR1),
        (2, signal.SIGHUP),
        (0, signal.SIGHUP),
    ],
)
def test_a_signal_to_the_group_saves_the_step_under_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, whole: Path, workers: int, signum: int
) -> None:
    running = start(tmp_path, *RUN, f"data.workers={workers}", "hydra.run.dir=run")
    wait_for(tmp_path / "run/checkpoints/step_00000003.ckpt", running, tmp_path)
    said = end_by(running, signum, tmp_path)
    resumed_is(whole, monkeypatch, tmp_path, said)
