"""A resized copy of a data set, in its own layout, so that training decodes less.

Training images and labels are resized as `geometry.fit` would do at every step; what is judged on
is copied as it is, since labels are judged at their full size.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from sepico_pl.data.checks import with_progress
from sepico_pl.data.files import decode, opened, read_image, read_size
from sepico_pl.data.geometry import fitted_size, resize_image
from sepico_pl.data.workers import end_with
from sepico_pl.types import InputError, Size

FAST_PNG = 1
JPEG_QUALITY = 95
CHUNK = 8


@dataclass(frozen=True)
class Job:
    """A file to copy; `kind` is image, label or file (copied as it is)."""

    origin: Path
    destination: Path
    kind: str


def copy_all(jobs: Sequence[Job], box: Size, processes: int) -> int:
    """Copy files in several processes; those that are there and not older are left alone.

    Returns:
        How many were written.

    Raises:
        InputError: for a file that cannot be read or written; what was written before stays.
    """
    todo = [job for job in jobs if not _is_done(job)]
    for folder in {job.destination.parent for job in todo}:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = f"copy: {folder} cannot be made ({error.strerror}); choose another folder"
            raise InputError(message) from error
    for problem in with_progress(_results(todo, box, processes), len(todo), "copying"):
        if problem:
            raise InputError(problem)
    return len(todo)


def _results(jobs: Sequence[Job], box: Size, processes: int) -> Iterator[str]:
    """Copy in processes that start afresh: a fork of one with threads may hang."""
    with ProcessPoolExecutor(
        processes, get_context("spawn"), initializer=_begin, initargs=(os.getpid(),)
    ) as pool:
        try:
            yield from pool.map(partial(_copy, (box[0], box[1])), jobs, chunksize=CHUNK)
        finally:
            pool.shutdown(cancel_futures=True)


def _begin(parent: int) -> None:
    """Copy with one thread, and for no longer than the process lives that waits for it."""
    cv2.setNumThreads(1)
    end_with(parent)


def _is_done(job: Job) -> bool:
    try:
        return os.stat(job.destination).st_mtime_ns >= os.stat(job.origin).st_mtime_ns
    except OSError:
        return False


def _copy(box: tuple[int, int], job: Job) -> str:
    """Write one file whole or not at all; return what went wrong, or ""."""
    partial_file = job.destination.with_name(f".{job.destination.stem}.{os.getpid()}.part")
    partial_file = partial_file.with_suffix(job.destination.suffix)
    try:
        size = None if job.kind == "file" else read_size(job.origin)
        if size is None or fitted_size(size, box) == size:
            shutil.copyfile(job.origin, partial_file)
        elif job.kind == "image":
            image = resize_image(read_image(job.origin), fitted_size(size, box))
            Image.fromarray(image).save(partial_file, compress_level=FAST_PNG, quality=JPEG_QUALITY)
        else:
            _resize_label(job.origin, partial_file, fitted_size(size, box))
        partial_file.replace(job.destination)
    except InputError as error:
        return str(error)
    except OSError as error:
        return f"copy: {job.destination} cannot be written ({error.strerror}); make room there"
    finally:
        partial_file.unlink(missing_ok=True)
    return ""


def _resize_label(origin: Path, destination: Path, size: tuple[int, int]) -> None:
    """Resize by nearest, keeping the file's form: gray, palette, colour or 16 bits."""
    height, width = size

    def nearest(array: np.ndarray) -> np.ndarray:
        return cv2.resize(array, (width, height), interpolation=cv2.INTER_NEAREST)

    resized: Image.Image | np.ndarray
    with opened(origin, "label") as image:
        if image.mode in ("L", "P"):
            resized = Image.fromarray(nearest(np.asarray(image)), mode="L")
            if image.mode == "P":
                resized = resized.convert("P")
                resized.putpalette(image.getpalette() or [])
        else:
            resized = nearest(decode(origin))
    if isinstance(resized, Image.Image):
        resized.save(destination, compress_level=FAST_PNG)
    else:
        destination.write_bytes(cv2.imencode(".png", resized)[1].tobytes())
