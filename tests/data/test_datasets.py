import os
import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from sepico_pl.data.classes import CITYSCAPES
from sepico_pl.data.datasets import ImageFolder, ReferencedFolder, SegmentationFolder
from sepico_pl.data.files import read_image
from sepico_pl.data.labels import IdLabels
from sepico_pl.data.ledger import Ledger
from sepico_pl.data.listing import listed_images, listed_pairs
from sepico_pl.types import InputError, LabelledImages, UnlabelledImages

IDS = np.array([[0, 1, 2], [255, 1, 0]], np.uint8)
RGB = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two listed pairs in a folder whose name has a space and an accent."""
    root = tmp_path / "día y noche"
    for part in ("images", "labels"):
        (root / part).mkdir(parents=True)
    for stem in ("a", "b"):
        cv2.imwrite(str(root / "images" / f"{stem}.png"), RGB[..., ::-1])
        cv2.imwrite(str(root / "labels" / f"{stem}.png"), IDS)
    (root / "train.txt").write_text("a\nb\n")
    return root


def ids(count: int) -> IdLabels:
    return IdLabels({c: c for c in range(count)})


def labelled(root: Path) -> SegmentationFolder:
    collection = SegmentationFolder(lambda: listed_pairs(root, "train"), ids(3), 3)
    collection.check(Ledger(None))
    return collection


def read_label(path: Path) -> np.ndarray:
    return ids(254).read(path)


def check_pairs(pairs: list[tuple[Path, Path]], num_classes: int) -> np.ndarray:
    collection = SegmentationFolder(lambda: pairs, ids(num_classes), num_classes)
    collection.check(Ledger(None))
    return collection.class_counts


def check_images(images: list[Path]) -> None:
    ImageFolder(lambda: images).check(Ledger(None))


def test_images_are_rgb_and_labels_ids(folder: Path) -> None:
    collection = labelled(folder)
    image, label = collection[1]
    np.testing.assert_array_equal(image, RGB)
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


def test_a_gray_label_saved_in_colour(tmp_path: Path) -> None:
    Image.fromarray(IDS).convert("RGB").save(tmp_path / "rgb.png")
    Image.fromarray(IDS).convert("LA").save(tmp_path / "alpha.png")
    for name in ("rgb.png", "alpha.png"):
        np.testing.assert_array_equal(read_label(tmp_path / name), IDS)


def test_a_colour_picture_is_no_label(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "colour.png"), np.full((2, 3, 3), (90, 60, 0), np.uint8))
    with pytest.raises(InputError, match=r"colour\.png.*colour picture"):
        read_label(tmp_path / "colour.png")


def test_counts_come_with_the_check(folder: Path) -> None:
    cv2.imwrite(str(folder / "labels" / "b.png"), np.full((2, 3), 2, np.uint8))
    counts = check_pairs(listed_pairs(folder, "train"), 3)
    assert counts.dtype == np.int64
    assert counts.tolist() == [[2, 2, 1], [0, 0, 6]]
    np.testing.assert_array_equal(labelled(folder).class_counts, counts)


def test_lists_hold_one_stem_a_line(folder: Path) -> None:
    for part, suffix in (("images", ".JPG"), ("labels", ".png")):
        kind = ".png" if suffix == ".png" else ".jpg"
        content = cv2.imencode(kind, np.zeros((2, 3), np.uint8))[1].tobytes()
        (folder / part / f"été 1{suffix}").write_bytes(content)
    (folder / "images" / "b.txt").write_text("no image, though its stem is listed")
    (folder / "train.txt").write_text("  été 1\r\n\nb\n", encoding="utf-8-sig")
    names = [Path(labelled(folder).name(i)).name for i in range(2)]
    assert names == ["été 1.JPG", "b.png"]


def test_nothing_to_check() -> None:
    with pytest.raises(InputError, match="no file"):
        check_images([])
    with pytest.raises(InputError, match="no file"):
        check_pairs([], 3)


def test_every_truncated_or_flipped_label_is_found(tmp_path: Path) -> None:
    """A damaged label either decodes to the same ids or is refused; never to other ids."""
    ids = np.random.default_rng(0).integers(0, 11, (6, 8)).astype(np.uint8)
    palette = Image.fromarray(ids).convert("L")
    palette.putpalette([7, 8, 9] * 256)
    palette.save(tmp_path / "palette.png")
    cv2.imwrite(str(tmp_path / "gray.png"), ids)
    cv2.imwrite(str(tmp_path / "wide.png"), np.stack([ids * 0, ids * 0, ids], -1).astype(np.uint16))
    image, damaged = tmp_path / "image.png", tmp_path / "damaged.png"
    cv2.imwrite(str(image), np.zeros((6, 8, 3), np.uint8))
    for name in ("palette.png", "gray.png", "wide.png"):
        whole = (tmp_path / name).read_bytes()
        assert read_label(tmp_path / name).tolist() == ids.tolist()
        refused = 0
        for position in range(len(whole)):
            flipped = bytes([whole[position] ^ 0x55])
            for content in (whole[:position], whole[:position] + flipped + whole[position + 1 :]):
                damaged.write_bytes(content)
                try:
                    check_pairs([(image, damaged)], 11)
                except InputError:
                    refused += 1
                else:
                    np.testing.assert_array_equal(read_label(damaged), ids)
        assert refused > 1.8 * len(whole)


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """Two readable pairs, looked at as somebody who is not root."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        for part in ("images", "labels"):
            (root / part).mkdir()
            cv2.imwrite(str(root / part / "a.png"), np.zeros((2, 3), np.uint8))
        (root / "train.txt").write_text("a\n")
        if os.geteuid() != 0:
            yield root
            return
        os.seteuid(65534)
        try:
            yield root
        finally:
            os.seteuid(0)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions of POSIX")
