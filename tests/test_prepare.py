"""`prepare` through the real command line: every defect in one pass, and the resized copy."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import miniatures
import numpy as np
import pytest
from command_line import call, run
from PIL import Image

from sepico_pl.data import benchmarks
from sepico_pl.data.geometry import fit
from sepico_pl.data.ledger import Ledger

pytestmark = pytest.mark.slow

GTA = ["dataset=gta", "data.source_size=[24,48]", "data.target_size=[24,48]"]


@pytest.fixture
def data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "data"
    for name in ("gta", "cityscapes"):
        miniatures.ALL[name](root / name)
    monkeypatch.setenv("SEPICO_DATA", str(root))
    return root


def report(folder: Path) -> dict:
    return json.loads((folder / "outputs/prepare.json").read_text())


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def broken_image(root: Path) -> None:
    truncate(root / "gta/images/00001.png")


def missing_label(root: Path) -> None:
    (root / "gta/labels/00002.png").unlink()


def unknown_id(root: Path) -> None:
    miniatures.save_palette(root / "gta/labels/00003.png", np.full((48, 96), 77, np.uint8))


def empty_target(root: Path) -> None:
    next((root / "cityscapes/leftImg8bit/train").rglob("*.png")).write_bytes(b"")


def colour_label(root: Path) -> None:
    label = next((root / "cityscapes/gtFine/val").rglob("*_labelIds.png"))
    miniatures.save_image(label, np.full((48, 96, 3), (128, 64, 128), np.uint8))


def wrong_size(root: Path) -> None:
    label = sorted((root / "cityscapes/gtFine/val").rglob("*_labelIds.png"))[1]
    miniatures.save_gray(label, np.full((24, 96), 7, np.uint8))


def instances(root: Path) -> None:
    label = sorted((root / "cityscapes/gtFine/val").rglob("*_labelIds.png"))[2]
    miniatures.save_gray(label, np.full((48, 96), 26_001, np.uint16))


PROBLEMS: list[tuple[Callable[[Path], None], list[str]]] = [
    (broken_image, ["images/00001.png", "cannot be read as image", "fetch or make it again"]),
    (missing_label, ["images/00002.png", "labels/00002.png is missing", "add it"]),
    (unknown_id, ["labels/00003.png", "unknown class ids [77]", "0 to 34"]),
    (empty_target, ["leftImg8bit.png", "empty (0 bytes)", "fetch or make it again"]),
    (colour_label, ["labelIds.png", "a colour picture, not class ids"]),
    (wrong_size, ["labelIds.png", "24x96", "48x96", "same size"]),
    (instances, ["labelIds.png", "26001", "instances"]),
]


@pytest.mark.parametrize(
    ("plant", "expected"), PROBLEMS, ids=lambda value: getattr(value, "__name__", "")
)
def test_each_defect_alone_is_named(
    plant, expected: list[str], data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By prepare, and by train before its first step."""
    plant(data_root)
    call(monkeypatch, tmp_path, "prepare", *GTA)
    found = [line for part in report(tmp_path)["parts"] for line in part["problems"]]
    assert len(found) == report(tmp_path)["problems"] == 1
    steps = ["trainer.max_steps=2", "data.crop_size=[24,24]", "data.workers=0"]
    error = call(monkeypatch, tmp_path, "train", *GTA, *steps)
    for part in expected:
        assert part in found[0]
        assert part in error
    assert error == f"error: {found[0]}"


def test_all_defects_are_found_in_one_pass(data_root: Path, tmp_path: Path) -> None:
    for plant, _ in PROBLEMS:
        plant(data_root)
    miniatures.save_palette(data_root / "gta/labels/00004.png", np.full((48, 96), 255, np.uint8))
    image, label = miniatures.scenes("day")[0]
    miniatures.save_image(data_root / "gta/images/00005.png", image)
    ids = miniatures.raw_ids(label, miniatures.CITYSCAPES_TRAIN_IDS, 34)
    miniatures.save_palette(data_root / "gta/labels/00005.png", ids)
    done = run("prepare", *GTA, cwd=tmp_path)
    assert done.returncode == 1
    assert f"{len(PROBLEMS)} problems" in done.stdout
    for _, expected in PROBLEMS:
        assert all(part in done.stdout for part in expected)
    written = report(tmp_path)
    assert written["problems"] == len(PROBLEMS)
    by_part = {part["part"]: part for part in written["parts"]}
    assert [len(part["problems"]) for part in by_part.values()] == [3, 1, 3]
    remarks = by_part["source train (gta)"]["remarks"]
    assert any("00004.png: every pixel is ignored" in remark for remark in remarks)
    assert any("5 items, published are 24966" in remark for remark in remarks)


