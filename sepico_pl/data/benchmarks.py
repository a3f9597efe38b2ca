"""The benchmarks of the field as they are downloaded, without any conversion.

Each function says which files a split has; what layouts and counts are known stands in
docs/datasets.md.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from sepico_pl.data.benchmark import Benchmark
from sepico_pl.data.checks import Pair
from sepico_pl.data.classes import (
    CITYSCAPES_TRAIN_IDS,
    SYNTHIA_TRAIN_IDS,
    TRAIN_IDS,
)
from sepico_pl.data.correspondences import day_references
from sepico_pl.data.labels import IdLabels
from sepico_pl.data.listing import read_stems
from sepico_pl.types import InputError

CONDITIONS = ("fog", "night", "rain", "snow")


def gta(root: str) -> Benchmark:
    """GTA5 (Richter et al., ECCV 2016): images/<digits>.png, labels/<digits>.png."""
    folder = Path(root)

    def find(split: str) -> list[Pair]:
        return [
            (image, folder / "labels" / image.name)
            for image in _glob(folder, "images/*.png")
            if image.stem.isdigit()
        ]

    return Benchmark(
        name="gta",
        root=folder,
        find=find,
        code=IdLabels(CITYSCAPES_TRAIN_IDS),
        labelled_splits=("train",),
        val="",
        published={"train": 24966},
        skip_mismatches=True,
    )


def synthia(root: str) -> Benchmark:
    """SYNTHIA-RAND-CITYSCAPES (Ros et al., CVPR 2016): RGB/*.png, 16-bit GT/LABELS/*.png."""
    folder = Path(root)

    def find(split: str) -> list[Pair]:
        images = _glob(folder, "RGB/*.png")
        return [(image, folder / "GT" / "LABELS" / image.name) for image in images]

    return Benchmark(
        name="synthia",
        root=folder,
        find=find,
        code=IdLabels(SYNTHIA_TRAIN_IDS),
        labelled_splits=("train",),
        val="",
        published={"train": 9400},
    )


def cityscapes(root: str) -> Benchmark:
    """Cityscapes (Cordts et al., CVPR 2016), with labelIds as downloaded or labelTrainIds."""
    folder = Path(root)

    def find(split: str) -> list[Pair]:
        pairs = []
        for image in _glob(folder, f"leftImg8bit/{split}/*/*_leftImg8bit.png"):
            stem = image.name.removesuffix("_leftImg8bit.png")
            labels = folder / "gtFine" / split / image.parent.name
            pairs.append((image, _either(labels, f"{stem}_gtFine")))
        return pairs

    return Benchmark(
        name="cityscapes",
        root=folder,
        find=find,
        code=_ids_or_train_ids(),
        labelled_splits=("train", "val"),
        unlabelled_splits=("test",),
        published={"train": 2975, "val": 500, "test": 1525},
    )


def dark_zurich(root: str, period: str = "night", references: bool = True) -> Benchmark:
    """Dark Zurich (Sakaridis et al., ICCV 2019).

    Args:
        root: holds rgb_anon, gt and corresp.
        period: night or twilight: what is trained on. Validation and test are night.
        references: pair each training image with its day image, by the corresp files.
    """
    folder = Path(root)

    def find(split: str) -> list[Pair]:
        time = period if split == "train" else "night"
        pairs = []
        for image in _glob(folder, f"rgb_anon/{split}/{time}/*/*_rgb_anon.png"):
            stem = image.name.removesuffix("_rgb_anon.png")
            labels = folder / "gt" / split / time / image.parent.name
            pairs.append((image, _either(labels, f"{stem}_gt")))
        return pairs

    published = {"night": 2416, "twilight": 2920}
    if period not in published:
        message = f"dark_zurich: period={period} is unknown; choose night or twilight"
        raise InputError(message)
    return Benchmark(
        name="dark_zurich",
        root=folder,
        find=find,
        code=_ids_or_train_ids(),
        labelled_splits=("val",),
        unlabelled_splits=("train", "test"),
        published={"train": published[period], "val": 50, "test": 151},
        references=partial(day_references, folder, period) if references else None,
    )


