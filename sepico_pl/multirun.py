"""Several runs by one command: a failed one does not end the others, and the end names it.

With hydra/launcher=joblib the jobs run in processes of their own, which loky kills with the command
and at the first that fails. So after a signal the command waits while they save, and their jobs
return as if they had ended well.
"""

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import active_children, parent_process
from pathlib import Path
from types import FrameType
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from sepico_pl.data.workers import LOOK_EVERY, STOPPING, has_parent

FAILURE = "run_failed.txt"
"""File in the folder of a run of a multirun that failed: why."""
GRACE = 60.0
"""Seconds that jobs in processes of their own have to save."""


class Ending:
    """What this process knows of signals.

    Attributes:
        signum: of the first one that asked it to end; 0 for none.
        in_job: whether a job of a multirun is under way.
        serves: whether this is a process that a command started for jobs, and hears signals.
    """

    def __init__(self) -> None:
        """Know of none."""
        self.signum = 0
        self.in_job = False
        self.serves = False


ENDING = Ending()


@contextmanager
def failures_noted() -> Iterator[None]:
    """Let a job of a multirun that fails leave its reason in its folder, and the others go on.

    A signal still ends all of them. Outside a multirun nothing changes.

    Raises:
        SystemExit: after a signal, but not in a process that the command started and waits for.
    """
    if parent_process() is None:
        ENDING.signum = 0
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        yield
        return
    try:
        ENDING.in_job = True
        with noted(Path(HydraConfig.get().runtime.output_dir) / FAILURE):
            yield
        end_after_signal()
    except SystemExit:
        if parent_process() is None:
            raise
    finally:
        ENDING.in_job = False


@contextmanager
def noted(note: Path) -> Iterator[None]:
    """Write down why a job failed; a signal is no failure."""
    note.unlink(missing_ok=True)
    try:
        yield
    except SystemExit as ending:
        if not isinstance(ending.code, str):  # after a signal
            raise
        print(ending.code, file=sys.stderr, flush=True)
        _write(note, ending.code.removeprefix("error: "))
    except Exception as error:
        traceback.print_exc()
        _write(note, f"{type(error).__name__}: {' '.join(str(error).split())}")