@pytest.mark.parametrize(
    ("closed", "expected"),
    [
        ("images/a.png", r"images/a\.png: no permission to read the image"),
        ("labels/a.png", r"labels/a\.png: no permission to read the label"),
        ("images", r"images: cannot be listed \(Permission denied\)"),
        ("labels", r"labels/a\.png is missing or out of reach"),
        ("train.txt", r"train\.txt: cannot be read .*Permission denied"),
    ],
)
def test_what_may_not_be_read_is_named(unprivileged: Path, closed: str, expected: str) -> None:
    assert len(labelled(unprivileged)) == 1
    mine = os.geteuid()
    os.seteuid(os.getuid())
    (unprivileged / closed).chmod(0)
    os.seteuid(mine)
    try:
        with pytest.raises(InputError, match=expected):
            labelled(unprivileged)
    finally:
        os.seteuid(os.getuid())
        (unprivileged / closed).chmod(0o755)


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


def break_list_encoding(root: Path) -> None:
    (root / "train.txt").write_bytes("día".encode("latin-1"))


def break_list_is_a_folder(root: Path) -> None:
    break_list(root)
    (root / "train.txt").mkdir()


def break_image_is_a_folder(root: Path) -> None:
    break_image_is_missing(root)
    (root / "images" / "b.png").mkdir()


def break_label_is_a_folder(root: Path) -> None:
    break_label_is_missing(root)
    (root / "labels" / "b.png").mkdir()


def break_images_are_a_file(root: Path) -> None:
    (root / "images").rename(root / "elsewhere")
    (root / "images").write_text("")


