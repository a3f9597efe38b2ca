"""Generated streets as a labelled source: for any benchmark, or photographs without a label."""

from collections.abc import Sequence
from typing import get_args

from sepico_pl.data.camvid import camvid_in_classes
from sepico_pl.data.classes import CITYSCAPES
from sepico_pl.data.street_looks import World
from sepico_pl.data.streets import STREETS_CLASSES, Split, StreetScenes
from sepico_pl.types import ByteArray, ClassSet, DomainPair, InputError, LabelledImages, Size

CAMVID_NAMES = {
    "sky": "sky",
    "building": "building",
    "pole": "pole",
    "road": "road",
    "pavement": "sidewalk",
    "tree": "vegetation",
    "sign": "traffic sign",
    "car": "car",
    "pedestrian": "person",
}
"""The streets' class of each of CamVid's; the streets have no fence and no bicyclist."""


class StreetsOfDomains:
    """Labelled scenes of several domains in turns.

    Args:
        domains: "day", "night" or both.
        split: "train" or "val".
        length: number of scenes, of all domains.
        size: height and width in pixels, each at least 32.
        seed: of the whole collection.
        classes: whose ids the labels have; those of the streets are among them.
    """

    def __init__(
        self,
        domains: Sequence[World],
        split: Split,
        length: int,
        size: Size,
        seed: int,
        classes: ClassSet,
    ) -> None:
        """Check the arguments.

        Raises:
            InputError: for no domain, an unknown one or one twice; see `StreetScenes`.
        """
        known = set(get_args(World))
        if not domains or len(set(domains)) < len(domains) or not set(domains) <= known:
            message = f"domains={list(domains)}: choose day, night or both, each once"
            raise InputError(message)
        self.length = length
        self.scenes = [
            StreetScenes(domain, split, length, size, seed, classes) for domain in domains
        ]

    def __len__(self) -> int:
        """Return the number of scenes."""
        return self.length

    def __getitem__(self, index: int) -> tuple[ByteArray, ByteArray]:
        """Return image (H, W, 3) and label (H, W) of a scene."""
        if not 0 <= index < self.length:
            raise IndexError(index)
        return self._domain(index)[index // len(self.scenes)]

    def label(self, index: int) -> ByteArray:
        """Return the label (H, W) of a scene."""
        return self[index][1]

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width."""
        return self._domain(index).size(index)

    def name(self, index: int) -> str:
        """Return what to call a scene."""
        return self._domain(index).name(index // len(self.scenes))

    def _domain(self, index: int) -> StreetScenes:
        return self.scenes[index % len(self.scenes)]


class StreetsSource:
    """The streets in the benchmark's nineteen classes, of which nine occur: `source=streets`.

    Args:
        domains: see `StreetsOfDomains`.
        size: height and width of the scenes in pixels.
        seed: of the scenes; independent of the run's.
        train_length: scenes to train on, of all domains.
        val_length: scenes to evaluate on.
    """

    train = "train"
    val = "val"

    def __init__(
        self, domains: Sequence[World], size: Size, seed: int, train_length: int, val_length: int
    ) -> None:
        """Check the arguments.

        Raises:
            InputError: see `StreetsOfDomains`.
        """
        self._splits = {
            "train": StreetsOfDomains(domains, "train", train_length, size, seed, CITYSCAPES),
            "val": StreetsOfDomains(domains, "val", val_length, size, seed, CITYSCAPES),
        }

    def labelled(self, split: str) -> LabelledImages:
        """Return the scenes of a split."""
        return self._splits[split]


def streets_to_camvid(
    root: str,
    domains: Sequence[World],
    size: Size,
    seed: int,
    train_length: int,
    val_length: int,
    oracle: bool = False,
) -> DomainPair:
    """Generated streets to CamVid by day: a wide gap, and no label of a photograph to train on.

    In the streets' nine classes; CamVid's fences and bicyclists are ignored.

    Args:
        root: CamVid day-dusk folder; see `camvid.camvid`.
        domains: of the generated scenes; see `StreetsOfDomains`.
        size: height and width of the scenes in pixels.
        seed: of the scenes; independent of the run's.
        train_length: scenes to train on, of all domains.
        val_length: scenes to evaluate on.
        oracle: whether the source is CamVid itself, with its labels: what a method could reach.

    Raises:
        InputError: see `StreetsOfDomains`, and for a root that is not set.
    """
    classes = STREETS_CLASSES
    photographs = camvid_in_classes(root, classes, CAMVID_NAMES)
    if oracle:
        return photographs
    return DomainPair(
        classes=classes,
        source_train=StreetsOfDomains(domains, "train", train_length, size, seed, classes),
        target_train=photographs.target_train,
        source_val=StreetsOfDomains(domains, "val", val_length, size, seed, classes),
        target_val=photographs.target_val,
    )
