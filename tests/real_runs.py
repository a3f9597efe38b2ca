"""Trainings as processes of their own: to begin, to end by signals, to compare to the bit."""

import os
import subprocess
import sys
import time
from pathlib import Path

import torch
from command_line import TINY
from soak import differences, logged, written

RUN = [
    *[word for word in TINY if "max_steps" not in word],
    "trainer.max_steps=12",
    "trainer.val_check_interval=5",
    "trainer.log_every_n_steps=1",
    "keep.every=3",
]


def assert_same_run(one: Path, other: Path) -> None:
    states = [torch.load(folder / "last.ckpt", weights_only=True) for folder in (one, other)]
    assert differences(*states, "") == []
    assert {"state_dict", "optimizer_states", "lr_schedulers", "loops"} <= states[0].keys()
    assert logged(one) == logged(other)
    assert written(one) == written(other)
    assert any("scene_0_teacher" in name for name in written(one))
    names = [
        sorted(path.name for path in (folder / "checkpoints").iterdir()) for folder in (one, other)
    ]
    assert names[0] == names[1] == ["best.ckpt", "step_00000006.ckpt", "step_00000009.ckpt"]
    best = [
        torch.load(folder / "checkpoints/best.ckpt", weights_only=True) for folder in (one, other)
    ]
    assert differences(*best, "") == []


def slurm(folder: Path) -> dict[str, str]:
    """Return the environment of a SLURM job of one task, whose scontrol notes what it is told."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin/scontrol").write_text(f'#!/bin/sh\necho "$@" >> {folder}/scontrol.log\n')
    (folder / "bin/scontrol").chmod(0o755)
    return {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NAME": "train",
        "SLURM_NTASKS": "1",
        "SLURM_NTASKS_PER_NODE": "1",
        "SLURM_NODELIST": "localhost",
        "SLURM_NODEID": "0",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
    }


def train_command(*words: str) -> list[str]:
    return [sys.executable, "-m", "sepico_pl.train", *words]


def start(folder: Path, *words: str, is_job: bool = True) -> subprocess.Popen:
    return subprocess.Popen(
        train_command(*words),
        cwd=folder,
        stdout=(folder / "output.log").open("a"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env={"OMP_NUM_THREADS": "1", **os.environ, **(slurm(folder) if is_job else {})},
    )


def wait_for(path: Path, process: subprocess.Popen, folder: Path) -> None:
    for _ in range(1200):
        if path.exists():
            return
        assert process.poll() is None, (folder / "output.log").read_text()
        time.sleep(0.05)
    raise AssertionError(f"{path} never came: {(folder / 'output.log').read_text()}")


def processes_of(session: int) -> list[str]:
    """Return the command lines of the processes of a session, zombies left out."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, belongs = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(belongs) == session and state != "Z":
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it has ended
            continue
    return found


def wait_until_alone(session: int, seconds: float) -> None:
    """Wait for the end of every process of a session; they must not take longer than this."""
    until = time.monotonic() + seconds
    while processes_of(session):
        assert time.monotonic() < until, processes_of(session)
        time.sleep(0.05)


def end_by(process: subprocess.Popen, signum: int, folder: Path) -> str:
    """Send a signal to a run's whole group; return what it said once it has ended as it should."""
    os.killpg(process.pid, signum)
    said = (folder / "output.log").read_text
    assert process.wait(60) == 128 + signum, said()
    assert "Traceback" not in said()
    assert "Exception ignored" not in said()
    wait_until_alone(process.pid, 3)
    return said()