def break_checksum(root: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 3, (2, 3), np.uint8)
    cv2.imwrite(str(root / "labels" / "b.png"), noise)
    content = bytearray((root / "labels" / "b.png").read_bytes())
    content[content.index(b"IEND") - 5] ^= 1  # the last byte of the pixels' checksum
    (root / "labels" / "b.png").write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (break_nothing_listed, ["train.txt", "empty"]),
        (break_list, ["train.txt", "dataset.root"]),
        (break_image_is_missing, ["images", "no image for b"]),
        (break_label_is_missing, ["b.png", "label", "missing"]),
        (break_unknown_id, ["labels/b.png", "unknown class ids [7, 9]", "0 to 2", "3 classes"]),
        (break_size, ["labels/b.png", "4x3", "2x3"]),
        (break_empty_image, ["images/b.png", "0 bytes"]),
        (break_truncated_image, ["images/b.png", "cannot be read as image"]),
        (break_truncated_label, ["labels/b.png", "cannot be read as label"]),
        (break_empty_label, ["labels/b.png", "0 bytes"]),
        (break_not_an_image, ["images/b.png", "cannot be read as image"]),
        (break_list_encoding, ["train.txt", "UTF-8"]),
        (break_list_is_a_folder, ["train.txt", "cannot be read"]),
        (break_image_is_a_folder, ["images/b.png", "a folder where the image file should be"]),
        (break_label_is_a_folder, ["labels/b.png", "missing"]),
        (break_images_are_a_file, ["images: cannot be listed"]),
        (break_checksum, ["labels/b.png", "cannot be read as label", "checksum"]),
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
        check_images(listed_images(folder, "train"))


def test_sixteen_bit_ids_beyond_a_byte(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "ids.png"), np.full((2, 2), 26_001, np.uint16))
    with pytest.raises(InputError, match="26001"):
        read_label(tmp_path / "ids.png")


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder where the image file"):
        read_image(tmp_path)
    with pytest.raises(InputError, match="no such image file"):
        read_image(tmp_path / "absent.png")


def test_unlabelled_images_hold_no_label(folder: Path) -> None:
    images = ImageFolder(lambda: listed_images(folder, "train"))
    assert isinstance(images, UnlabelledImages)
    assert not isinstance(images, LabelledImages)
    assert images[0].shape == (2, 3, 3)
    assert set(vars(images)) == {"find", "images", "_sizes"}
    assert not [name for name in dir(images) if "label" in name]


def test_the_real_defect_of_gta(shared: Path) -> None:
    """Pair 15188 has a label of another size than its image, as in the real set."""
    root = shared / "fixtures" / "gta_format"
    pairs = [
        (root / "images" / f"{n}.png", root / "labels" / f"{n}.png") for n in ("00001", "15188")
    ]
    assert check_pairs(pairs[:1], 35).sum() == 256 * 128
    with pytest.raises(InputError, match=r"labels/15188\.png: the label is 128x240 .* 128x256"):
        check_pairs(pairs, 35)


def test_cityscapes_classes_are_the_benchmarks(shared: Path) -> None:
    table = (shared / "FORMATS.md").read_text().split("### C0")[1].split("### C1")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    rows = [row for row in rows if row[0].isdigit()]
    assert [int(row[0]) for row in rows] == list(range(19)) == list(range(len(CITYSCAPES)))
    assert [row[1] for row in rows] == list(CITYSCAPES.names)
    assert [tuple(map(int, row[3].split(","))) for row in rows] == list(CITYSCAPES.palette)


def test_a_stem_listed_twice(folder: Path) -> None:
    (folder / "train.txt").write_text("a\nb\na\n")
    with pytest.raises(InputError, match=r"train\.txt: a is listed twice"):
        labelled(folder)


def test_collections_reach_processes_that_start_afresh(folder: Path) -> None:
    """Spawned loader processes are sent what was found, though a way of finding cannot be."""
    pairs = labelled(folder)
    images = ImageFolder(lambda: listed_images(folder, "train"))
    both = ReferencedFolder(lambda: [(path, path) for path in listed_images(folder, "train")])
    for collection in (pairs, images, both):
        sent = pickle.loads(pickle.dumps(collection))
        assert len(sent) == 2
        np.testing.assert_array_equal(sent[1][0], collection[1][0])
    assert pickle.loads(pickle.dumps(pairs)).class_counts.tolist() == pairs.class_counts.tolist()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(both)).reference(1), both[1])


def test_sizes_are_those_of_the_headers(folder: Path) -> None:
    images = ImageFolder(lambda: listed_images(folder, "train"))
    before = [images.size(index) for index in range(2)]
    images.check(Ledger(None))
    assert [images.size(index) for index in range(2)] == before == [(2, 3), (2, 3)]
