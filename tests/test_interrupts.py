"""Signals to the whole group of a run's processes, as a terminal and SLURM send them."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import miniatures
import pytest
import torch
from command_line import call
from real_runs import (
    RUN,
    assert_same_run,
    end_by,
    start,
    train_command,
    wait_for,
    wait_until_alone,
)
from soak import differences

from sepico_pl.signal_handling import ENDING_SIGNALS, SignalHandler

slow = pytest.mark.slow

QUICK = [
    *[word for word in RUN if not word.startswith(("adapt.", "keep."))],
    *["adapt=none", "pictures=0", "logger=none", "keep.every=1"],
]


def changed(words: list[str], **others: object) -> list[str]:
    """Return the words with other values, by key without its group."""
    kept = [word for word in words if word.partition("=")[0].rpartition(".")[2] not in others]
    groups = {"max_steps": "trainer.", "val_check_interval": "trainer.", "val_length": "dataset."}
    return kept + [f"{groups[key]}{key}={value}" for key, value in others.items()]


def train_here(folder: Path, *words: str) -> str:
    with pytest.MonkeyPatch.context() as monkeypatch:
        return call(monkeypatch, folder, "train", *words)


def resumed_from(said: str) -> Path:
    return Path(said.rsplit("resume=", 1)[1].split()[0])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that nobody disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    assert train_here(folder, *RUN, "hydra.run.dir=run") == ""
    return folder / "run"


@slow
def test_a_ctrl_c_saves_the_step_under_way(tmp_path: Path, whole: Path) -> None:
    """With loader workers, which a terminal asks to end too; test_resume.py has other signals."""
    running = start(tmp_path, *RUN, "data.workers=2", "hydra.run.dir=run")
    wait_for(tmp_path / "run/checkpoints/step_00000003.ckpt", running, tmp_path)
    said = end_by(running, signal.SIGINT, tmp_path)
    assert train_here(tmp_path, f"resume={resumed_from(said)}") == ""
    assert_same_run(whole, tmp_path / "run")


@slow
def test_a_signal_during_a_validation_waits_for_its_end(tmp_path: Path) -> None:
    """Sent twice, with and without workers; each validation takes longer than a step."""
    words = changed(QUICK, max_steps=3, val_check_interval=1, val_length=60)
    assert train_here(tmp_path, *words, "hydra.run.dir=whole") == ""
    for workers in (0, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        running = start(folder, *words, f"data.workers={workers}", "hydra.run.dir=run")
        wait_for(folder / "run/checkpoints/step_00000001.ckpt", running, folder)
        time.sleep(0.3)
        os.killpg(running.pid, signal.SIGTERM)
        said = end_by(running, signal.SIGTERM, folder)
        assert resumed_from(said).name == "step_00000002.ckpt"
        assert train_here(folder, f"resume={resumed_from(said)}") == ""
        for name in ("last.ckpt", "checkpoints/best.ckpt"):
            states = [torch.load(run / name) for run in (tmp_path / "whole", folder / "run")]
            assert differences(*states, "") == []


@slow
def test_pressing_twice_breaks_no_save_off(tmp_path: Path) -> None:
    """Twice at once, then without end from the moment that the step is being written."""
    running = start(tmp_path, *QUICK, "data.workers=2", "keep.every=100", "hydra.run.dir=run")
    metrics = tmp_path / "run/checkpoints/best.ckpt"  # of step 5
    wait_for(metrics, running, tmp_path)
    os.killpg(running.pid, signal.SIGINT)
    os.killpg(running.pid, signal.SIGINT)
    while running.poll() is None and not list(tmp_path.rglob(".step_*.partial")):
        time.sleep(0.0005)
    while running.poll() is None:
        os.killpg(running.pid, signal.SIGINT)
        time.sleep(0.002)
    said = (tmp_path / "output.log").read_text()
    assert running.returncode == 128 + signal.SIGINT, said
    assert "Traceback" not in said
    assert torch.load(resumed_from(said), weights_only=True)["global_step"] > 5
    wait_until_alone(running.pid, 3)


@slow
def test_a_ctrl_c_reaches_every_rank(tmp_path: Path) -> None:
    """Lightning starts the second one in the same group; each has loaders of its own."""
    ranks = ["trainer.accelerator=cpu", "trainer.devices=2", "trainer.strategy=ddp"]
    words = [*changed(QUICK, max_steps=4000, val_check_interval=4000), *ranks, "data.workers=1"]
    running = start(tmp_path, *words, "hydra.run.dir=run", is_job=False)
    wait_for(tmp_path / "run/checkpoints/step_00000002.ckpt", running, tmp_path)
    said = end_by(running, signal.SIGINT, tmp_path)
    assert said.count("SIGINT: the run ends") == 1
    assert torch.load(resumed_from(said), weights_only=True)["global_step"] > 2


@slow
def test_a_late_second_ctrl_c_ends_at_once_and_leaves_nobody(tmp_path: Path) -> None:
    words = changed(QUICK, val_check_interval=3, val_length=4000)
    running = start(tmp_path, *words, "data.workers=2", "hydra.run.dir=run")
    wait_for(tmp_path / "run/checkpoints/step_00000002.ckpt", running, tmp_path)
    time.sleep(1)
    os.killpg(running.pid, signal.SIGINT)
    time.sleep(4)
    assert running.poll() is None
    said = end_by(running, signal.SIGINT, tmp_path)
    assert "SIGINT: the run ends once its last step is saved; Ctrl-C after 3 seconds" in said
    assert resumed_from(said).name == "step_00000002.ckpt"


@slow
def test_no_loader_outlives_a_run_that_is_killed(tmp_path: Path) -> None:
    running = start(tmp_path, *QUICK, "data.workers=2", "hydra.run.dir=run")
    wait_for(tmp_path / "run/checkpoints/step_00000002.ckpt", running, tmp_path)
    running.kill()
    assert running.wait(10) == -signal.SIGKILL
    wait_until_alone(running.pid, 8)


def until(path: Path, output: int) -> None:
    """Read what a run prints until a file is there."""
    for _ in range(1200):
        if path.exists():
            return
        if select.select([output], [], [], 0.05)[0]:
            os.read(output, 10000)
    raise AssertionError(path)


@slow
@pytest.mark.parametrize("ignored", [False, True])
def test_a_closed_terminal_loses_nothing(tmp_path: Path, ignored: bool) -> None:
    """The kernel sends SIGHUP; a run that ignores it goes on, printing to nobody."""
    words = [*QUICK, "trainer.enable_progress_bar=true", "data.workers=2", "hydra.run.dir=run"]
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
        os.chdir(tmp_path)
        os.execv(sys.executable, train_command(*words))
    until(tmp_path / "run/checkpoints/step_00000002.ckpt", terminal)
    os.close(terminal)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == (0 if ignored else 128 + signal.SIGHUP)
    assert (tmp_path / "run/scores.json").is_file() == ignored
    assert list((tmp_path / "run/checkpoints").glob("step_*.ckpt"))
    wait_until_alone(pid, 3)


@slow
def test_a_tee_that_ends_with_the_same_ctrl_c_loses_nothing(tmp_path: Path) -> None:
    words = [*QUICK, "trainer.enable_progress_bar=true", "hydra.run.dir=run"]
    running = subprocess.Popen(
        train_command(*words),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert running.stdout is not None
    until(tmp_path / "run/checkpoints/step_00000002.ckpt", running.stdout.fileno())
    os.killpg(running.pid, signal.SIGINT)
    running.stdout.close()
    assert running.wait(60) == 128 + signal.SIGINT


@pytest.fixture
def _signals_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_signals_as_before")
def test_a_hang_up_that_nohup_ignores_stays_ignored(tmp_path: Path) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    handler = SignalHandler(tmp_path)
    handler.install(announces=False)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    signal.raise_signal(signal.SIGHUP)
    assert handler.signum == 0
    signal.raise_signal(signal.SIGUSR1)
    handler.restore_output()
    assert handler.signum == signal.SIGUSR1


@slow
def test_a_signal_during_the_final_judging_says_how_to_go_on(tmp_path: Path) -> None:
    words = changed(QUICK, max_steps=2, val_check_interval=2, val_length=400)
    running = start(tmp_path, *words, "data.workers=2", "hydra.run.dir=run")
    wait_for(tmp_path / "run/last.ckpt", running, tmp_path)
    time.sleep(0.5)
    said = end_by(running, signal.SIGTERM, tmp_path)
    assert resumed_from(said) == tmp_path / "run/last.ckpt"
    assert not (tmp_path / "run/scores.json").exists()
    assert train_here(tmp_path, f"resume={resumed_from(said)}") == ""
    assert (tmp_path / "run/scores.json").is_file()


SIGNALLING = """
import os, signal
from sepico_pl import train
from sepico_pl.keeping import KeepCheckpoints
from sepico_pl.data.datamodule import AdaptationData
from sepico_pl.task import SegmentationTask


