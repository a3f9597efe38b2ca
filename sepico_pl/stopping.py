"""Signals that end a run: noted when they come, heeded between two steps."""

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

from sepico_pl.data.workers import STOPPING
from sepico_pl.multirun import ENDING
from sepico_pl.resuming import newest_checkpoint

PATIENCE = 3.0
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


class Signals:
    """The first signal that asked a run to end; the ones that follow it.

    From the first one on nothing is printed until `speak`: what showed it, a terminal or a `tee`,
    is often gone with the same signal, and a progress bar that cannot be drawn would end the run
    before its step is saved.

    Args:
        folder: of the run.

    Attributes:
        first: the number of the signal; 0 for none yet.
        deaf: whether a second Ctrl-C counts for nothing.
    """

    def __init__(self, folder: Path) -> None:
        """Have heard nothing."""
        self.folder = folder
        self.aloud = True
        self.first = 0
        self.since = 0.0
        self.deaf = False
        self.outputs: dict[int, int] = {}

    def listen(self, *, aloud: bool) -> None:
        """Note signals from now on, but for a SIGHUP that `nohup` wants ignored.

        `given_back` gives them back to who had them.

        Args:
            aloud: whether to say that a signal was noted; one of several processes does.
        """
        self.aloud = aloud
        if threading.current_thread() is not threading.main_thread():
            return
        for number in STOPPING:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._note)

    def heard(self) -> dict[int, Callable[[int, FrameType | None], None]]:
        """Return who hears the signals that are listened to, by their numbers."""
        return {number: self._note for number in STOPPING if self._hears(number)}

    @contextmanager
    def given_back(self) -> Iterator[None]:
        """Speak again at the end, and give the signals back to who has them now.

        Those that are ignored by then, as the process ends, stay so.
        """
        before = {number: signal.getsignal(number) for number in STOPPING}
        try:
            yield
        finally:
            self.speak()
            for number, handler in before.items():
                if self._hears(number):
                    signal.signal(number, handler)

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Let nothing that is pressed twice break off what is being written."""
        before, self.deaf = self.deaf, True
        try:
            yield
        finally:
            self.deaf = before

    def interruption(self) -> Interrupted:
        """Return what ends the run."""
        return Interrupted(self.first or signal.SIGTERM, newest_checkpoint(self.folder))

    def speak(self) -> None:
        """Print again, where somebody is still there to read."""
        flush_outputs()
        for output, copy in self.outputs.items():
            if is_read(copy):
                os.dup2(copy, output)
            os.close(copy)
        self.outputs = {}

    def _hears(self, number: int) -> bool:
        return signal.getsignal(number) == self._note

    def _note(self, signum: int, _: FrameType | None) -> None:
        if not self.first:
            self.first, self.since = signum, time.monotonic()
            ENDING.signum = signum
            self._fall_silent()
        elif signum == signal.SIGINT and not self.deaf and time.monotonic() > self.since + PATIENCE:
            raise self.interruption()

    def _fall_silent(self) -> None:
        flush_outputs()
        message = (
            f"\n{signal.Signals(self.first).name}: the run ends once its last step is saved; "
            f"Ctrl-C after {PATIENCE:.0f} seconds ends at once\n"
        )
        if self.aloud:
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


def mute_unread() -> None:
    """Mute a terminal that has closed, or a pipe that nobody reads, whether by a signal or not."""
    lost = [output for output in OUTPUTS if not is_read(output)]
    if lost:
        mute(lost)


def flush_outputs() -> None:
    """Hand on what was printed, as far as it can be."""
    for output in (sys.stdout, sys.stderr):
        # RuntimeError: the signal came in the middle of another flush.
        with suppress(OSError, RuntimeError, ValueError):
            output.flush()


def is_read(output: int) -> bool:
    """Whether a terminal is still open, or the reader of a pipe there; files always are."""
    asked = select.poll()
    asked.register(output, 0)
    return not asked.poll(0)


def ignore_signals() -> None:
    """Let nothing end this process any more but its own end, and SIGKILL."""
    if threading.current_thread() is threading.main_thread():
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)
