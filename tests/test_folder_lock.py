"""A run folder belongs to one process at a time."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import TINY

from sepico_pl import folder_lock
from sepico_pl.folder_lock import lock_folder, locked_folder

HOLD = """
import sys, time
from pathlib import Path
from sepico_pl.folder_lock import lock_folder
lock_folder(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def holder(folder: Path) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, folder], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_until_the_first_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_lock, "SECONDS", 0.2)
    first = holder(tmp_path / "run")
    try:
        with pytest.raises(SystemExit, match=f"in use by another run .process {first.pid} on"):
            lock_folder(tmp_path / "run")
    finally:
        first.kill()
        first.wait()
    lock_folder(tmp_path / "run")
    lock_folder(tmp_path / "run")  # this process's own already
    assert f"process {os.getpid()} " in (tmp_path / "run/run.lock").read_text()


def test_a_folder_can_be_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_lock, "SECONDS", 5.0)
    with locked_folder(tmp_path / "run"):
        pass
    first = holder(tmp_path / "run")
    first.kill()
    first.wait()


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"):
        lock_folder(tmp_path / "run")
    assert (tmp_path / "precious").read_text() == "x"


def test_a_disk_without_locks_does_not_keep_from_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def without_locks(*_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", without_locks)
    lock_folder(tmp_path / "run")
    assert "knows no locks" in capsys.readouterr().out


def start(folder: Path, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "sepico_pl.train", *TINY, "logger=none", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"OMP_NUM_THREADS": "1", **os.environ},
    )


@pytest.mark.slow
def test_of_two_runs_in_one_folder_one_is_refused(tmp_path: Path) -> None:
    pair = [start(tmp_path, f"seed={seed}", "hydra.run.dir=run") for seed in (1, 2)]
    outcomes = [(*process.communicate(timeout=240), process.returncode) for process in pair]
    assert sorted(code for *_, code in outcomes) == [0, 1], outcomes
    refused = next(error for _, error, code in outcomes if code)
    assert len(refused.splitlines()) == 1
    assert refused.startswith("error: ")
    assert "hydra.run.dir" in refused


@pytest.mark.slow
def test_two_runs_of_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    pair = [start(tmp_path, f"seed={seed}") for seed in (1, 2)]
    assert [process.wait(240) for process in pair] == [0, 0]
    assert len(list(tmp_path.glob("outputs/*/*/last.ckpt"))) == 2


@pytest.mark.slow
def test_a_run_can_be_resumed_at_once_after_its_end(tmp_path: Path) -> None:
    """Loader workers of a killed run live on for some seconds, and hold its lock."""
    words = ["hydra.run.dir=run", "data.workers=2", "keep.every=1", "trainer.max_steps=500"]
    run = start(tmp_path, *words)
    until = time.monotonic() + 240
    while not list(tmp_path.glob("run/checkpoints/step_*.ckpt")):
        assert run.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.wait()
    again = subprocess.Popen(
        [sys.executable, "-m", "sepico_pl.train", "resume=last", "hydra.run.dir=run"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        env={"OMP_NUM_THREADS": "1", **os.environ},
    )
    first = [again.stdout.readline() for _ in range(2)][-1]  # after "loading ..."
    again.kill()
    again.wait()
    assert "goes on after step" in first
