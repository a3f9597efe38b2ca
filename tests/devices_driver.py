"""What the processes of tests/test_devices.py do: a module that is imported quickly."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from sepico_pl.types import InputError


def numbers(rank: int, number: int, doing: str) -> Iterator[tuple[int, int]]:
    """Yield ranks; the last process goes wrong in the way that is asked for."""
    yield rank, torch.get_num_threads()
    if rank < number - 1:
        return
    if doing == "refuse":
        message = "a.png: broken"
        raise InputError(message)
    if doing == "fill":
        raise OSError(28, "No space left on device", "disk/a.png")
    if doing == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if doing == "unspeakable":
        raise Unspeakable(1, 2)
    if doing == "leave":
        sys.exit("error: b.png: broken")
    if doing == "abort":
        os.abort()


class Unspeakable(Exception):
    """An error that pickle cannot make anew."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} and {other}")


def deaf(rank: int, number: int, folder: Path) -> Iterator[int]:
    """Leave this process's number, and hear no SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (folder / str(os.getpid())).touch()
    time.sleep(600)
    yield rank


def sleep(rank: int, number: int, folder: Path) -> Iterator[int]:
    """Leave this process's number, and never end but the first, which is refused at once."""
    (folder / str(os.getpid())).touch()
    while rank > 0 or len(list(folder.iterdir())) < number:
        time.sleep(0.02)
    message = "refused"
    raise InputError(message)
    yield 0
