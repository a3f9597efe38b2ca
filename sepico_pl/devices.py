"""Work on several devices: one process for each, which are started, listened to and ended here."""

import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from types import FrameType
from typing import NamedTuple, NoReturn, TypeVar

import torch

from sepico_pl.data.workers import blocked, end_with
from sepico_pl.types import InputError

Result = TypeVar("Result")
POLL_SECONDS = 0.05
SECONDS_TO_CLEAN_UP = 5.0


class Failure(NamedTuple):
    """What a process hands on where it cannot go on."""

    error: Exception


def in_processes(
    work: Callable[..., Iterable[Result]], number: int, *parts: object
) -> Iterator[Result]:
    """Yield what processes find, as it comes; none outlives the last result or the first error.

    Called in the main thread, where SIGTERM ends them too.

    They compute with as many threads each as this process: with fewer, sums may run in another
    order. Of what they print, only that of the first one is seen.

    Args:
        work: called as `work(rank, number, *parts)` in each; a function of a module.
        number: of processes.
        parts: what pickle can hand on.

    Raises:
        InputError: if the system ended a process.
        Exception: the first one that `work` raised.
    """
    context = get_context("spawn")
    results: SimpleQueue[Result | Failure] = context.SimpleQueue()
    given = work, number, parts, torch.get_num_threads(), results
    processes = [context.Process(target=_run, args=(rank, *given)) for rank in range(number)]
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        with blocked([signal.SIGINT]):  # Ctrl-C is for this process, which ends them
            for process in processes:
                process.start()
        while alive := [process.sentinel for process in processes if process.exitcode is None]:
            wait(alive, POLL_SECONDS)
            yield from _received(results)
            _check(processes)
        yield from _received(results)
    finally:
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # no second signal breaks in
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _end(processes)
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, interrupt)


def _received(results: "SimpleQueue[Result | Failure]") -> Iterator[Result]:
    while not results.empty():
        found = results.get()
        if isinstance(found, Failure):
            raise found.error
        yield found


def _check(processes: Iterable[SpawnProcess]) -> None:
    """Refuse to go on without a process that somebody else ended."""
    for process in processes:
        if process.exitcode:
            raise InputError(_ending(process.exitcode))


def _ending(code: int) -> str:
    """Say how a process ended that said nothing itself."""
    if code == -signal.SIGKILL:
        return (
            "one of the processes was ended by the system (SIGKILL), as where memory runs out: "
            "choose fewer devices"
        )
    how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
    return f"one of the processes ended ({how}); what it said stands above"


def _end(processes: Iterable[SpawnProcess]) -> None:
    """Ask processes to end, which clean up, and kill those that do not hear it."""
    alive = [process for process in processes if process.is_alive()]
    for process in alive:
        process.terminate()
    until = time.monotonic() + SECONDS_TO_CLEAN_UP
    for process in alive:
        process.join(max(0, until - time.monotonic()))
        process.kill()
        process.join()


def _run(
    rank: int,
    work: Callable[..., Iterable[Result]],
    number: int,
    parts: tuple[object, ...],
    threads: int,
    results: "SimpleQueue[Result | Failure]",
) -> None:
    """Work in a process of its own."""
    signal.signal(signal.SIGTERM, _leave)
    starter = parent_process()
    assert starter is not None
    assert starter.pid is not None
    end_with(starter.pid)
    torch.set_num_threads(threads)
    if rank > 0:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    try:
        for found in work(rank, number, *parts):
            results.put(found)
    except SystemExit as ending:
        if isinstance(ending.code, str):
            results.put(Failure(InputError(ending.code.removeprefix("error: "))))
        raise
    except Exception as error:
        results.put(Failure(_portable(error)))


def _leave(signum: int, _: FrameType | None) -> NoReturn:
    signal.signal(signum, signal.SIG_IGN)
    sys.exit(128 + signum)


def _portable(error: Exception) -> Exception:
    """Return an error that pickle can hand on, with its traceback as a note."""
    trace = traceback.format_exc()
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its constructor takes
        return RuntimeError(trace)
    error.add_note(trace)
    return error
