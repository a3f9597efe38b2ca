"""A run folder belongs to one process at a time, from before anything is written into it."""

import errno
import fcntl
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = "run.lock"
CHOSEN_BY = "hydra.run.dir"
SECONDS = 10.0
"""How long to wait: loader workers of a killed run end within some seconds, and hold its lock."""
POLL_SECONDS = 0.1
BUSY = (errno.EAGAIN, errno.EACCES)
UNKNOWN = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What file systems without locks answer."""

_locks: dict[Path, int] = {}


def lock_folder(folder: Path, key: str = CHOSEN_BY) -> None:
    """Make a run folder this process's own until `unlock_folder`, or until the process ends.

    Args:
        folder: is made if it is absent.
        key: the option that chooses another one, for the message.

    Raises:
        SystemExit: with one line, if another process has it.
        OSError: if it cannot be made or written, or `run.lock` in it is a link.
    """
    place = _place(folder)
    if place in _locks:
        return
    place.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(place / LOCK, flags, 0o644)
    try:
        _wait_for(descriptor, folder, key)
    except BaseException:
        os.close(descriptor)
        raise
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"process {os.getpid()} on {platform.node()}\n".encode())
    _locks[place] = descriptor


def unlock_folder(folder: Path) -> None:
    """Give a folder back, if it is this process's own."""
    descriptor = _locks.pop(_place(folder), None)
    if descriptor is not None:
        os.close(descriptor)


@contextmanager
def locked_folder(folder: Path, key: str = CHOSEN_BY) -> Iterator[None]:
    """Have a folder for a while; see `lock_folder`."""
    lock_folder(folder, key)
    try:
        yield
    finally:
        unlock_folder(folder)


def _place(folder: Path) -> Path:
    return Path(os.path.realpath(folder.expanduser()))


def _wait_for(descriptor: int, folder: Path, key: str) -> None:
    until = time.monotonic() + SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in UNKNOWN:
                print(f"{folder}: its disk knows no locks; see that no other run writes there")
                return
            if error.errno not in BUSY:
                raise
            if time.monotonic() > until:
                said = " ".join(os.pread(descriptor, 200, 0).decode(errors="replace").split())
                message = (
                    f"error: {folder} is in use by another run ({said or 'unnamed'}); wait for "
                    f"its end, or choose another folder: {key}=<folder>"
                )
                raise SystemExit(message) from error
            time.sleep(POLL_SECONDS)
        else:
            return
