"""The memory through which loader processes hand on what they load."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sepico_pl.types import InputError, Size

SHARED_MEMORY = Path("/dev/shm")
BATCHES_AHEAD = 2
"""How many batches each loader process prepares: torch's prefetch_factor."""
MEBIBYTE = 2**20


class Load(NamedTuple):
    """What a stream of batches puts into shared memory.

    Attributes:
        bytes: of a batch.
        batches: of the whole stream; None for more than fit.
    """

    bytes: int
    batches: int | None = None


def image_bytes(size: Size) -> int:
    """Return the size of a float32 image (3, H, W)."""
    return 4 * 3 * size[0] * size[1]


def label_bytes(size: Size) -> int:
    """Return the size of an int64 label (H, W)."""
    return 8 * size[0] * size[1]


def check_shared_memory(
    workers: int, loads: Sequence[Load], folder: Path = SHARED_MEMORY, *, processes: int = 1
) -> None:
    """Refuse loader processes whose batches shared memory cannot hold; some systems have no bound.

    Args:
        workers: loader processes of each stream.
        loads: of the streams.
        folder: where shared memory lies.
        processes: that share out the streams, and have so many loader processes each.

    Raises:
        InputError: with what is there, what is needed and the remedies.
    """
    if not workers or not folder.is_dir():
        return
    ahead = BATCHES_AHEAD * workers * processes
    needed = sum(
        load.bytes * (ahead if load.batches is None else min(load.batches, ahead)) for load in loads
    )
    free = shutil.disk_usage(folder).free
    if needed > free:
        message = (
            f"data.workers={workers}: their batches need {needed / MEBIBYTE:.0f} MiB of shared "
            f"memory and {folder} has {free / MEBIBYTE:.0f} MiB free; give a container more "
            "(docker run --shm-size=8g), or choose fewer: data.workers=0 needs none"
        )
        raise InputError(message)
