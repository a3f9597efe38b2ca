"""The default data: generated streets, day (labelled source) to night (unlabelled target).

No files. A scene is a function of (seed, world, split, index) alone, the same bytes in any process.
"""

import zlib
from typing import Literal

import numpy as np

from sepico_pl.data.classes import CITYSCAPES
from sepico_pl.data.street_drawing import Street
from sepico_pl.data.street_looks import LOOKS, World
from sepico_pl.types import IGNORE_INDEX, ByteArray, ClassSet, DomainPair, InputError, Size

Split = Literal["train", "val"]
SMALLEST_SIDE = 32

STREETS_NAMES = (
    "road",
    "sidewalk",
    "building",
    "pole",
    "traffic sign",
    "vegetation",
    "sky",
    "person",
    "car",
)
STREETS_CLASSES = ClassSet(
    names=STREETS_NAMES,
    palette=tuple(CITYSCAPES.palette[CITYSCAPES.names.index(name)] for name in STREETS_NAMES),
)
CLASSES = {"streets": STREETS_CLASSES, "cityscapes": CITYSCAPES}


class StreetScenes:
    """Labelled scenes of one world.

    Args:
        world: "day" or "night".
        split: "train" or "val"; they share no scene.
        length: number of scenes.
        size: height and width in pixels.
        seed: of the whole collection.
        classes: whose ids the labels have; those of the streets are among them.
    """

    def __init__(
        self,
        world: World,
        split: Split,
        length: int,
        size: Size,
        seed: int,
        classes: ClassSet = STREETS_CLASSES,
    ) -> None:
        """Check the arguments.

        Raises:
            InputError: for an unknown world, a length that is not positive, a side under 32
                pixels, or a seed that is no natural number.
        """
        if world not in LOOKS:
            message = f"dataset.source_world={world} is unknown; choose day or night"
            raise InputError(message)
        if not isinstance(length, int) or length <= 0:
            message = f"dataset.{split}_length={length} must be a positive integer"
            raise InputError(message)
        if len(size) != 2 or any(
            not isinstance(side, int) or side < SMALLEST_SIDE for side in size
        ):
            message = (
                f"dataset.size={list(size)} must be [height, width], each at least {SMALLEST_SIDE}"
            )
            raise InputError(message)
        if not isinstance(seed, int) or seed < 0:
            message = f"dataset.seed={seed} must be an integer >= 0"
            raise InputError(message)
        self.world, self.split, self.length, self.seed = world, split, length, seed
        self.image_size = size
        self.ids = np.full(256, IGNORE_INDEX, np.uint8)
        self.ids[: len(STREETS_NAMES)] = [classes.names.index(name) for name in STREETS_NAMES]

    def __len__(self) -> int:
        """Return the number of scenes."""
        return self.length

    def __getitem__(self, index: int) -> tuple[ByteArray, ByteArray]:
        """Return image (H, W, 3) and label (H, W) of a scene."""
        if not 0 <= index < self.length:
            raise IndexError(index)
        place = zlib.crc32(f"{self.world}/{self.split}".encode())
        dice = np.random.default_rng([self.seed, place, index])
        image, label = Street(self.world, self.image_size, dice).draw()
        return image, self.ids[label]

    def label(self, index: int) -> ByteArray:
        """Return the label (H, W) of a scene."""
        return self[index][1]

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width."""
        height, width = self.image_size
        return height, width

    def name(self, index: int) -> str:
        """Return what to call a scene."""
        return f"streets/{self.world}/{self.split}/{index}"


class StreetImages:
    """The images of `StreetScenes`, without their labels; the arguments are the same."""

    def __init__(self, world: World, split: Split, length: int, size: Size, seed: int) -> None:
        """See `StreetScenes`."""
        self._scenes = StreetScenes(world, split, length, size, seed)

    def __len__(self) -> int:
        """Return the number of scenes."""
        return len(self._scenes)

    def __getitem__(self, index: int) -> ByteArray:
        """Return the image (H, W, 3) of a scene."""
        return self._scenes[index][0]

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width."""
        return self._scenes.size(index)

    def name(self, index: int) -> str:
        """Return what to call a scene."""
        return self._scenes.name(index)


def streets(
    size: Size,
    seed: int,
    train_length: int,
    val_length: int,
    source_world: World = "day",
    classes: str = "streets",
) -> DomainPair:
    """Return the generated pair: day to night.

    Args:
        size: height and width of the scenes in pixels, each at least 32.
        seed: of the scenes; independent of the run's.
        train_length: scenes per domain for training.
        val_length: scenes per domain for judging.
        source_world: "night" gives the oracle the target's own training scenes, with labels.
        classes: "streets" for the nine that occur, or "cityscapes" for the nineteen they are of.

    Raises:
        InputError: see `StreetScenes`, and for other classes.
    """
    if classes not in CLASSES:
        message = f"dataset.classes={classes} is unknown; choose {' or '.join(CLASSES)}"
        raise InputError(message)
    labelled = CLASSES[classes]
    return DomainPair(
        classes=labelled,
        source_train=StreetScenes(source_world, "train", train_length, size, seed, labelled),
        target_train=StreetImages("night", "train", train_length, size, seed),
        source_val=StreetScenes(source_world, "val", val_length, size, seed, labelled),
        target_val=StreetScenes("night", "val", val_length, size, seed, labelled),
    )
