"""Loader processes that heed the process they load for, and nobody else."""

import os
import signal
import threading
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
        parent = parent_process()
        assert parent is not None
        threading.Thread(target=_heed, args=(parent.pid,), daemon=True).start()
        super().run()


def _heed(parent: int | None) -> None:
    """End where the parent asks for it or has ended; with 0, as torch takes others for a fault."""
    while os.getppid() == parent:
        heard = signal.sigtimedwait([signal.SIGTERM], LOOK_EVERY)
        if heard is not None and heard.si_pid == parent:
            break
    os._exit(0)


class LoaderContext(ForkContext):
    """What a `DataLoader` starts its workers by."""

    Process = LoaderProcess


def loader_context(workers: int) -> LoaderContext | None:
    """Return what to start workers by; None where there are none, or signals cannot wait."""
    return LoaderContext() if workers and hasattr(signal, "sigtimedwait") else None
