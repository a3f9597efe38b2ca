"""Processes that work for another one: they end with it, and loaders on nobody else's word."""

import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from multiprocessing.context import ForkContext, ForkProcess

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
LOOK_EVERY = 1.0


@contextmanager
def held_back(signals: Iterable[int]) -> Iterator[None]:
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
        """Start without a moment in which a signal would be heeded."""
        with held_back(STOPPING):
            super().start()

    def run(self) -> None:
        """Load."""
        threading.Thread(target=_heed_parent, daemon=True).start()
        super().run()


def _heed_parent() -> None:
    """End where the parent asks for it or has ended; with 0, as torch takes others for a fault."""
    while has_parent():
        heard = signal.sigtimedwait([signal.SIGTERM], LOOK_EVERY)
        if heard is not None and heard.si_pid == os.getppid():
            break
    os._exit(0)


def end_with_parent() -> None:
    """End this process soon after the one that started it, even if that one is killed."""

    def watch() -> None:
        while has_parent():
            time.sleep(LOOK_EVERY)
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
