"""Signals to a multirun whose jobs have processes of their own (hydra/launcher=joblib).

loky kills those processes with the command, and at the first that fails. So after a signal the
command waits while they save, and their jobs return as if they had ended well.
"""

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from multiprocessing import active_children, parent_process
from types import FrameType
from typing import Any

from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from sepico_pl.data.workers import ENDING_SIGNALS, POLL_SECONDS, has_parent

GRACE_SECONDS = 60.0
"""How long jobs in processes of their own have to save."""


class SignalState:
    """The signal that ends this process, and what it is doing.

    Attributes:
        signum: of the first one that asked it to end; 0 for none.
        in_job: whether a job of a multirun is under way.
        handles_signals: whether this is a process of jobs, whose handlers are installed.
    """

    def __init__(self) -> None:
        """Begin without a signal."""
        self.signum = 0
        self.in_job = False
        self.handles_signals = False


SIGNAL_STATE = SignalState()


def exit_if_signalled() -> None:
    """Begin no job, and go on with none, after a signal.

    Raises:
        SystemExit: with 128 + its number.
    """
    if SIGNAL_STATE.signum:
        sys.exit(128 + SIGNAL_STATE.signum)


def handle_signal_in_job(signum: int, _: FrameType | None) -> None:
    """End the job under way in this process, where its trainer does not handle it.

    Raises:
        SystemExit: at the first signal during a job.
    """
    if not SIGNAL_STATE.signum:
        SIGNAL_STATE.signum = signum
        if SIGNAL_STATE.in_job:
            sys.exit(128 + signum)


def handle_signals_for_jobs() -> None:
    """Install the handlers of a process of jobs; the command blocked the signals until now."""
    SIGNAL_STATE.handles_signals = True
    for number in handled_signals():
        signal.signal(number, handle_signal_in_job)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING_SIGNALS)
    threading.Thread(target=_exit_with_command, daemon=True).start()


def _exit_with_command() -> None:
    """End this process where the command is no more, once its job is saved."""
    while has_parent():
        time.sleep(POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(POLL_SECONDS)
    while SIGNAL_STATE.in_job:
        time.sleep(POLL_SECONDS / 10)
    os._exit(128 + signal.SIGTERM)


def handled_signals() -> list[signal.Signals]:
    """Return the signals that end a multirun; `nohup` wants SIGHUP ignored."""
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [number for number in ENDING_SIGNALS if number != signal.SIGHUP or not ignored]


def job_processes() -> list[int]:
    """Return the numbers of the processes that loky started for jobs."""
    return [
        process.pid
        for process in active_children()
        if type(process).__name__ == "LokyProcess" and process.pid is not None
    ]


def forward_signal(signum: int) -> None:
    """Send a signal to the processes for jobs."""
    for number in job_processes():
        with suppress(ProcessLookupError):
            os.kill(number, signum)


def write_to_stderr(text: str) -> None:
    """Write a line, though the terminal may have ended by the same signal."""
    with suppress(OSError):
        os.write(2, f"{text}\n".encode())


class JobSignals(Callback):
    """Forwards signals to the processes of jobs, and waits for them.

    Each job in a process of its own has a copy, made when it is handed over.

    Attributes:
        signum: the number of the signal that ended the multirun; 0 for none.
    """

    def __init__(self) -> None:
        """Begin without a signal."""
        self.signum = 0
        self.previous_handlers: dict[int, Any] = {}

    def on_multirun_start(self, config: DictConfig, **kwargs: object) -> None:
        """Handle signals, if jobs get processes of their own."""
        if "joblib" in str(config.hydra.launcher.get("_target_")):
            self._install_handlers()

    def on_job_start(self, config: DictConfig, **kwargs: object) -> None:
        """Handle signals in a process of jobs; take over one that came before."""
        if config.hydra.mode != RunMode.MULTIRUN or parent_process() is None:
            return
        SIGNAL_STATE.signum = SIGNAL_STATE.signum or self.signum
        if not SIGNAL_STATE.handles_signals:
            handle_signals_for_jobs()

    def on_multirun_end(self, config: DictConfig, **kwargs: object) -> None:
        """End after a signal, before the other callbacks; else restore who handled them.

        Raises:
            SystemExit: with 128 + the signal's number.
        """
        if self.signum:
            write_to_stderr(
                "interrupted; continue by the same command with resume=auto "
                f"hydra.sweep.dir={config.hydra.sweep.dir}"
            )
            sys.exit(128 + self.signum)
        self._restore_handlers()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what the processes for jobs cannot have."""
        return {**self.__dict__, "previous_handlers": {}}

    def _install_handlers(self) -> None:
        """Handle signals here, and block them in processes that are started from now on.

        The operating system delivers signals to the one thread that does not block them, and Python
        runs their handlers in the main thread.
        """
        self.previous_handlers = {number: signal.getsignal(number) for number in handled_signals()}
        for number in self.previous_handlers:
            signal.signal(number, self._handle)
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)

    def _restore_handlers(self) -> None:
        for number, handler in self.previous_handlers.items():
            signal.signal(number, handler)
        if self.previous_handlers:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING_SIGNALS)

    def _handle(self, signum: int, _: FrameType | None) -> None:
        """Send a signal on, and wait for the jobs; end at once where there are none to wait for."""
        first, self.signum = not self.signum, self.signum or signum
        if not job_processes():
            sys.exit(128 + self.signum)
        forward_signal(signum)
        if first:
            name = signal.Signals(signum).name
            write_to_stderr(
                f"\n{name}: waits up to {GRACE_SECONDS:.0f} seconds for the jobs to save"
            )
            timer = threading.Timer(GRACE_SECONDS, self._kill_jobs)
            timer.daemon = True
            timer.start()

    def _kill_jobs(self) -> None:
        write_to_stderr(f"jobs did not end within {GRACE_SECONDS:.0f} seconds and are killed")
        forward_signal(signal.SIGKILL)
        os._exit(128 + self.signum)
