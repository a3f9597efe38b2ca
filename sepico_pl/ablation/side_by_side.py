"""Commands as processes, some side by side; they end with this process, also if it is killed."""

import ctypes
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from sepico_pl.job_signals import handled_signals
from sepico_pl.signal_handling import SECOND_COUNTS_AFTER

MEMORY_UNIT = 2**20 if sys.platform == "darwin" else 2**10
"""How many of `ru_maxrss` make a megabyte."""
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


class Command(NamedTuple):
    """A program of ours.

    Attributes:
        module: `sepico_pl.<module>`.
        words: of its command line.
        log: file that what it prints is added to.
    """

    module: str
    words: list[str]
    log: Path


class Ended(NamedTuple):
    """How a command ended: its exit code, wall time, and peak of resident memory."""

    code: int
    seconds: float
    memory_mb: float


Job = Generator[Command, Ended, None]
"""Yields commands, one after the other, and is sent how each ended."""


@dataclass
class Process:
    """A command under way, and the job that waits for its end."""

    job: Job
    popen: subprocess.Popen[bytes]
    begun: float


class SideBySide:
    """Runs the commands of jobs, a number of them at a time.

    Args:
        number: of processes at a time.
        environment: of theirs.

    Attributes:
        signum: the first signal that asked to end; 0 for none.
        killed: whether a second one has killed what ran.
    """

    def __init__(self, number: int, environment: Mapping[str, str]) -> None:
        """Begin without a process."""
        self.number, self.environment = number, dict(environment)
        self.processes: dict[int, Process] = {}
        self.signum, self.since = 0, 0.0
        self.killed = False

    def run(self, jobs: Iterable[Job]) -> None:
        """Run jobs until all have ended, or after a signal those that have begun.

        A signal is handed on to the processes, which save. A Ctrl-C some seconds later kills them;
        what comes sooner, or is another signal, is the first one over again.
        """
        waiting = iter(jobs)
        with self._signals_handed_on():
            try:
                while self._filled(waiting):
                    self._wait_for_one()
            finally:
                self._end_all()

    def _filled(self, waiting: Iterator[Job]) -> bool:
        """Begin jobs while there is room; say whether any process runs."""
        while len(self.processes) < self.number and not self.signum:
            job = next(waiting, None)
            if job is None:
                break
            self._advance(job, None)
        return bool(self.processes)

    def _advance(self, job: Job, ended: Ended | None) -> None:
        """Start a job's next command, if it has one and no signal came."""
        try:
            command = next(job) if ended is None else job.send(ended)
        except StopIteration:
            return
        if self.signum:
            job.close()
            return
        popen = start(command, self.environment)
        self.processes[popen.pid] = Process(job, popen, time.monotonic())
        if self.signum:  # it came while the process was being started
            hand_on(popen.pid, signal.SIGTERM)

    def _wait_for_one(self) -> None:
        """Wait for the end of one process, and go on with its job."""
        pid, status, usage = os.wait4(-1, 0)
        process = self.processes.pop(pid, None)
        if process is None:
            return
        code = os.waitstatus_to_exitcode(status)
        process.popen.returncode = code
        seconds = time.monotonic() - process.begun
        self._advance(process.job, Ended(code, seconds, usage.ru_maxrss / MEMORY_UNIT))

    def _end_all(self) -> None:
        """End what still runs, where an error ends all."""
        for pid, process in self.processes.items():
            hand_on(pid, signal.SIGTERM)
            process.popen.wait()

    @contextmanager
    def _signals_handed_on(self) -> Iterator[None]:
        before = {number: signal.getsignal(number) for number in handled_signals()}
        try:
            for number in before:
                signal.signal(number, self._handle)
            yield
        finally:
            for number, handler in before.items():  # after a signal this process ends, whole
                signal.signal(number, signal.SIG_IGN if self.signum else handler)

    def _handle(self, signum: int, _: FrameType | None) -> None:
        if self.signum:
            late = time.monotonic() > self.since + SECOND_COUNTS_AFTER
            if signum != signal.SIGINT or not late:
                return
            self.killed = True
        else:
            self.signum, self.since = signum, time.monotonic()
        for pid in list(self.processes):
            hand_on(pid, signal.SIGKILL if self.killed else signal.SIGTERM)


def start(command: Command, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Start a command in a process group of its own, which a terminal's Ctrl-C does not reach."""
    words = [sys.executable, "-m", f"sepico_pl.{command.module}", *command.words]
    command.log.parent.mkdir(parents=True, exist_ok=True)
    with command.log.open("ab") as log:
        log.write(f"$ {shlex.join(words)}\n".encode())
        log.flush()
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            preexec_fn=ends_with(os.getpid()),
        )


def ends_with(parent: int) -> Callable[[], None]:
    """Return what lets Linux end a new process by SIGTERM when its parent is no more."""

    def ask() -> None:
        if sys.platform == "linux":
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGTERM)

    return ask


def hand_on(pid: int, signum: int) -> None:
    """Send a signal to a process and those it started."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signum)