def after(kind, name, then):
    method = getattr(kind, name)

    def replaced(self, *arguments, **named):
        method(self, *arguments, **named)
        then(self)

    setattr(kind, name, replaced)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def in_the_last_batch(task):
    if task.trainer.state.fn == "validate":
        interrupt()


def without_labels(callback):
    AdaptationData.domains = ()
    interrupt()


"""
"""Trains, and sends itself one signal, where a line that is added says."""
MOMENTS = {
    "in_the_last_batch": 'after(SegmentationTask, "validation_step", in_the_last_batch)',
    "without_labels": 'after(KeepCheckpoints, "on_train_end", without_labels)',
    "between": 'after(AdaptationData, "teardown", lambda _: interrupt())',
}


@slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_after_the_last_step_ends_all_jobs(tmp_path: Path, moment: str) -> None:
    """With one image to judge on, so that no later one acts upon the signal."""
    words = changed(QUICK, max_steps=1, val_check_interval=1, val_length=1)
    script = f"{SIGNALLING}{MOMENTS[moment]}\ntrain.main()\n"
    done = subprocess.run(
        [sys.executable, "-c", script, "-m", *words, "seed=1,2", "hydra.sweep.dir=all"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"OMP_NUM_THREADS": "1", **os.environ},
        check=False,
    )
    assert done.returncode == 128 + signal.SIGINT, done.stderr
    assert "SIGINT: the run ends" in done.stderr
    assert resumed_from(done.stdout).name == "last.ckpt"
    assert "Traceback" not in done.stderr
    assert len(list(tmp_path.glob("all/*/last.ckpt"))) == 1
    is_judged = moment == "in_the_last_batch"
    assert len(list(tmp_path.glob("all/*/scores.json"))) == is_judged
    assert ("target validation of the student" in done.stdout) == is_judged


@slow
def test_a_sanity_check_is_no_validation(tmp_path: Path, whole: Path) -> None:
    """Lightning's, of the first images before the first step. Loaders end with their run."""
    words = [*RUN, "trainer.num_sanity_val_steps=2", "data.workers=2", "hydra.run.dir=run"]
    running = start(tmp_path, *words)
    assert running.wait(120) == 0
    wait_until_alone(running.pid, 3)
    assert_same_run(whole, tmp_path / "run")


