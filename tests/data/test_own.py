from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from sepico_pl.cli import explain
from sepico_pl.data.datasets import say_what_is_absent
from sepico_pl.data.ledger import Ledger
from sepico_pl.data.own import folder
from sepico_pl.types import IGNORE_INDEX, InputError

NAMES = ["road", "car", "sky"]
COLOURS = [[128, 64, 128], [0, 0, 142], [70, 130, 180]]
TRUTH = np.array([[0, 0, 1], [2, 255, 1]], np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for part in ("source_images", "source_labels", "target_images"):
        (tmp_path / part).mkdir()
    for stem, size in (("a", (2, 3)), ("b", (4, 6))):
        for part in ("source_images", "target_images"):
            Image.new("RGB", size[::-1], (9, 9, 9)).save(tmp_path / part / f"{stem}.jpg")
    return tmp_path


def write_labels(root: Path, to_raw) -> None:
    """Label a (2 x 3) and b (twice as large, every pixel doubled)."""
    double = TRUTH.repeat(2, 0).repeat(2, 1)
    for stem, truth in (("a", TRUTH), ("b", double)):
        Image.fromarray(to_raw(truth)).save(root / "source_labels" / f"{stem}.png")


def pair(root: Path, **settings):
    parts = ("source_images", "source_labels", "target_images")
    folders = {part: str(root / part) for part in parts}
    found = folder(**{**folders, "classes": NAMES, **settings})
    found.source_train.check(Ledger(None))
    found.target_train.check(Ledger(None))
    return found


def in_colours(truth: np.ndarray, void: tuple[int, int, int] = (0, 0, 0)) -> np.ndarray:
    table = np.array([*COLOURS, *[[0, 0, 0]] * 252, list(void)], np.uint8)
    return table[truth]


def test_ids_in_the_order_of_classes(root: Path) -> None:
    write_labels(root, lambda truth: truth)
    found = pair(root)
    np.testing.assert_array_equal(found.source_train.label(0), TRUTH)
    assert found.source_train[1][0].shape == (4, 6, 3)
    assert found.source_train.class_counts.tolist() == [[2, 2, 1], [8, 8, 4]]
    assert (found.source_val, found.target_val) == (None, None)
    assert found.classes.names == ("road", "car", "sky")


def test_a_map_of_ids_may_merge_classes(root: Path) -> None:
    """7 and 8 are road, 26 car, 23 sky, 4 is ignored."""
    table = np.full(256, 4, np.uint8)
    table[:3] = (7, 26, 23)

    def raw(truth: np.ndarray) -> np.ndarray:
        ids = table[truth]
        ids[0, 0] = 8
        return ids

    write_labels(root, raw)
    ids = {7: "road", 8: "road", 26: "car", 23: "sky"}
    found = pair(root, ids=ids, ignore=[4])
    np.testing.assert_array_equal(found.source_train.label(0), TRUTH)
    with pytest.raises(InputError, match=r"a\.png: unknown class ids \[4\].*known are 7 to 8, 23"):
        pair(root, ids=ids)
    everything = pair(root, ids=ids, unlisted="ignore")
    np.testing.assert_array_equal(everything.source_train.label(0), TRUTH)


def test_colours(root: Path) -> None:
    write_labels(root, in_colours)
    found = pair(root, labels="colours", colours=COLOURS, ignore=[[0, 0, 0]])
    np.testing.assert_array_equal(found.source_train.label(0), TRUTH)
    assert found.classes.palette == tuple(map(tuple, COLOURS))
    with pytest.raises(InputError, match=r"1 colours of no class, 1 pixels: \[\[0, 0, 0\]\]"):
        pair(root, labels="colours", colours=COLOURS)
    ignoring = pair(root, labels="colours", colours=COLOURS, unlisted="ignore")
    assert (ignoring.source_train.label(0) == IGNORE_INDEX).sum() == 1


def test_a_palette_shows_colours(root: Path) -> None:
    def palette(truth: np.ndarray) -> np.ndarray:
        return truth

    write_labels(root, palette)
    for stem in "ab":
        path = root / "source_labels" / f"{stem}.png"
        with Image.open(path) as image:
            shown = image.convert("P")
        values = [value for colour in COLOURS for value in colour] + [0] * 252 * 3 + [0, 0, 0]
        shown.putpalette(values)
        shown.save(path)
    found = pair(root, labels="colours", colours=COLOURS, ignore=[[0, 0, 0]])
    np.testing.assert_array_equal(found.source_train.label(0), TRUTH)
    np.testing.assert_array_equal(pair(root).source_train.label(0), TRUTH)


def test_validation_folders(root: Path) -> None:
    write_labels(root, lambda truth: truth)
    images, labels = str(root / "source_images"), str(root / "source_labels")
    found = pair(root, target_val_images=images, target_val_labels=labels)
    found.target_val.check(Ledger(None))
    np.testing.assert_array_equal(found.target_val.label(0), TRUTH)
    with pytest.raises(
        InputError, match=r"target_val_images and dataset\.target_val_labels go toge"
    ):
        pair(root, target_val_images=images)


def test_an_image_without_label(root: Path) -> None:
    write_labels(root, lambda truth: truth)
    (root / "source_labels" / "b.png").unlink()
    with pytest.raises(InputError, match=r"b\.jpg: its label .*b\.png is missing; add it"):
        pair(root)


def test_two_images_of_one_stem(root: Path) -> None:
    write_labels(root, lambda truth: truth)
    Image.new("RGB", (3, 2)).save(root / "source_images" / "a.png")
    with pytest.raises(InputError, match=r"a\.png: a\.jpg has the same stem"):
        pair(root)


def test_classes_that_no_source_label_shows_are_named(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_labels(root, lambda truth: truth)
    found = pair(root, classes=[*NAMES, "tram", "bus"])
    say_what_is_absent(found.source_train, found.classes)
    said = "no source label has a pixel of 2 classes: tram, bus"
    assert said in capsys.readouterr().out.splitlines()
    found = pair(root)
    say_what_is_absent(found.source_train, found.classes)
    assert capsys.readouterr().out == ""


def test_evaluation_needs_no_pixel_of_each_class(root: Path) -> None:
    write_labels(root, lambda truth: truth)
    (root / "few").mkdir()
    for stem, size in (("a", (2, 3)), ("b", (4, 6))):
        Image.fromarray(np.ones(size, np.uint8)).save(root / "few" / f"{stem}.png")
    images = str(root / "source_images")
    found = pair(root, target_val_images=images, target_val_labels=str(root / "few"))
    found.target_val.check(Ledger(None))
    assert found.target_val.class_counts.sum(0).tolist() == [0, 30, 0]


def test_what_changes_size_during_a_run_is_refused(root: Path) -> None:
    write_labels(root, lambda truth: truth)
    found = pair(root)
    label = root / "source_labels" / "a.png"
    Image.fromarray(TRUTH.T.copy()).save(label)
    with pytest.raises(InputError, match=r"a\.png: the label is 3x2 but its image .*a\.jpg is 2x3"):
        found.source_train[0]
    loader = DataLoader(found.source_train, num_workers=1, collate_fn=list)
    with pytest.raises(InputError) as caught:
        next(iter(loader))
    assert str(explain(caught.value)).startswith(f"{label}: the label is 3x2 but its image")
    for part in ("source_images", "target_images"):
        Image.new("RGB", (2, 3)).save(root / part / "a.jpg")
    for images in (found.source_train, found.target_train):
        with pytest.raises(InputError, match=r"a\.jpg: the image is 3x2 and was 2x3"):
            images[0]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"classes": ["road"]}, "give 2 to 253 different names"),
        ({"classes": ["road", "road"]}, "different names"),
        ({"classes": "road"}, r"dataset\.classes=road is no list; write it as \[road\]"),
        ({"ignore": 5}, r"dataset\.ignore=5 is no list"),
        ({"ignore": None}, r"dataset\.ignore=None is no list"),
        ({"colours": 5}, r"dataset\.colours=5 is no list"),
        ({"ids": ["road", "car"]}, r"dataset\.ids=\['road', 'car'\] is no map"),
        ({"labels": "pictures"}, "dataset.labels=pictures"),
        ({"labels": "colours"}, "needs dataset.colours"),
        ({"colours": COLOURS[:2]}, "2 different colours for 3 classes"),
        ({"colours": [*COLOURS[:2], [1, 2]]}, r"\[1, 2\] is no colour"),
        ({"colours": [*COLOURS[:2], [1, 2, 256]]}, "256 must be a whole number"),
        ({"ids": {7: "tree"}}, "tree is none of"),
        ({"ids": {"x": "road"}}, "dataset.ids: x must be a whole number"),
        ({"ignore": ["x"]}, "dataset.ignore: x"),
        ({"unlisted": "drop"}, "dataset.unlisted=drop"),
        ({"target_images": "/nowhere"}, "/nowhere: cannot be listed"),
    ],
)
def test_settings_that_cannot_be(root: Path, settings: dict, expected: str) -> None:
    write_labels(root, lambda truth: truth)
    with pytest.raises(InputError, match=expected):
        pair(root, **settings)
