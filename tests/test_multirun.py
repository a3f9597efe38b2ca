"""Several runs by one command: a failed one does not end the others, and the end names it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import TINY, run
from real_runs import processes_of, start, wait_until_alone

pytestmark = pytest.mark.slow
SHORT = [*TINY, "logger=none", "pictures=0", "hydra.sweep.dir=all"]


@pytest.mark.parametrize("launcher", [[], ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]])
def test_refused_and_diverged_jobs_do_not_end_the_others(tmp_path: Path, launcher: list) -> None:
    words = [*SHORT, "optim.learning_rate=-1,1e30,1e-4", "hydra.sweep.subdir='${hydra.job.num}'"]
    words += ["optim.warmup_steps=0", "trainer.log_every_n_steps=1", *launcher]
    done = run("train", "-m", *words, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert (tmp_path / "all/2/last.ckpt").is_file()
    assert (tmp_path / "all/2/scores.json").is_file()
    assert not (tmp_path / "all/2/run_failed.txt").exists()
    assert (
        (tmp_path / "all/0/run_failed.txt").read_text().startswith("optim.learning_rate=-1 must be")
    )
    assert "the loss is not finite" in (tmp_path / "all/1/run_failed.txt").read_text()
    end = done.stderr.splitlines()[-3:]
    assert end[0].startswith("failed: all/0: optim.learning_rate=-1 must be")
    assert end[1].startswith("failed: all/1: the loss is not finite")
    assert end[2] == "error: 2 runs of this multirun failed, see above; the others are whole"
    assert "compare: python -m sepico_pl.compare all" in done.stdout
    assert "Traceback" not in done.stderr

    compared = run("compare", "all", cwd=tmp_path)
    assert "all/0: failed: optim.learning_rate=-1 must be" in compared.stdout

    again = run("train", "-m", *words, "optim.learning_rate=1e-4", "resume=auto", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert not (tmp_path / "all/0/run_failed.txt").exists()


def test_a_signal_ends_all_jobs(tmp_path: Path) -> None:
    words = [*SHORT, "seed=1,2", "trainer.max_steps=5000", "keep.every=1"]
    command = [sys.executable, "-m", "sepico_pl.train", "-m", *words]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={"OMP_NUM_THREADS": "1", **os.environ},
    )
    until = time.monotonic() + 240
    while not list(tmp_path.glob("all/*/checkpoints/step_*.ckpt")):
        assert time.monotonic() < until
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT, said
    assert len(list(tmp_path.glob("all/*"))) == 2  # a run's folder and multirun.yaml
    assert "Traceback" not in said


PARALLEL = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweep.subdir='${seed}'"]


def test_parallel_jobs_have_the_threads_that_are_asked_for(tmp_path: Path) -> None:
    """Other numbers of threads give other sums than those of the serial runs."""
    words = [*SHORT, *PARALLEL, "seed=1"]
    done = run("train", "-m", *words, cwd=tmp_path, OMP_NUM_THREADS="2")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "all/1/run.json").read_text())["threads"] == 2


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen]:
    """Begin three endless jobs, two at once; both have saved a step."""
    short = [word for word in SHORT if not word.startswith(("adapt.", "trainer.max_steps"))]
    words = [*short, *PARALLEL, "adapt=none", "seed=1,2,3", "trainer.max_steps=5000"]
    process = start(tmp_path, "-m", *words, "keep.every=2", is_job=False)
    until = time.monotonic() + 240
    while any(not saved(tmp_path, seed) for seed in (1, 2)):
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.05)
    yield process
    if processes_of(process.pid):
        os.killpg(process.pid, signal.SIGKILL)


def saved(folder: Path, seed: int) -> int:
    """Return the newest step that a job has saved."""
    names = (folder / f"all/{seed}/checkpoints").glob("step_*.ckpt")
    return max((int(path.stem.removeprefix("step_")) for path in names), default=0)


@pytest.mark.parametrize(("signum", "group"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_parallel_jobs_save_before_the_command_ends(
    tmp_path: Path, process: subprocess.Popen, signum: int, group: bool
) -> None:
    (os.killpg if group else os.kill)(process.pid, signum)
    said = (tmp_path / "output.log").read_text
    assert process.wait(60) == 128 + signum, said()
    wait_until_alone(process.pid, 3)
    assert "Traceback" not in said()
    for seed in (1, 2):
        path = tmp_path / f"all/{seed}/checkpoints/step_{saved(tmp_path, seed):08}.ckpt"
        assert f"resume={path}\n" in said()
    assert not list(tmp_path.glob("all/*/run_failed.txt"))
    assert not (tmp_path / "all/3/checkpoints").exists()
    assert said().splitlines()[-1].endswith("resume=auto hydra.sweep.dir=all")


def test_parallel_jobs_save_and_end_where_the_command_is_killed(
    tmp_path: Path, process: subprocess.Popen
) -> None:
    process.kill()
    assert process.wait(10) == -signal.SIGKILL
    wait_until_alone(process.pid, 20)
    said = (tmp_path / "output.log").read_text()
    for seed in (1, 2):
        path = tmp_path / f"all/{seed}/checkpoints/step_{saved(tmp_path, seed):08}.ckpt"
        assert f"resume={path}\n" in said
