"""What `predict` does: deliver the results of many images, and go on where it was interrupted."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from multiprocessing import get_context
from operator import itemgetter
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from sepico_pl.assembly import Config, plain_config
from sepico_pl.data.checks import with_progress
from sepico_pl.data.files import read_image, read_size
from sepico_pl.devices import in_processes
from sepico_pl.limits import (
    ASKING,
    DEVICE_COUNT,
    FLAG,
    NATURAL,
    NETWORK,
    PATH,
    OrNull,
    Rule,
    check_limits,
)
from sepico_pl.protocol import device_of
from sepico_pl.serving.inputs import Photograph, find_photographs
from sepico_pl.serving.loading import WEIGHTS, content_digest
from sepico_pl.serving.manifest import Manifest, Settings
from sepico_pl.serving.predictor import Predictor
from sepico_pl.serving.results import SUFFIXES, write_results
from sepico_pl.tables import remove_leftovers
from sepico_pl.types import ByteArray, InputError

PROTOCOL = (
    "network",
    "batch_norm",
    "statistics",
    "scales",
    "flip",
    "window",
    "stride",
    "class_weights_deviation",
    "logits",
)
"""Keys that shape the results."""
RULES: dict[str, Rule] = {
    "checkpoint": PATH,
    "images": PATH,
    "output": PATH,
    "statistics": OrNull(PATH),
    "network": NETWORK,
    "logits": FLAG,
    "batch_size": NATURAL,
    "devices": DEVICE_COUNT,
    **ASKING,
}


def predict(config: DictConfig) -> int:
    """Write the results of every image that has none yet, and name the files that are broken.

    Returns:
        The number of broken files.

    Raises:
        InputError: for a value that cannot be, or what cannot be used at all.
    """
    plain = plain_config(config)
    check_limits(plain, RULES)
    if plain["devices"] > 1:
        device_of(plain["accelerator"], plain["devices"] - 1)
    output = Path(plain["output"]).expanduser()
    photographs = find_photographs(plain["images"], output)
    manifest = Manifest(output, settings_of(plain))
    for kind in SUFFIXES:
        remove_leftovers(output / kind)
    pending = manifest.pending(photographs)
    if not pending:
        print(f"nothing left to do: all {len(photographs)} images have their results in {output}")
        return 0
    outcomes = with_progress(outcomes_of(pending, manifest, plain), len(pending), "predicting")
    broken = [outcome for outcome in outcomes if isinstance(outcome, InputError)]
    for error in broken:
        print(f"error: {error}", file=sys.stderr)
    whole = len(photographs) - len(broken)
    print(f"{whole} of {len(photographs)} images have their results in {output}")
    return len(broken)


def settings_of(plain: Config) -> Settings:
    """Return what shapes the results: the checkpoint's content, and how it is asked.

    Raises:
        InputError: if there is no such checkpoint.
    """
    checkpoint = Path(plain["checkpoint"]).expanduser()
    file = checkpoint / WEIGHTS if checkpoint.is_dir() else checkpoint
    if not file.is_file():
        inside = checkpoint / "last.ckpt"
        remedy = f"; give {inside}" if inside.is_file() else ""
        message = f"checkpoint={checkpoint}: there is no such file, nor an exported model{remedy}"
        raise InputError(message)
    return {"checkpoint": content_digest(file), **{key: plain[key] for key in PROTOCOL}}


def outcomes_of(
    photographs: Sequence[Photograph], manifest: Manifest, plain: Config
) -> Iterator[Photograph | InputError]:
    """Yield each image once its results are there, or what is wrong with its file."""
    groups, broken = by_size(photographs)
    yield from broken
    shares = list(batches(groups, plain["batch_size"]))
    number = min(plain["devices"], len(shares))
    if number <= 1:
        yield from (one for _, one in predict_share(0, 1, shares, manifest, plain, nullcontext()))
    else:
        yield from outcomes_together(number, shares, manifest, plain)


def outcomes_together(
    number: int, shares: list[list[Photograph]], manifest: Manifest, plain: Config
) -> Iterator[Photograph | InputError]:
    """Yield the outcomes of batches that `number` processes share; broken images come last."""
    first = manifest.size()
    broken = []
    parts = shares, manifest, plain, get_context("spawn").Lock()
    for place, outcome in in_processes(predict_share, number, *parts):
        if isinstance(outcome, InputError):
            broken.append((place, outcome))
        else:
            yield outcome
    if manifest.size() > first:
        order = {one.name: place for place, batch in enumerate(shares) for one in batch}
        manifest.sort(order, first)
    yield from (error for _, error in sorted(broken, key=itemgetter(0)))


def predict_share(
    rank: int,
    number: int,
    shares: Sequence[list[Photograph]],
    manifest: Manifest,
    plain: Config,
    writing: AbstractContextManager[Any],
) -> Iterator[tuple[int, Photograph | InputError]]:
    """Predict one process's share of the batches; yield the place of the batch with each outcome.

    The network is loaded once an image could be read.

    Args:
        rank: of this process.
        number: of processes.
        shares: the batches of all processes.
        manifest: of the output folder.
        plain: the configuration of `predict`.
        writing: is entered to write into the manifest.
    """
    predictor: Predictor | None = None
    with ThreadPoolExecutor() as pool:
        for place in range(rank, len(shares), number):
            read = dict(zip(shares[place], pool.map(_read, shares[place]), strict=True))
            yield from ((place, one) for one in read.values() if isinstance(one, InputError))
            images = {
                one: image for one, image in read.items() if not isinstance(image, InputError)
            }
            if images:
                predictor = predictor or Predictor(plain, rank)
                deliver(images, predictor, manifest, pool, writing)
                yield from ((place, one) for one in images)


def by_size(
    photographs: Iterable[Photograph],
) -> tuple[list[list[Photograph]], list[InputError]]:
    """Group images by height and width, as their headers have it; return the broken ones too."""
    groups: dict[tuple[int, int], list[Photograph]] = {}
    broken = []
    for one in photographs:
        try:
            groups.setdefault(read_size(one.path), []).append(one)
        except InputError as error:
            broken.append(error)
    return list(groups.values()), broken


def batches(groups: Iterable[list[Photograph]], size: int) -> Iterator[list[Photograph]]:
    """Cut groups into batches of at most `size`."""
    for group in groups:
        for first in range(0, len(group), size):
            yield group[first : first + size]


def _read(photograph: Photograph) -> ByteArray | InputError:
    try:
        return read_image(photograph.path)
    except InputError as error:
        return error


def deliver(
    images: dict[Photograph, ByteArray],
    predictor: Predictor,
    manifest: Manifest,
    pool: ThreadPoolExecutor,
    writing: AbstractContextManager[Any],
) -> None:
    """Predict images of one size and write their results, in threads."""
    predictions = predictor(list(images.values()))
    with writing:
        manifest.begin(list(images))
    written = [
        pool.submit(
            write_results, manifest.folder, one.name, image, prediction, predictor.model.classes
        )
        for (one, image), prediction in zip(images.items(), predictions, strict=True)
    ]
    for one in written:
        one.result()
    with writing:
        manifest.finish(list(images))
