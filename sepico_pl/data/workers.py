"""Processes that work for another one: they end with it, and loaders on nobody else's word."""

import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from multiprocessing.context import ForkContext, ForkProcess

ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
POLL_SECONDS = 1.0


@contextmanager
def blocked(signals: Iterable[int]) -> Iterator[None]:
    """Let signals wait; processes that are started meanwhile never get them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class LoaderProcess(ForkProcess):
    """Lives on where a terminal or SLURM asks a whole group of processes to end.

    What loads would end before the step under way, which needs it, is made and saved. It ends when
    the process that started it says so, by SIGTERM as torch and Python do, or is no more.
    """

    def start(self) -> None:
        """Start without a moment in which a signal would count."""
        with blocked(ENDING_SIGNALS):
            super().start()

    def run(self) -> None:
        """Load."""
        threading.Thread(target=_exit_with_parent, daemon=True).start()
        super().run()


def _exit_with_parent() -> None:
    """End where the parent asks for it or has ended; with 0, as torch takes others for a fault."""
    while has_parent():
        heard = signal.sigtimedwait([signal.SIGTERM], POLL_SECONDS)
        if heard is not None and heard.si_pid == os.getppid():
            break
    os._exit(0)


def end_with(parent: int) -> None:
    """End this process soon after its parent process, even if that one is killed.

    Args:
        parent: the number of the parent process.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def has_parent() -> bool:
    """Whether the process that started this one still runs."""
    parent = parent_process()
    return parent is not None and os.getppid() == parent.pid


class LoaderContext(ForkContext):
    """What a `DataLoader` starts its workers by."""

    Process = LoaderProcess


def loader_context(workers: int) -> LoaderContext | None:
    """Return what to start workers by; None where there are none, or signals cannot wait."""
    return LoaderContext() if workers and hasattr(signal, "sigtimedwait") else None
