"""Benchmarks of a few small images each, in their true layouts, file types and bit depths."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from sepico_pl.data.classes import CITYSCAPES, CITYSCAPES_TRAIN_IDS, SYNTHIA_TRAIN_IDS
from sepico_pl.data.streets import StreetScenes

SIZE = (48, 96)


def scenes(world: str, split: str = "train", count: int = 4, size: tuple[int, int] = SIZE):
    return StreetScenes(world, split, count, size, 0, CITYSCAPES)


def raw_ids(label: np.ndarray, table: Mapping[int, int], void: int) -> np.ndarray:
    """Turn train ids into a data set's own ids."""
    back = np.full(256, void, np.uint8)
    for one, train_id in table.items():
        if train_id != 255:
            back[train_id] = one
    return back[label]


def save_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def save_gray(path: Path, label: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(label).save(path)


def save_palette(path: Path, label: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(label).convert("P")
    picture.putpalette([value for index in range(256) for value in (index, 255 - index, 9)])
    picture.save(path)


def save_synthia(path: Path, label: np.ndarray) -> None:
    """16-bit RGB: red the class, green the instance."""
    path.parent.mkdir(parents=True, exist_ok=True)
    instances = np.full(label.shape, 513, np.uint16)
    cv2.imwrite(str(path), np.stack([label * 0, instances, label.astype(np.uint16)], axis=-1))


def gta(root: Path) -> None:
    for index, (image, label) in enumerate(scenes("day"), start=1):
        save_image(root / "images" / f"{index:05}.png", image)
        label = raw_ids(label, CITYSCAPES_TRAIN_IDS, 34)
        save_palette(root / "labels" / f"{index:05}.png", label)


def many_noisy(root: Path, count: int = 60) -> None:
    """Write images of GTA that take a while to copy."""
    noise = np.random.default_rng(0).integers(0, 255, (400, 800, 3), np.uint8)
    for index in range(1, count + 1):
        save_image(root / f"images/{index:05}.png", noise)
        save_palette(root / f"labels/{index:05}.png", np.full((400, 800), 7, np.uint8))


def synthia(root: Path) -> None:
    for index, (image, label) in enumerate(scenes("day")):
        save_image(root / "RGB" / f"{index:07}.png", image)
        label = raw_ids(label, SYNTHIA_TRAIN_IDS, 0)
        save_synthia(root / "GT" / "LABELS" / f"{index:07}.png", label)
        save_image(root / "GT" / "COLOR" / f"{index:07}.png", image)


def cityscapes(root: Path, world: str = "day", *, train_ids: bool = False) -> None:
    """The zips hold labelIds; some users have made labelTrainIds and deleted the former."""
    for split, city in (("train", "aachen"), ("val", "lindau"), ("test", "bonn")):
        for index, (image, label) in enumerate(
            scenes(world, "train" if split == "train" else "val")
        ):
            stem = f"{city}_{index:06}_000019"
            save_image(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", image)
            folder = root / "gtFine" / split / city
            ids = raw_ids(label, CITYSCAPES_TRAIN_IDS, 3)
            if split == "test":
                ids = np.full_like(ids, 3)
            if train_ids:
                save_gray(folder / f"{stem}_gtFine_labelTrainIds.png", label)
            else:
                save_gray(folder / f"{stem}_gtFine_labelIds.png", ids)
            save_gray(folder / f"{stem}_gtFine_instanceIds.png", ids.astype(np.uint16) * 1000)
            save_image(folder / f"{stem}_gtFine_color.png", image)


def dark_zurich(root: Path) -> None:
    days, nights = scenes("day"), scenes("night")
    rows = []
    for index in range(len(nights)):
        dark = f"train/night/GOPR0351/GOPR0351_frame_{index:06}"
        day = f"train/day/GOPR0345/GOPR0345_frame_{index // 2:06}"
        save_image(root / "rgb_anon" / f"{dark}_rgb_anon.png", nights[index][0])
        save_image(root / "rgb_anon" / f"{day}_rgb_anon.png", days[index // 2][0])
        rows.append(f"{dark},{day}\n")
    corresp = root / "corresp" / "train" / "night" / "GOPR0351.csv"
    corresp.parent.mkdir(parents=True, exist_ok=True)
    corresp.write_text("".join(rows))
    for index, (image, label) in enumerate(scenes("night", "val", 2)):
        stem = f"GOPR0356/GOPR0356_frame_{index:06}"
        save_image(root / "rgb_anon/val/night" / f"{stem}_rgb_anon.png", image)
        ids = raw_ids(label, CITYSCAPES_TRAIN_IDS, 0)
        save_gray(root / "gt/val/night" / f"{stem}_gt_labelIds.png", ids)
        save_gray(root / "gt/val/night" / f"{stem}_gt_labelTrainIds.png", label)
        save_gray(root / "gt/val/night" / f"{stem}_gt_invGray.png", label * 0)


def archive_of_images(root: Path, names: list[str]) -> None:
    """Write the same small image under many names, as an archive of test images has them."""
    image = scenes("night", "val", 1)[0][0]
    first = root / names[0]
    save_image(first, image)
    for name in names[1:]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(first.read_bytes())


def acdc(root: Path) -> None:
    for condition in ("fog", "night", "rain", "snow"):
        for split in ("train", "val"):
            for index, (image, label) in enumerate(scenes("night", split, 2)):
                stem = f"{split}/GP0101/GP0101_frame_{index:06}"
                save_image(root / "rgb_anon" / condition / f"{stem}_rgb_anon.png", image)
                ref = f"{split}_ref/GP0101/GP0101_frame_{index:06}_rgb_ref_anon.png"
                save_image(root / "rgb_anon" / condition / ref, scenes("day")[index][0])
                save_gray(root / "gt" / condition / f"{stem}_gt_labelTrainIds.png", label)


def bdd100k(root: Path) -> None:
    for split in ("train", "val"):
        for index, (image, label) in enumerate(scenes("night", split)):
            save_image(root / "images/10k" / split / f"{split}{index:04}-ab.jpg", image)
            folder = root / "labels/sem_seg/masks" / split
            save_gray(folder / f"{split}{index:04}-ab.png", label)


def old_bdd100k(root: Path) -> None:
    for split in ("train", "val"):
        for index, (image, label) in enumerate(scenes("night", split)):
            save_image(root / "seg/images" / split / f"{split}{index:04}-ab.jpg", image)
            save_gray(root / "seg/labels" / split / f"{split}{index:04}-ab_train_id.png", label)


def nighttime_driving(root: Path) -> None:
    for index, (image, label) in enumerate(scenes("night", "val")):
        stem = f"test/night/0{index}_frame_0555"
        save_image(root / "leftImg8bit" / f"{stem}_leftImg8bit.png", image)
        folder = root / "gtCoarse_daytime_trainvaltest"
        save_gray(folder / f"{stem}_gtCoarse_labelTrainIds.png", label)


ALL = {
    "gta": gta,
    "synthia": synthia,
    "cityscapes": cityscapes,
    "dark_zurich": dark_zurich,
    "acdc": acdc,
    "bdd100k": bdd100k,
    "nighttime_driving": nighttime_driving,
}
