"""Class counts of small random data sets of one's own, by a loop over the rules of the guide."""

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from PIL import Image
from test_labels import write_packed

from sepico_pl.data.ledger import Ledger
from sepico_pl.data.own import folder
from sepico_pl.types import InputError

STEMS = ("a", "b.c", "below/a", "below/deep/a")
LOSSY = ("jpg", "lossy webp")
FORMS = ("png", "palette png", "bmp", "tif", "webp", *LOSSY)
IMPLICIT = 255
"""The id that is ignored unless it stands for a class."""


class Own(NamedTuple):
    """A data set: what is typed, and what lies on disk.

    Attributes:
        typed: keys of `dataset`.
        listed: the class of each listed value, None where it is ignored.
        labels: values of pixels by stem, (h, w) ids or (h, w, 3) colours.
        bits: of a pixel, in gray and palettes.
        form: of label files.
    """

    typed: dict[str, Any]
    listed: dict[Any, str | None]
    labels: dict[str, np.ndarray]
    bits: int
    form: str


@st.composite
def data_sets(draw: st.DrawFn) -> Own:
    number = draw(st.integers(2, 4))
    classes = [f"class {index}" for index in range(number)]
    colours = draw(st.booleans())
    bits = 8 if colours else draw(st.sampled_from([1, 2, 4, 8, 16][number > 2 :]))
    form = "packed" if bits < 8 else draw(st.sampled_from(["png", "tif"] if bits > 8 else FORMS))
    unlisted = draw(st.sampled_from(["error", "ignore"]))
    typed: dict[str, Any] = {"classes": classes, "unlisted": unlisted}
    largest = min(2**bits, 256) - 1
    values: st.SearchStrategy[Any] = st.integers(0, largest) | st.just(largest)
    if colours:
        values = st.tuples(*[st.sampled_from([0, 1, 128, 255])] * 3)
        chosen = draw(st.lists(values, min_size=number, max_size=number, unique=True))
        typed |= {"labels": "colours", "colours": [list(one) for one in chosen]}
    elif draw(st.booleans()):
        most = min(2**bits, 6)
        chosen = draw(st.lists(values, min_size=number, max_size=most, unique=True))
        typed["ids"] = {one: classes[place % number] for place, one in enumerate(chosen)}
    else:
        chosen = list(range(number))
    ignored = draw(st.lists(values, max_size=2))
    typed["ignore"] = [list(one) if colours else one for one in ignored]
    stands_for = {one: classes[place % number] for place, one in enumerate(chosen)}
    pool = [*chosen, *ignored]
    if draw(st.booleans()):
        pool.append(draw(values))
    if bits == 16 and draw(st.integers(0, 9)) == 0:
        pool.append(draw(st.integers(256, 65535)))
    if draw(st.integers(0, 3)) == 0:
        pool.remove(chosen[-1])
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    labels = {}
    for stem in STEMS[: draw(st.integers(1, len(STEMS)))]:
        size = (draw(st.integers(1, 5)), draw(st.integers(9, 15)))
        places = rng.integers(0, len(pool), size)
        places[0, :9] = np.arange(9) % len(pool)
        labels[stem] = np.array(pool)[places]
    return Own(typed, dict.fromkeys(ignored) | stands_for, labels, bits, form)


def write(root: Path, own: Own) -> None:
    for stem, values in own.labels.items():
        for part in ("day", "labels"):
            (root / part / stem).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", values.shape[1::-1]).save(root / "day" / f"{stem}.png")
        write_label(root / "labels" / stem, values, own)


def write_label(stem: Path, values: np.ndarray, own: Own) -> None:
    path = stem.with_name(f"{stem.name}.{own.form.split()[-1]}")
    if own.form == "packed":
        write_packed(stem.with_name(f"{stem.name}.png"), values, own.bits)
        return
    image = Image.fromarray(values.astype(np.uint16 if own.bits == 16 else np.uint8))
    if own.form == "palette png":
        image = in_palette(values) if values.ndim == 3 else image.copy()
        if image.mode == "L":
            image.putpalette([*range(100, 250), *range(100)] * 3)
    elif path.suffix == ".webp":
        image = image.convert("RGB")
    image.save(path, **({"lossless": True} if own.form == "webp" else {}))


def in_palette(colours: np.ndarray) -> Image.Image:
    shown, index = np.unique(colours.reshape(-1, 3), axis=0, return_inverse=True)
    image = Image.fromarray(index.reshape(colours.shape[:2]).astype(np.uint8))
    image.putpalette(shown.astype(np.uint8).tobytes())
    return image


def counts_by_the_rules(own: Own) -> tuple[list[list[int]], str]:
    """Return pixels of each class in each label, and why it must be refused, or ""."""
    classes, unlisted = own.typed["classes"], own.typed["unlisted"]
    ids = "colours" not in own.typed
    reason = "lossy" if own.form in LOSSY else ""
    ignored = [tuple(one) if isinstance(one, list) else one for one in own.typed["ignore"]]
    if any(own.listed[one] is not None for one in ignored):
        reason = reason or "contradiction"
    rows = []
    for stem in sorted(own.labels, key=lambda stem: Path(f"{stem}.png")):
        row = [0] * len(classes)
        for pixel in own.labels[stem].reshape(-1, *own.labels[stem].shape[2:]):
            value = int(pixel) if ids else tuple(pixel.tolist())
            if ids and value > 255:
                reason = reason or "id"
            elif own.listed.get(value) is not None:
                row[classes.index(own.listed[value])] += 1
            elif value not in own.listed and not (ids and value == IMPLICIT):
                reason = reason or ("unlisted" if unlisted == "error" else "")
        rows.append(row)
    return rows, reason or ("" if np.any(rows) else "void")


@settings(max_examples=250, deadline=None)
@given(own=data_sets())
def test_training_counts_what_the_rules_say_or_refuses(own: Own) -> None:
    rows, reason = counts_by_the_rules(own)
    event(reason or "counted")
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        write(root, own)
        parts = {"source_images": "day", "source_labels": "labels", "target_images": "day"}
        folders = {key: str(root / part) for key, part in parts.items()}
        if reason:
            with pytest.raises(InputError) as caught:
                folder(**folders, **own.typed).source_train.check(Ledger(None))
            assert "\n" not in str(caught.value)
            assert "dataset." in str(caught.value) or str(root / "labels") in str(caught.value)
            return
        source = folder(**folders, **own.typed).source_train
        source.check(Ledger(None))
        assert source.class_counts.tolist() == rows
        for index, row in enumerate(rows):
            found = np.bincount(source[index][1].ravel(), minlength=256)
            assert found[: len(row)].tolist() == row
            assert found[len(row) : 255].sum() == 0
