"""A run folder belongs to one process at a time, from before anything is written into it."""

import os
import platform
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = "run.lock"
SECONDS = 10.0
"""How long to wait: loader workers of a killed run end within 5 seconds, and hold its lock."""

_held: dict[Path, FileLock] = {}


def lock_folder(folder: Path) -> None:
    """Make a run folder this process's own until it ends; the operating system frees it then.

    Args:
        folder: is made if it is absent.

    Raises:
        SystemExit: with one line, if another process has it.
        OSError: if it cannot be made or written.
    """
    place = Path(os.path.realpath(folder.expanduser()))
    if place in _held:
        return
    place.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place / LOCK, timeout=SECONDS)
    try:
        lock.acquire()
    except Timeout as error:
        message = (
            f"error: {folder} is in use by another run ({_holder(place)}); wait for its end, or "
            "choose another folder: hydra.run.dir=<folder>"
        )
        raise SystemExit(message) from error
    (place / LOCK).write_text(f"process {os.getpid()} on {platform.node()}\n", encoding="utf-8")
    _held[place] = lock


def _holder(place: Path) -> str:
    """Return what the holder wrote about itself."""
    try:
        said = (place / LOCK).read_text(encoding="utf-8", errors="replace")[:200]
    except OSError:
        said = ""
    return " ".join(said.split()) or "which does not say more"