def acdc(root: str, conditions: Sequence[str] = CONDITIONS, references: bool = False) -> Benchmark:
    """ACDC (Sakaridis et al., ICCV 2021).

    Args:
        root: holds rgb_anon and gt.
        conditions: some of fog, night, rain, snow.
        references: pair each training image with its normal-condition image.
    """
    folder = Path(root)
    unknown = [condition for condition in conditions if condition not in CONDITIONS]
    if unknown or not conditions:
        message = f"acdc: conditions={list(conditions)}; choose among {', '.join(CONDITIONS)}"
        raise InputError(message)

    def find(split: str) -> list[Pair]:
        pairs = []
        for condition in conditions:
            for image in _glob(folder, f"rgb_anon/{condition}/{split}/*/*_rgb_anon.png"):
                stem = image.name.removesuffix("_rgb_anon.png")
                labels = folder / "gt" / condition / split / image.parent.name
                pairs.append((image, _either(labels, f"{stem}_gt")))
        return pairs

    def day(images: Sequence[Path]) -> list[Path]:
        found = []
        for image in images:
            split, sequence = image.parts[-3], image.parts[-2]
            name = f"{image.name.removesuffix('_rgb_anon.png')}_rgb_ref_anon.png"
            found.append(image.parents[2] / f"{split}_ref" / sequence / name)
        return found

    val = sum(106 if condition == "night" else 100 for condition in conditions)
    count = len(conditions)
    return Benchmark(
        name="acdc",
        root=folder,
        find=find,
        code=_ids_or_train_ids(),
        labelled_splits=("train", "val"),
        unlabelled_splits=("test",),
        published={"train": 400 * count, "val": val, "test": 500 * count},
        references=day if references else None,
    )


def bdd100k(root: str, listed: str | None = None) -> Benchmark:
    """BDD100K's semantic segmentation (Yu et al., CVPR 2020), its labels train ids already.

    Args:
        root: holds images/10k and labels/sem_seg/masks, or the older seg/images and seg/labels.
        listed: a file of image paths, one a line: only images of these names, of train and val
            together, and only to judge on (the night subset of Sakaridis et al., TPAMI 2020).
    """
    folder = Path(root)

    def find(split: str) -> list[Pair]:
        pairs = []
        for image in _glob(folder, f"images/10k/{split}/*.jpg"):
            label = folder / "labels" / "sem_seg" / "masks" / split / f"{image.stem}.png"
            pairs.append((image, label))
        for image in [] if pairs else _glob(folder, f"seg/images/{split}/*.jpg"):
            pairs.append((image, folder / "seg/labels" / split / f"{image.stem}_train_id.png"))
        return pairs

    def find_listed(split: str) -> list[Pair]:
        names = {Path(line).stem: line for line in read_stems(Path(str(listed)))}
        pairs = [pair for part in ("train", "val") for pair in find(part)]
        found = [pair for pair in pairs if pair[0].stem in names]
        missing = sorted(names.keys() - {pair[0].stem for pair in found})
        if missing:
            message = (
                f"{folder}: {len(missing)} of {len(names)} images of {listed} are missing, "
                f"{names[missing[0]]} for one; unpack train and val"
            )
            raise InputError(message)
        return found

    if listed is not None:
        return Benchmark(
            name="bdd100k",
            root=folder,
            find=find_listed,
            code=IdLabels(TRAIN_IDS),
            labelled_splits=("night",),
            train="",
            val="night",
            published={"night": 87},
        )
    return Benchmark(
        name="bdd100k",
        root=folder,
        find=find,
        code=IdLabels(TRAIN_IDS),
        labelled_splits=("train", "val"),
        unlabelled_splits=("test",),
        published={"train": 7000, "val": 1000, "test": 2000},
    )


def nighttime_driving(root: str) -> Benchmark:
    """Nighttime Driving's test images (Dai and Van Gool, ITSC 2018); nothing to train on."""
    folder = Path(root)

    def find(split: str) -> list[Pair]:
        pairs = []
        for image in _glob(folder, f"leftImg8bit/{split}/night/*_leftImg8bit.png"):
            stem = image.name.removesuffix("_leftImg8bit.png")
            labels = folder / "gtCoarse_daytime_trainvaltest" / split / "night"
            pairs.append((image, _either(labels, f"{stem}_gtCoarse")))
        return pairs

    return Benchmark(
        name="nighttime_driving",
        root=folder,
        find=find,
        code=_ids_or_train_ids(),
        labelled_splits=("test",),
        train="",
        val="test",
        published={"test": 50},
    )


def _ids_or_train_ids() -> IdLabels:
    return IdLabels(CITYSCAPES_TRAIN_IDS, train_ids="_labelTrainIds.png")


def _either(folder: Path, stem: str) -> Path:
    """Return the file of label ids, or the one of train ids where only that is there."""
    train_ids = folder / f"{stem}_labelTrainIds.png"
    ids = folder / f"{stem}_labelIds.png"
    return train_ids if not ids.is_file() and train_ids.is_file() else ids


def _glob(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))
