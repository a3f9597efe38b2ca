"""CamVid by day (labelled source) to CamVid at dusk (unlabelled target): real photographs.

Brostow, Shotton, Fauqueur, Cipolla, ECCV 2008, in SegNet's 480x360, 11-class version, split in
time.
"""

import os
from functools import partial
from pathlib import Path

from sepico_pl.data.classes import CAMVID
from sepico_pl.data.datasets import ImageFolder, SegmentationFolder
from sepico_pl.data.labels import IdLabels
from sepico_pl.data.listing import listed_images, listed_pairs
from sepico_pl.types import DomainPair, InputError


def camvid(root: str) -> DomainPair:
    """Find source_day, target_dusk and target_dusk_val below `root`.

    Raises:
        InputError: for a root that is not set, or a missing folder.
    """
    if not root:
        message = "dataset.root is not set; give the CamVid day-dusk folder: dataset.root=<folder>"
        raise InputError(message)
    folder = Path(root).expanduser()
    for part in ("source_day", "target_dusk", "target_dusk_val"):
        if not os.path.isdir(folder / part):  # False, not an error, where permission is missing
            message = (
                f"dataset.root={root}: there is no readable folder "
                f"{folder / part}; point it at the CamVid day-dusk folder"
            )
            raise InputError(message)

    code = IdLabels({c: c for c in range(len(CAMVID))})

    def labelled(part: str, split: str) -> SegmentationFolder:
        return SegmentationFolder(partial(listed_pairs, folder / part, split), code, len(CAMVID))

    return DomainPair(
        classes=CAMVID,
        source_train=labelled("source_day", "train"),
        target_train=ImageFolder(partial(listed_images, folder / "target_dusk", "train")),
        source_val=labelled("source_day", "val"),
        target_val=labelled("target_dusk_val", "val"),
    )
