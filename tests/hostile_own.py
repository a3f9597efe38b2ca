"""Hostile cases: one's own data, of which nothing is left out or overridden without a word."""

import os
import shutil
from pathlib import Path

import numpy as np
from command_line import configured
from hostile_cases import FILES, FOLDERS, Case, attempt, picture
from PIL import Image

from sepico_pl.assembly import build_data, build_task
from sepico_pl.checkpoints import save


def renamed(folder_name: str, suffix: str):
    def prepare(folder: Path) -> None:
        for path in (folder / folder_name).iterdir():
            path.rename(path.with_suffix(suffix))

    return prepare


def latin(folder_name: str):
    def prepare(folder: Path) -> None:
        os.rename(folder / folder_name / "1.png", os.fsencode(folder / folder_name) + b"/\xe9.png")

    return prepare


def turned_since_the_check(folder: Path) -> None:
    """Turn all labels after `prepare` has seen them, with their length and time unchanged."""
    for path in sorted((folder / "labels").iterdir()):
        with Image.open(path) as image:
            image.save(path.with_suffix(".bmp"))
        path.unlink()
    assert attempt("prepare", [*FOLDERS, "report=report.json"], folder).code == 0
    for path in sorted((folder / "labels").iterdir()):
        before = path.stat()
        with Image.open(path) as image:
            turned = image.transpose(Image.Transpose.ROTATE_90)
        turned.save(path)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.stat().st_size == before.st_size


def own_checkpoint(folder: Path) -> None:
    """Write the checkpoint of a network as it was built, for data below `raw`."""
    for part in ("day", "labels", "night"):
        (folder / "raw").mkdir(exist_ok=True)
        shutil.move(folder / part, folder / "raw" / part)
    parts = {"source_images": "day", "source_labels": "labels", "target_images": "night"}
    parts |= {"target_val_images": "day", "target_val_labels": "labels"}
    words = [f"dataset.{key}={folder}/raw/{part}" for key, part in parts.items()]
    others = [word for word in FOLDERS if "_images" not in word and "_labels" not in word]
    plain = configured(*others, *words)
    save(folder / "own.ckpt", build_task(plain, build_data(plain).pair), plain)


def moved(folder: Path) -> None:
    own_checkpoint(folder)
    (folder / "raw").rename(folder / "elsewhere")


def latin_to_evaluate(folder: Path) -> None:
    latin("day")(folder)
    own_checkpoint(folder)


def begun(prepare):
    """Prepare images beside a file that begins as a checkpoint does."""

    def both(folder: Path) -> None:
        (folder / "begun.ckpt").write_bytes(b"PK\x03\x04")
        prepare(folder)

    return both


FEW = np.zeros((40, 60), np.uint8)
FEW[:20] = 1
EVALUATE = ["checkpoint=own.ckpt", "accelerator=cpu"]
PREDICT = ["checkpoint=begun.ckpt", "images=night", "output=out"]

CASES = [
    Case(
        "an id that is a class and ignored",
        [*FILES, "dataset.ids={0:road,1:sky}", "dataset.ignore=[1]"],
        ["dataset.ignore: 1", "sky", "dataset.ids"],
    ),
    Case(
        "a label saved as JPEG",
        FILES,
        ["labels/1.jpg", "lossy JPEG", "PNG"],
        picture("labels/1.jpg", FEW),
    ),
    Case(
        "a label of floats",
        FILES,
        ["labels/1.tif", "float32", "8-bit PNG"],
        picture("labels/1.tif", FEW.astype(np.float32)),
    ),
    Case(
        "a folder of HEIC",
        FILES,
        ["night", "3 files left out", ".heic (3)", "convert"],
        renamed("night", ".heic"),
    ),
    Case(
        "predict: a folder of AVIF",
        PREDICT,
        ["night", "3 files left out", ".avif (3)"],
        begun(renamed("night", ".avif")),
        "predict",
    ),
    Case("a class without a pixel", [*FILES, "dataset.classes=[road,sky,car]"], code=0),
    Case(
        "class names that are numbers",
        [*FILES, "dataset.classes=[1,2]"],
        ["dataset.classes: 1 was read as a number", "quote"],
    ),
    Case(
        "a name that is not UTF-8",
        FILES,
        ["night/\\xe9.png", "not UTF-8", "rename"],
        latin("night"),
    ),
    Case(
        "predict: a name that is not UTF-8",
        PREDICT,
        ["night/\\xe9.png", "not UTF-8", "rename"],
        begun(latin("night")),
        "predict",
    ),
    Case(
        "evaluate: a name that is not UTF-8",
        EVALUATE,
        ["day/\\xe9.png", "not UTF-8"],
        latin_to_evaluate,
        "evaluate",
    ),
    Case(
        "evaluate: own folders that moved",
        EVALUATE,
        ["raw/day", "dataset_root=<folder>"],
        moved,
        "evaluate",
    ),
    Case(
        "evaluate: own folders that moved elsewhere",
        [*EVALUATE, "dataset_root=nowhere"],
        ["nowhere/day", "takes the place of", "raw"],
        moved,
        "evaluate",
    ),
    Case(
        "evaluate: own folders that moved, and where",
        [*EVALUATE, "dataset_root=elsewhere", "batch_norm=running"],
        [],
        moved,
        "evaluate",
        0,
    ),
    Case(
        "labels turned since the check",
        FILES,
        ["labels/", ".bmp: the label is 60x40", "40x60"],
        turned_since_the_check,
        may_begin=True,
    ),
]
