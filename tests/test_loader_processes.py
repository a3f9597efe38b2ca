"""What the system does to loader processes is said in one line."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hostile_cases import STREETS

pytestmark = pytest.mark.slow

LONG = [word for word in STREETS if "max_steps" not in word]
LONG += ["trainer.max_steps=5000", "logger=none", "keep.every=10", "data.workers=2"]
ENVIRONMENT = {"OMP_NUM_THREADS": "1", **os.environ}


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGBUS])
def test_a_loader_process_that_is_killed(tmp_path: Path, signum: int) -> None:
    run = subprocess.Popen(
        [sys.executable, "-m", "sepico_pl.train", *LONG],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 100
    while not list(tmp_path.glob("run/checkpoints/step_*.ckpt")):
        assert time.monotonic() < until
        time.sleep(0.1)
    os.kill(children(run.pid)[0], signum)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 1
    assert "Traceback" not in said
    assert said.count("error: ") == 1
    assert "error: a loader process was ended by the system" in said
    assert "data.workers" in said.partition("error: ")[2]
    assert list(tmp_path.glob("run/checkpoints/step_*.ckpt"))


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="mounting needs root and unshare"
)
def test_shared_memory_that_is_too_small_is_known_at_the_start(tmp_path: Path) -> None:
    words = " ".join(f"'{word}'" for word in [*STREETS, "data.workers=2", "data.batch_size=4"])
    mounted = "mount -t tmpfs -o size=64k tmpfs /dev/shm"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", f"{mounted} && {sys.executable} -m sepico_pl.train {words}"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    if "mount" in done.stderr:
        pytest.skip(f"there is nothing to mount with: {done.stderr}")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    # A batch of 4: source 32x32 with labels, target 32x64, one validation image 32x64 with label.
    needed = 4 * (4 * 32 * 32 * (12 + 8) + 4 * 32 * 64 * 12) + 10 * 32 * 64 * (12 + 8)
    assert f"need {needed / 2**20:.0f} MiB of shared memory" in done.stderr
    assert "--shm-size" in done.stderr
    assert not list(tmp_path.glob("run/*.ckpt"))