@slow
def test_a_sanity_check_makes_no_best_checkpoint(tmp_path: Path) -> None:
    """Where nothing is learnt, the first validation is no better than the sanity check."""
    words = [*changed(QUICK, max_steps=2, val_check_interval=2), "optim.learning_rate=1e-30"]
    words += ["adapt.batch_norm=target", "trainer.num_sanity_val_steps=2", "hydra.run.dir=run"]
    before = signal.getsignal(signal.SIGINT)
    assert train_here(tmp_path, *words) == ""
    best = torch.load(tmp_path / "run/checkpoints/best.ckpt", weights_only=True)
    assert best["global_step"] == 2
    assert signal.getsignal(signal.SIGINT) is before


@slow
def test_a_checkpoint_whose_next_loss_is_not_finite_is_not_gone_on_from(tmp_path: Path) -> None:
    """With keep.last=1 the one before it is still there; loaders end with the error."""
    words = [*QUICK, "optim.learning_rate=1e4", "optim.warmup_steps=0", "data.workers=2"]
    running = start(tmp_path, *words, "keep.last=1", "hydra.run.dir=run")
    assert running.wait(120) == 1
    wait_until_alone(running.pid, 3)
    said = (tmp_path / "output.log").read_text()
    step = int(re.search(r"not finite at step (\d+)", said)[1])
    assert step > 1, said
    good = f"checkpoints/step_{step - 1:08}.ckpt"
    assert f"last good checkpoint: {tmp_path / 'run' / good} (step_{step:08}.ckpt" in said
    assert [path.name for path in (tmp_path / "run/checkpoints").glob("step_*")] == [good[12:]]
    assert (tmp_path / f"run/checkpoints/set_aside/step_{step:08}.ckpt").is_file()
    error = train_here(tmp_path, "resume=last", "hydra.run.dir=run")
    assert f"not finite at step {step} " in error


@slow
def test_copying_leaves_nobody_behind(tmp_path: Path) -> None:
    """A SIGTERM to `prepare` alone; those that copy wait for work that never comes."""
    for name in ("gta", "cityscapes"):
        miniatures.ALL[name](tmp_path / "data" / name)
    miniatures.many_noisy(tmp_path / "data/gta", 25)
    words = ["dataset=gta", "data.source_size=[360,720]", f"data_root={tmp_path / 'data'}"]
    command = [sys.executable, "-m", "sepico_pl.prepare", *words, "processes=2", "copy=small"]
    with subprocess.Popen(command, cwd=tmp_path, start_new_session=True) as process:
        while process.poll() is None and len(list(tmp_path.glob("small/gta/images/0*"))) < 5:
            time.sleep(0.01)
        process.terminate()
        assert process.wait(10) == -signal.SIGTERM
    wait_until_alone(process.pid, 6)