def _write(note: Path, reason: str) -> None:
    """Write a note; a full disk, which may be the reason itself, does not end the other jobs."""
    try:
        note.write_text(f"{reason}\n", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        print(f"{note} cannot be written ({error.strerror})", file=sys.stderr)


def notes_below(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return the notes of failed jobs below a folder, with what changes when one is written."""
    found = {path: path.stat() for path in folder.rglob(FAILURE)}
    return {path: (status.st_mtime_ns, status.st_ino) for path, status in found.items()}


def end_after_signal() -> None:
    """Begin no job, and go on with none, once a signal was heard.

    Raises:
        SystemExit: with 128 + its number.
    """
    if ENDING.signum:
        sys.exit(128 + ENDING.signum)


def heard_in_job(signum: int, _: FrameType | None) -> None:
    """End the job under way in this process, where its trainer does not listen, and begin no more.

    Raises:
        SystemExit: at the first signal during a job.
    """
    if not ENDING.signum:
        ENDING.signum = signum
        if ENDING.in_job:
            sys.exit(128 + signum)


def serve_command() -> None:
    """Hear signals in a process for jobs; the command let them wait until now."""
    ENDING.serves = True
    for number in heeded():
        signal.signal(number, heard_in_job)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    threading.Thread(target=_follow_command, daemon=True).start()


def _follow_command() -> None:
    """End this process where the command is no more, once its job is saved."""
    while has_parent():
        time.sleep(LOOK_EVERY)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LOOK_EVERY)
    while ENDING.in_job:
        time.sleep(LOOK_EVERY / 10)
    os._exit(128 + signal.SIGTERM)


def heeded() -> list[signal.Signals]:
    """Return the signals that end a multirun; `nohup` wants SIGHUP ignored."""
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [number for number in STOPPING if number != signal.SIGHUP or not ignored]


def job_processes() -> list[int]:
    """Return the numbers of the processes that loky started for jobs."""
    return [
        process.pid
        for process in active_children()
        if type(process).__name__ == "LokyProcess" and process.pid is not None
    ]


def send_on(signum: int) -> None:
    """Send a signal to the processes for jobs."""
    for number in job_processes():
        with suppress(ProcessLookupError):
            os.kill(number, signum)


def print_aloud(text: str) -> None:
    """Print, if only to nobody: the terminal may have ended by the same signal."""
    with suppress(OSError):
        os.write(2, f"{text}\n".encode())


class MultirunSummary(Callback):
    """Says at the end of a multirun which of its runs failed, and how to compare the others.

    Each job in a process of its own has a copy, made when it is handed over.

    Attributes:
        stopped: the number of the signal that ended the multirun; 0 for none.
    """

    def __init__(self) -> None:
        """Know of no signal."""
        self.stopped = 0
        self.earlier: dict[Path, tuple[int, int]] = {}
        self.before: dict[int, Any] = {}

    def on_multirun_start(self, config: DictConfig, **kwargs: object) -> None:
        """Look which jobs failed earlier; hear signals, if jobs get processes of their own."""
        self.earlier = notes_below(Path(config.hydra.sweep.dir))
        if "joblib" in str(config.hydra.launcher.get("_target_")):
            self._listen()

    def on_job_start(self, config: DictConfig, **kwargs: object) -> None:
        """Begin to serve, in a process for jobs; take over that a signal came."""
        if config.hydra.mode != RunMode.MULTIRUN or parent_process() is None:
            return
        ENDING.signum = ENDING.signum or self.stopped
        if not ENDING.serves:
            serve_command()

    def on_multirun_end(self, config: DictConfig, **kwargs: object) -> None:
        """Print the runs that failed.

        Raises:
            SystemExit: with code 1, if there is one; after a signal, with 128 + its number.
        """
        folder = Path(config.hydra.sweep.dir)
        if self.stopped:
            print_aloud(
                "interrupted; continue by the same command with resume=auto "
                f"hydra.sweep.dir={folder}"
            )
            sys.exit(128 + self.stopped)
        self._give_back()
        notes = notes_below(folder)
        failed = sorted(path for path in notes if notes[path] != self.earlier.get(path))
        for path in failed:
            reason = path.read_text(encoding="utf-8").strip()
            print(f"failed: {path.parent}: {reason}", file=sys.stderr)
        print(f"compare: python -m sepico_pl.compare {folder}")
        if failed:
            number = f"{len(failed)} run" + ("s" if len(failed) > 1 else "")
            sys.exit(f"error: {number} of this multirun failed, see above; the others are whole")

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what the processes for jobs cannot have."""
        return {**self.__dict__, "before": {}}

    def _listen(self) -> None:
        """Hear signals; processes that are started from now on let them wait until they can.

        The operating system hands signals to the one thread that lets them in, and Python runs
        what hears them in the first thread.
        """
        self.before = {number: signal.getsignal(number) for number in heeded()}
        for number in self.before:
            signal.signal(number, self._note)
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)

    def _give_back(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        if self.before:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)

    def _note(self, signum: int, _: FrameType | None) -> None:
        """Send a signal on, and wait for the jobs; end at once where there are none to wait for."""
        first, self.stopped = not self.stopped, self.stopped or signum
        if not job_processes():
            sys.exit(128 + self.stopped)
        send_on(signum)
        if first:
            name = signal.Signals(signum).name
            print_aloud(f"\n{name}: waits up to {GRACE:.0f} seconds for the jobs to save")
            patience = threading.Timer(GRACE, self._give_up)
            patience.daemon = True
            patience.start()

    def _give_up(self) -> None:
        print_aloud(f"jobs did not end within {GRACE:.0f} seconds and are killed")
        send_on(signal.SIGKILL)
        os._exit(128 + self.stopped)
