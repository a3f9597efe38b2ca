"""One's own pair of folders as a source and a target domain."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sepico_pl.data.benchmark import Benchmark
from sepico_pl.data.checks import Pair
from sepico_pl.data.classes import TRAIN_IDS
from sepico_pl.data.datasets import ImageFolder, SegmentationFolder, listed
from sepico_pl.data.labels import IdLabels
from sepico_pl.data.listing import all_by_stem, all_images
from sepico_pl.data.own_rules import (
    check_lists,
    check_names,
    label_code,
    palette_of,
)
from sepico_pl.types import ClassSet, DomainPair, InputError


def folder(
    source_images: str,
    source_labels: str,
    target_images: str,
    classes: Sequence[str],
    labels: str = "ids",
    colours: Sequence[Sequence[int]] | None = None,
    ids: Mapping[int, str] | None = None,
    ignore: Sequence[Any] = (),
    unlisted: str = "error",
    source_val_images: str | None = None,
    source_val_labels: str | None = None,
    target_val_images: str | None = None,
    target_val_labels: str | None = None,
) -> DomainPair:
    """Pair the images of a folder with the labels of another by their stems.

    Folders are read with all folders below them; a stem is the path from there without suffix.

    Args:
        source_images: folder of source images, of any sizes.
        source_labels: folder with a PNG of the same stem and size for each.
        target_images: folder of unlabelled target images.
        classes: names, at least two.
        labels: "ids" or "colours": what a label pixel holds.
        colours: RGB (0..255) of each class; needed for colour labels, otherwise only for pictures.
        ids: class name by id (0..255), for id labels; None where ids
            are the places in `classes`.
        ignore: ids, or colours, of pixels to ignore; id 255 is unless `ids` names it.
        unlisted: "error" or "ignore": what becomes of any other id or colour.
        source_val_images: labelled source images to evaluate on, and
        source_val_labels: their labels; None for none.
        target_val_images: labelled target images to evaluate on, and
        target_val_labels: their labels; None for none.

    Raises:
        InputError: for classes, colours or ids that contradict each other.
    """
    check_lists(classes=classes, ignore=ignore)
    check_names(classes)
    palette = palette_of(classes, colours)
    code = label_code(
        classes, labels, palette if colours is not None else None, ids, ignore, unlisted
    )

    parts = (source_images, source_labels, target_images, source_val_images, source_val_labels)
    named = [Path(one) for one in (*parts, target_val_images, target_val_labels) if one is not None]

    def labelled(
        images: str | None, label_folder: str | None, key: str
    ) -> SegmentationFolder | None:
        if images is None and label_folder is None:
            return None
        if images is None or label_folder is None:
            message = f"dataset.{key}_images and dataset.{key}_labels go together; give both"
            raise InputError(message)
        find = partial(pairs_by_stem, Path(images), Path(label_folder), named)
        return SegmentationFolder(find, code, len(classes))

    source = labelled(source_images, source_labels, "source")
    assert source is not None
    return DomainPair(
        classes=ClassSet(tuple(classes), palette),
        source_train=source,
        target_train=ImageFolder(partial(all_images, Path(target_images), named)),
        source_val=labelled(source_val_images, source_val_labels, "source_val"),
        target_val=labelled(target_val_images, target_val_labels, "target_val"),
    )


class Photographs(Benchmark):
    """Folders of one's own, which say themselves what is missing."""

    @property
    def evaluated(self) -> str:
        """What it is evaluated on, for the file of the scores."""
        return f"{self.name} {self.root}"

    def files(self, split: str) -> Sequence[Pair]:
        """Find the files of a split.

        Raises:
            InputError: if the folder is missing or holds none.
        """
        return self.find(split)


def photographs(
    train_images: str, val_images: str | None = None, val_labels: str | None = None
) -> Benchmark:
    """One's own photographs as the target of any benchmark, in its nineteen classes.

    Args:
        train_images: folder of unlabelled images, of any sizes.
        val_images: labelled images to evaluate on, and
        val_labels: a PNG of the same stem for each, of the benchmark's train ids (0 to 18, 255
            ignored); None for none.

    Raises:
        InputError: for images to evaluate on without labels, or labels without images.
    """
    if (val_images is None) != (val_labels is None):
        message = "dataset.target.val_images and dataset.target.val_labels go together; give both"
        raise InputError(message)
    named = [Path(one) for one in (train_images, val_images, val_labels) if one is not None]

    def find(split: str) -> list[Pair]:
        if split == "val" and val_images is not None and val_labels is not None:
            return pairs_by_stem(Path(val_images), Path(val_labels), named)
        images = all_images(Path(train_images), named)
        return [(image, image) for image in images]

    return Photographs(
        name="folder",
        root=Path(val_images or train_images).absolute(),
        find=find,
        code=IdLabels(TRAIN_IDS),
        labelled_splits=("val",) if val_images is not None else (),
        unlabelled_splits=("train",),
        val="val" if val_images is not None else "",
    )


def pairs_by_stem(images: Path, labels: Path, others: Collection[Path]) -> list[Pair]:
    """Pair each image with the label of its path below the folder, without suffix.

    The label may turn out to be missing; labels without an image are left out, and counted.
    Folders below, which are among `others`, are not read.

    Raises:
        InputError: for a folder that cannot be listed, or two files of one stem.
    """
    found, label_files = all_by_stem(images, others), all_by_stem(labels, others)
    unused = [path for stem, path in label_files.items() if stem not in found]
    if unused:
        print(f"{len(unused)} labels left out, without an image in {images}: {listed(unused)}")
    return [(image, label_files.get(stem, labels / f"{stem}.png")) for stem, image in found.items()]
