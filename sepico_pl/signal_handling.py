"""Signals that end a run: remembered when they come, acted upon between two steps."""

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from sepico_pl.data.workers import ENDING_SIGNALS
from sepico_pl.job_signals import SIGNAL_STATE
from sepico_pl.resuming import newest_checkpoint

SECOND_COUNTS_AFTER = 3.0
OUTPUTS = (1, 2)


class Interrupted(SystemExit):
    """A signal ends the run; where nothing catches it, with 128 + its number and no word.

    Attributes:
        signum: the signal that this process received; SIGTERM if another rank did.
        checkpoint: to resume from; None if there is none yet.
    """

    def __init__(self, signum: int, checkpoint: Path | None) -> None:
        """Remember what happened."""
        super().__init__(128 + signum)
        self.signum, self.checkpoint = signum, checkpoint


class SignalHandler:
    """Remembers the first signal that asks a run to end, and ignores most that follow it.

    From the first one on nothing is printed until `restore_output`: what showed it, a terminal or
    a `tee`, is often gone with the same signal, and a progress bar that cannot be drawn would end
    the run before its step is saved.

    Args:
        folder: of the run.

    Attributes:
        signum: the number of the signal; 0 for none yet.
        ignores_second: whether a second Ctrl-C counts for nothing.
    """

    def __init__(self, folder: Path) -> None:
        """Begin without a signal."""
        self.folder = folder
        self.announces = True
        self.signum = 0
        self.since = 0.0
        self.ignores_second = False
        self.outputs: dict[int, int] = {}

    def install(self, *, announces: bool) -> None:
        """Handle signals from now on, but for a SIGHUP that `nohup` wants ignored.

        `restored` brings back the handlers of before.

        Args:
            announces: whether to say that a signal came; one of several processes does.
        """
        self.announces = announces
        if threading.current_thread() is not threading.main_thread():
            return
        for number in ENDING_SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._handle)

    def installed(self) -> dict[int, Callable[[int, FrameType | None], None]]:
        """Return this handler by the numbers of the signals that it handles."""
        return {number: self._handle for number in ENDING_SIGNALS if self._is_installed(number)}

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Restore output and handlers at the end.

        Those that are ignored by then, as the process ends, stay so.
        """
        before = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
        try:
            yield
        finally:
            self.restore_output()
            for number, handler in before.items():
                if self._is_installed(number):
                    signal.signal(number, handler)

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Let nothing that is pressed twice break off what is being written."""
        before, self.ignores_second = self.ignores_second, True
        try:
            yield
        finally:
            self.ignores_second = before

    def interruption(self) -> Interrupted:
        """Return what ends the run."""
        return Interrupted(self.signum or signal.SIGTERM, newest_checkpoint(self.folder))

    def restore_output(self) -> None:
        """Print again, where somebody is still there to read."""
        flush_outputs()
        for output, copy in self.outputs.items():
            if is_open(copy):
                os.dup2(copy, output)
            os.close(copy)
        self.outputs = {}

    def _is_installed(self, number: int) -> bool:
        return signal.getsignal(number) == self._handle

    def _handle(self, signum: int, _: FrameType | None) -> None:
        if not self.signum:
            self.signum, self.since = signum, time.monotonic()
            SIGNAL_STATE.signum = signum
            self._mute_output()
        elif (
            signum == signal.SIGINT
            and not self.ignores_second
            and time.monotonic() > self.since + SECOND_COUNTS_AFTER
        ):
            raise self.interruption()

    def _mute_output(self) -> None:
        flush_outputs()
        message = (
            f"\n{signal.Signals(self.signum).name}: the run ends once its last step is saved; "
            f"Ctrl-C after {SECOND_COUNTS_AFTER:.0f} seconds ends at once\n"
        )
        if self.announces:
            with suppress(OSError):
                os.write(2, message.encode())
        for output in OUTPUTS:
            with suppress(OSError):
                self.outputs[output] = os.dup(output)
        mute(self.outputs)


def mute(outputs: Iterable[int]) -> None:
    """Let what is printed there go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for output in outputs:
        os.dup2(nowhere, output)
    os.close(nowhere)


def mute_closed_outputs() -> None:
    """Mute a terminal that has closed, or a pipe that nobody reads, whether by a signal or not."""
    lost = [output for output in OUTPUTS if not is_open(output)]
    if lost:
        mute(lost)


def flush_outputs() -> None:
    """Hand on what was printed, as far as it can be."""
    for output in (sys.stdout, sys.stderr):
        # RuntimeError: the signal came in the middle of another flush.
        with suppress(OSError, RuntimeError, ValueError):
            output.flush()


def is_open(output: int) -> bool:
    """Whether a terminal is still open, or the reader of a pipe there; files always are."""
    asked = select.poll()
    asked.register(output, 0)
    return not asked.poll(0)


def ignore_signals() -> None:
    """Let nothing end this process any more but its own end, and SIGKILL."""
    if threading.current_thread() is threading.main_thread():
        for number in ENDING_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