def test_a_sound_data_set(data_root: Path, tmp_path: Path) -> None:
    """Known bad pairs and missing numbers are remarks; the histogram is that of the labels."""
    (data_root / "gta/images/00002.png").unlink()
    for index in (5, 15188):
        image, label = miniatures.scenes("day")[0]
        miniatures.save_image(data_root / f"gta/images/{index:05}.png", image)
        ids = miniatures.raw_ids(label, miniatures.CITYSCAPES_TRAIN_IDS, 34)
        miniatures.save_palette(data_root / f"gta/labels/{index:05}.png", ids[: index // 300 + 48])
    miniatures.save_palette(data_root / "gta/labels/15188.png", np.full((40, 96), 7, np.uint8))
    done = run("prepare", *GTA, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    source = report(tmp_path)["parts"][0]
    assert source["files"] == 5
    remarks = "\n".join(source["remarks"])
    assert "skipped:" in remarks
    assert "15188.png: the label is 40x96 but its image" in remarks
    assert "missing numbers: 2, 6 to 15187" in remarks
    labels = [miniatures.scenes("day").label(index) for index in (0, 2, 3, 0)]
    roads = sum(int((label == 0).sum()) for label in labels)
    assert source["pixels"]["road"] == roads
    assert source["sizes"] == {"48x96": 4}
    assert "0 problems" in done.stdout


def test_a_copy_trains_like_the_original(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(monkeypatch, tmp_path, "prepare", *GTA, "copy=small", "processes=2") == ""
    origin = benchmarks.gta(str(data_root / "gta")).labelled("train")
    small = benchmarks.gta(str(tmp_path / "small/gta")).labelled("train")
    for index in range(4):
        image, label = fit(*origin[index], (24, 48))
        np.testing.assert_array_equal(small[index][0], image)
        np.testing.assert_array_equal(small.label(index), label)
    with Image.open(tmp_path / "small/gta/labels/00001.png") as copied:
        assert copied.mode == "P"
        assert copied.getpalette()[:3] == [0, 255, 9]
    val = [
        benchmarks.cityscapes(str(root / "cityscapes")).labelled("val")
        for root in (data_root, tmp_path / "small")
    ]
    np.testing.assert_array_equal(val[0][1][0], val[1][1][0])
    small.check(Ledger(None))
    assert not list((tmp_path / "small").rglob(".*"))


def test_sixteen_bit_labels_and_references_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("synthia", "dark_zurich"):
        miniatures.ALL[name](tmp_path / "data" / name)
    chosen = ["dataset=benchmark", "source=synthia", "target=dark_zurich", *GTA[1:]]
    assert call(monkeypatch, tmp_path, "prepare", *chosen, "copy=small", "processes=1") == ""
    raw = cv2.imread(str(tmp_path / "small/synthia/GT/LABELS/0000001.png"), cv2.IMREAD_UNCHANGED)
    assert (raw.dtype, raw.shape) == (np.uint16, (24, 48, 3))
    assert (raw[..., 1] == 513).all()
    origin = benchmarks.synthia(str(tmp_path / "data/synthia")).labelled("train")
    copied = benchmarks.synthia(str(tmp_path / "small/synthia")).labelled("train")
    np.testing.assert_array_equal(copied.label(1), fit(*origin[1], (24, 48))[1])
    night = benchmarks.dark_zurich(str(tmp_path / "small/dark_zurich")).images("train")
    assert night[3].shape == night.reference(3).shape == (24, 48, 3)
    assert len(night) == 4


def test_a_killed_copy_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between files: those that are there are whole and stay, the rest follows."""
    root = tmp_path / "data"
    for name in ("gta", "cityscapes"):
        miniatures.ALL[name](root / name)
    miniatures.many_noisy(root / "gta")
    arguments = ["dataset=gta", "data.source_size=[360,720]", f"data_root={root}", "processes=1"]
    command = [sys.executable, "-m", "sepico_pl.prepare", *arguments, "copy=small"]
    copied = tmp_path / "small/gta/images"
    with subprocess.Popen(command, cwd=tmp_path, start_new_session=True) as process:
        while process.poll() is None and len(list(copied.glob("0*.png"))) < 5:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
    there = {path: path.stat().st_mtime_ns for path in copied.glob("0*.png")}
    assert 5 <= len(there) < 60
    assert call(monkeypatch, tmp_path, "prepare", *arguments, "copy=small") == ""
    assert len(list(copied.glob("0*.png"))) == 60
    assert all(path.stat().st_mtime_ns == when for path, when in there.items())
    for path in copied.glob("0*.png"):
        with Image.open(path) as image:
            assert image.size == (720, 360)


def test_photographs_of_ones_own_are_checked_beside_a_generated_source(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = data_root / "cityscapes/leftImg8bit/train"
    words = ["dataset=benchmark", "source=streets", "target=folder"]
    words += [f"dataset.target.train_images={folder}"]
    assert call(monkeypatch, tmp_path, "prepare", *words) == ""
    (part,) = report(tmp_path)["parts"]
    assert (part["part"], part["files"]) == (
        "target train (folder)",
        len(list(folder.rglob("*.png"))),
    )
    error = call(monkeypatch, tmp_path, "prepare", *words, "copy=small")
    assert "only benchmarks can be copied" in error


def test_what_cannot_be_prepared(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no files to prepare" in call(monkeypatch, tmp_path, "prepare")
    error = call(monkeypatch, tmp_path, "prepare", *GTA, f"copy={data_root}")
    assert "choose another one" in error
    broken_image(data_root)
    error = call(monkeypatch, tmp_path, "prepare", *GTA, "copy=small")
    assert "1 problems: nothing was copied" in error
    assert not (tmp_path / "small").exists()
