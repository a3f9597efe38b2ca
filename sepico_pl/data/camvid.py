"""CamVid by day (labelled source) to CamVid at dusk (unlabelled target): real photographs.

Brostow, Shotton, Fauqueur, Cipolla, ECCV 2008, in SegNet's 480x360, 11-class version, split in
time.
"""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

from sepico_pl.data.classes import CAMVID
from sepico_pl.data.datasets import ImageFolder, SegmentationFolder
from sepico_pl.data.labels import IdLabels
from sepico_pl.data.listing import listed_images, listed_pairs
from sepico_pl.types import IGNORE_INDEX, ClassSet, DomainPair, InputError

Found = TypeVar("Found")


def camvid(root: str) -> DomainPair:
    """Name source_day, target_dusk and target_dusk_val below `root`.

    They are looked for when they are first needed: a missing one raises InputError then.

    Raises:
        InputError: for a root that is not set.
    """
    labelled = partial(_labelled, root, CAMVID, {name: name for name in CAMVID.names})
    return DomainPair(
        classes=CAMVID,
        source_train=labelled("source_day", "train"),
        target_train=_unlabelled(root, "target_dusk"),
        source_val=labelled("source_day", "val"),
        target_val=labelled("target_dusk_val", "val"),
    )


def camvid_in_classes(root: str, classes: ClassSet, names: Mapping[str, str]) -> DomainPair:
    """Name source_day below `root` as both domains, in other classes.

    Args:
        root: see `camvid`.
        classes: of the labels.
        names: the class, among `classes`, of each of CamVid's; those that are left out are ignored.

    Raises:
        InputError: for a root that is not set.
    """
    day, val = (_labelled(root, classes, names, "source_day", split) for split in ("train", "val"))
    return DomainPair(
        classes=classes,
        source_train=day,
        target_train=_unlabelled(root, "source_day"),
        source_val=None,
        target_val=val,
    )


def _labelled(
    root: str, classes: ClassSet, names: Mapping[str, str], part: str, split: str
) -> SegmentationFolder:
    """Name the frames of a split and their labels; see `camvid_in_classes`."""
    if not root:
        message = "dataset.root is not set; give the CamVid day-dusk folder: dataset.root=<folder>"
        raise InputError(message)
    ids = {
        c: classes.names.index(names[name]) if name in names else IGNORE_INDEX
        for c, name in enumerate(CAMVID.names)
    }
    find = partial(_found, root, part, listed_pairs, split)
    return SegmentationFolder(find, IdLabels(ids), len(classes))


def _unlabelled(root: str, part: str) -> ImageFolder:
    return ImageFolder(partial(_found, root, part, listed_images, "train"))


def _found(
    root: str, part: str, find: Callable[[Path, str], list[Found]], split: str
) -> list[Found]:
    """Find the files of a part.

    Raises:
        InputError: if its folder is missing, or what `find` raises.
    """
    folder = Path(root).expanduser() / part
    if not os.path.isdir(folder):  # False, not an error, where permission is missing
        message = (
            f"dataset.root={root}: there is no readable folder {folder}; "
            "point it at the CamVid day-dusk folder (for a checkpoint's data that moved: "
            "dataset_root=<folder>)"
        )
        raise InputError(message)
    return find(folder, split)
