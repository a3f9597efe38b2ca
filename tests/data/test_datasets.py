import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from sepico_pl.data.camvid import camvid
from sepico_pl.data.datasets import (
    ImageFolder,
    SegmentationFolder,
    listed_images,
    listed_pairs,
    read_image,
    read_label,
)
from sepico_pl.data.rare_classes import count_classes
from sepico_pl.types import InputError, LabelledImages

IDS = np.array([[0, 1, 2], [255, 1, 0]], np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two listed pairs in a folder whose name has a space and an accent."""
    root = tmp_path / "día y noche"
    for part in ("images", "labels"):
        (root / part).mkdir(parents=True)
    for stem in ("a", "b"):
        cv2.imwrite(str(root / "images" / f"{stem}.png"), np.full((2, 3, 3), (1, 2, 3), np.uint8))
        cv2.imwrite(str(root / "labels" / f"{stem}.png"), IDS)
    (root / "train.txt").write_text("a\nb\n")
    return root


def labelled(root: Path) -> SegmentationFolder:
    return SegmentationFolder(listed_pairs(root, "train"), num_classes=3)


def test_images_are_rgb_and_labels_ids(folder: Path) -> None:
    collection = labelled(folder)
    image, label = collection[1]
    assert image[0, 0].tolist() == [3, 2, 1]
    np.testing.assert_array_equal(label, IDS)
    assert collection.name(1).endswith("b.png")
    assert isinstance(collection, LabelledImages)


def test_label_formats(tmp_path: Path) -> None:
    palette = Image.fromarray(IDS, mode="P")
    palette.putpalette([10, 20, 30] * 256)
    palette.save(tmp_path / "palette.png")
    wide = np.zeros((2, 3, 3), np.uint16)
    wide[..., 2] = IDS
    wide[..., 1] = 40_000
    cv2.imwrite(str(tmp_path / "wide.png"), wide)
    for name in ("palette.png", "wide.png"):
        np.testing.assert_array_equal(read_label(tmp_path / name), IDS)


def test_real_label_formats(shared: Path) -> None:
    fixtures = shared / "fixtures"
    gta = read_label(fixtures / "gta_format" / "labels" / "00001.png")
    cityscapes = read_label(next((fixtures / "cityscapes").rglob("*_labelIds.png")))
    np.testing.assert_array_equal(gta, cityscapes)
    synthia = read_label(fixtures / "synthia_format" / "GT" / "LABELS" / "0000000.png")
    assert len(np.unique(synthia)) > 3
    assert synthia.max() <= 22


def break_nothing_listed(root: Path) -> None:
    (root / "train.txt").write_text("\n")


def break_list(root: Path) -> None:
    (root / "train.txt").unlink()


def break_image_is_missing(root: Path) -> None:
    (root / "images" / "b.png").unlink()


def break_label_is_missing(root: Path) -> None:
    (root / "labels" / "b.png").unlink()


def break_unknown_id(root: Path) -> None:
    cv2.imwrite(str(root / "labels" / "b.png"), np.array([[0, 1, 7], [0, 0, 9]], np.uint8))


def break_size(root: Path) -> None:
    cv2.imwrite(str(root / "labels" / "b.png"), np.zeros((4, 3), np.uint8))


def break_empty_image(root: Path) -> None:
    (root / "images" / "b.png").write_bytes(b"")


def break_truncated_image(root: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    cv2.imwrite(str(root / "images" / "b.png"), noise)
    whole = (root / "images" / "b.png").read_bytes()
    (root / "images" / "b.png").write_bytes(whole[: len(whole) // 2])


def break_truncated_label(root: Path) -> None:
    (root / "labels" / "b.png").write_bytes((root / "labels" / "b.png").read_bytes()[:40])


def break_empty_label(root: Path) -> None:
    (root / "labels" / "b.png").write_bytes(b"")


def break_not_an_image(root: Path) -> None:
    (root / "images" / "b.png").write_text("hello")


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (break_nothing_listed, ["train.txt", "empty"]),
        (break_list, ["train.txt", "dataset.root"]),
        (break_image_is_missing, ["images", "no image for b"]),
        (break_label_is_missing, ["b.png", "label", "missing"]),
        (break_unknown_id, ["labels/b.png", "unknown class ids [7, 9]", "0 to 2"]),
        (break_size, ["labels/b.png", "4x3", "2x3"]),
        (break_empty_image, ["images/b.png", "0 bytes"]),
        (break_truncated_image, ["images/b.png", "cannot be read as image"]),
        (break_truncated_label, ["labels/b.png", "cannot be read as label"]),
        (break_empty_label, ["labels/b.png", "0 bytes"]),
        (break_not_an_image, ["images/b.png", "cannot be read as image"]),
    ],
)
def test_bad_files_are_named_before_training(folder: Path, damage, expected: list[str]) -> None:
    damage(folder)
    with pytest.raises(InputError) as error:
        labelled(folder)
    message = str(error.value)
    assert "\n" not in message
    for part in expected:
        assert part in message


def test_unlabelled_images_are_checked_too(folder: Path) -> None:
    break_truncated_image(folder)
    with pytest.raises(InputError, match=r"images/b\.png"):
        ImageFolder(listed_images(folder, "train"))


def test_sixteen_bit_ids_beyond_a_byte(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "ids.png"), np.full((2, 2), 26_001, np.uint16))
    with pytest.raises(InputError, match="26001"):
        read_label(tmp_path / "ids.png")


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such image file"):
        read_image(tmp_path)


@pytest.mark.realdata
def test_camvid_has_the_published_shares(shared: Path) -> None:
    pair = camvid(str(shared / "camvid"))
    record = json.loads((shared / "camvid" / "statistics.json").read_text())
    for split, scenes, frames in (
        ("source_day/train", pair.source_train, 411),
        ("source_day/val", pair.source_val, 70),
        ("target_dusk_val", pair.target_val, 20),
    ):
        assert len(scenes) == frames
        counts = count_classes(scenes, 11).sum(axis=0)
        shares = 100 * counts / (frames * 480 * 360)
        published = list(record[split]["class_percent_of_all_pixels"].values())[:11]
        np.testing.assert_allclose(shares, published, atol=1e-3)
    assert len(pair.target_train) == 59


@pytest.mark.realdata
def test_camvids_target_stream_has_no_label(shared: Path) -> None:
    target = camvid(str(shared / "camvid")).target_train
    assert not isinstance(target, LabelledImages)
    assert target[0].shape == (360, 480, 3)
    assert not list((shared / "camvid" / "target_dusk").rglob("*.png"))


def test_camvid_without_its_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"dataset\.root=.*source_day"):
        camvid(str(tmp_path))
