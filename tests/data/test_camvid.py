import json
from pathlib import Path

import numpy as np
import pytest

from sepico_pl.data.camvid import camvid
from sepico_pl.data.classes import CAMVID
from sepico_pl.data.datasets import ImageFolder, SegmentationFolder
from sepico_pl.data.ledger import Ledger
from sepico_pl.data.rare_classes import count_classes
from sepico_pl.types import DomainPair, InputError, LabelledImages

PIXELS = 480 * 360


@pytest.fixture(scope="module")
def root(shared: Path) -> Path:
    return shared / "camvid"


@pytest.fixture(scope="module")
def pair(root: Path) -> DomainPair:
    found = camvid(str(root))
    check(found)
    return found


def check(pair: DomainPair) -> None:
    for part in (pair.source_train, pair.target_train, pair.source_val, pair.target_val):
        part.check(Ledger(None))


@pytest.mark.realdata
def test_classes_are_those_of_the_readme(root: Path) -> None:
    """Columns id, class and RGB; the README's SignSymbol is our sign."""
    lines = (root / "README.md").read_text().splitlines()
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in lines if "(" in line]
    rows = [row for row in rows if len(row) == 6 and row[0].isdigit() and row[0] != "255"]
    assert [row[1].lower().removesuffix("symbol") for row in rows] == list(CAMVID.names)
    assert [row[2] for row in rows] == [str(colour) for colour in CAMVID.palette]


@pytest.mark.realdata
def test_published_shares(root: Path, pair: DomainPair) -> None:
    record = json.loads((root / "statistics.json").read_text())
    for split, scenes, frames in (
        ("source_day/train", pair.source_train, 411),
        ("source_day/val", pair.source_val, 70),
        ("target_dusk_val", pair.target_val, 20),
    ):
        assert len(scenes) == frames
        shares = 100 * count_classes(scenes, 11).sum(axis=0) / (frames * PIXELS)
        published = list(record[split]["class_percent_of_all_pixels"].values())[:11]
        np.testing.assert_allclose(shares, published, atol=1e-3)


@pytest.mark.realdata
def test_images_are_as_bright_as_published(root: Path, pair: DomainPair) -> None:
    """Means of R, G and B; OpenCV's decoder, too, is up to 0.05 from the published ones here."""
    record = json.loads((root / "statistics.json").read_text())
    val = pair.target_val
    means = np.mean([val[i][0].mean((0, 1)) for i in range(len(val))], axis=0)
    np.testing.assert_allclose(means, record["target_dusk_val"]["mean_rgb"], atol=0.1)


@pytest.mark.realdata
def test_counts_of_the_check_are_those_of_the_labels(pair: DomainPair) -> None:
    scenes = pair.target_val
    assert isinstance(scenes, SegmentationFolder)
    for row, index in zip(scenes.class_counts, range(len(scenes)), strict=True):
        label = scenes.label(index)
        assert row.tolist() == [int((label == c).sum()) for c in range(11)]


@pytest.mark.realdata
def test_no_frame_is_in_two_splits(pair: DomainPair) -> None:
    assert isinstance(pair.target_train, ImageFolder)
    labelled = [pair.source_train, pair.source_val, pair.target_val]
    frames = [Path(scenes.name(i)).stem for scenes in labelled for i in range(len(scenes))]
    frames += [path.stem for path in pair.target_train.images]
    assert len(frames) == len(set(frames)) == 411 + 70 + 20 + 59


@pytest.mark.realdata
def test_the_target_stream_has_no_label(root: Path, pair: DomainPair) -> None:
    target = pair.target_train
    assert not isinstance(target, LabelledImages)
    assert not [name for name in dir(target) if "label" in name]
    assert target[0].shape == (360, 480, 3)
    files = [path for path in (root / "target_dusk").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".jpg", ".txt"}
    for stem in (root / "target_dusk" / "train.txt").read_text().split():
        assert not (root / "target_dusk_val" / "labels" / f"{stem}.png").exists()


def test_without_its_folder(tmp_path: Path) -> None:
    """The pair can be named without it: a checkpoint loads anywhere."""
    pair = camvid(str(tmp_path))
    assert len(pair.classes) == 11
    with pytest.raises(InputError, match=r"dataset\.root=.*source_day"):
        len(pair.source_train)


@pytest.mark.parametrize("root", [None, ""])
def test_without_a_root(root) -> None:
    with pytest.raises(InputError, match=r"dataset\.root is not set"):
        camvid(root)


def test_home_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match=str(tmp_path / "streets" / "source_day")):
        len(camvid("~/streets").source_train)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        ("source_day/train.txt", r"source_day/train\.txt: no such list"),
        ("target_dusk/train.txt", r"target_dusk/train\.txt: no such list"),
        ("target_dusk_val/labels/0001TP_007050.png", r"0001TP_007050\.png is missing"),
        ("target_dusk/images/0001TP_007710.jpg", r"no image for 0001TP_007710 \(1 of 1 "),
    ],
)
def test_what_is_missing_is_named(root: Path, tmp_path: Path, lost: str, expected: str) -> None:
    """One real frame of each split, and one file of it missing."""
    for split in ("source_day/train", "source_day/val", "target_dusk/train", "target_dusk_val/val"):
        part = split.split("/")[0]
        stem = (root / f"{split}.txt").read_text().split()[0]
        found = [root / part / "images" / f"{stem}.jpg", root / part / "labels" / f"{stem}.png"]
        for file in filter(Path.exists, found):
            copy = tmp_path / file.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
        (tmp_path / f"{split}.txt").write_text(stem)
    assert len(camvid(str(tmp_path)).source_train) == 1
    (tmp_path / "target_dusk/images/unlisted.jpg").touch()
    (tmp_path / lost).unlink()
    with pytest.raises(InputError, match=expected):
        check(camvid(str(tmp_path)))
