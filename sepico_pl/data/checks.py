"""Decodes every file of a data set once, and counts the pixels of each class on the way."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.console import Console
from rich.progress import Progress

from sepico_pl.data.files import check_sums, read_image
from sepico_pl.data.labels import LabelCode
from sepico_pl.data.ledger import Ledger, Record, fingerprint
from sepico_pl.types import ByteArray, InputError

Pair = tuple[Path, Path]
Item = tuple[Path, ...]
"""The files of one item, which belong together: image and label, or image (and reference)."""
Result = TypeVar("Result")
Given = TypeVar("Given")

SECONDS_WITHOUT_PROGRESS = 2.0
RECORDED_AT_ONCE = 200


class SizeMismatch(InputError):
    """A label has another size than its image."""


def examine(
    items: Sequence[Item], check: Callable[[Item], Record], key: str, ledger: Ledger
) -> list[Record | InputError]:
    """Check items that the ledger does not know yet, in threads; record those that pass.

    Args:
        items: what to check.
        check: returns a record of an item, or raises InputError.
        key: tells this kind of check from others.
        ledger: what was checked before; receives what passes, as it goes.

    Returns:
        For each item its record, or what is wrong with it.
    """
    keys = [f"{key}|{fingerprint(*item)}" for item in items]
    new = [index for index, one in enumerate(keys) if ledger.find(one) is None]
    failed: dict[int, InputError] = {}
    passed: dict[str, Record] = {}
    try:
        outcomes = in_threads(partial(_attempt, check), [items[index] for index in new])
        for index, outcome in zip(new, outcomes, strict=True):
            if isinstance(outcome, InputError):
                failed[index] = outcome
                continue
            passed[keys[index]] = outcome
            if len(passed) >= RECORDED_AT_ONCE:
                ledger.add(passed)
                passed = {}
    finally:
        ledger.add(passed)
    return [failed.get(index) or ledger.records[one] for index, one in enumerate(keys)]


def _attempt(check: Callable[[Item], Record], item: Item) -> Record | InputError:
    try:
        return check(item)
    except InputError as error:
        return error


def check_images(item: Item) -> Record:
    """Decode images; return their sizes."""
    return {"sizes": [list(_decoded(path).shape[:2]) for path in item]}


def check_pair(code: LabelCode, num_classes: int, item: Item) -> Record:
    """Decode an image and its label; return their size and the pixels of each class.

    Raises:
        SizeMismatch: if the sizes differ.
        InputError: if a file cannot be read, or a label has an unknown id or colour.
    """
    image_path, label_path = item
    image = _decoded(image_path)
    if not label_path.exists():
        message = f"{image_path}: its label {label_path} is missing; add it, or take the image out"
        raise InputError(message)
    check_sums(label_path, "label")
    label = code.read(label_path)
    check_same_size(image_path, image, label_path, label)
    counts = np.bincount(label.ravel(), minlength=256)[:num_classes]
    return {"sizes": [list(label.shape)], "counts": counts.tolist()}


def check_same_size(image_path: Path, image: ByteArray, label_path: Path, label: ByteArray) -> None:
    """Compare an image (H, W, 3) with its label (H, W).

    Raises:
        SizeMismatch: if the sizes differ.
    """
    if image.shape[:2] != label.shape:
        message = (
            f"{label_path}: the label is {_size(label)} but its image {image_path} is "
            f"{_size(image)} (height x width); make them the same size"
        )
        raise SizeMismatch(message)


def _decoded(path: Path) -> ByteArray:
    check_sums(path, "image")
    return read_image(path)


def _size(array: ByteArray) -> str:
    return f"{array.shape[0]}x{array.shape[1]}"


def in_threads(work: Callable[[Given], Result], items: Sequence[Given]) -> Iterator[Result]:
    """Yield the results of work in the items' order; decoding leaves the interpreter's lock."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from with_progress(pool.map(work, items), len(items), "checking the data")


def with_progress(results: Iterable[Result], total: int, title: str) -> Iterator[Result]:
    """Pass results on; a terminal shows a bar if they take more than two seconds."""
    bar = Progress(console=Console(stderr=True), transient=True)
    task = bar.add_task(title, total=total)
    show_from = time.monotonic() + SECONDS_WITHOUT_PROGRESS
    try:
        for result in results:
            bar.advance(task)
            if bar.console.is_terminal and time.monotonic() > show_from:
                bar.start()
            yield result
    finally:
        if bar.live.is_started:
            bar.stop()
