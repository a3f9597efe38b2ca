"""Training samples by position, and sets for judging.

A training sample is a function of (seed, position) alone, whatever worker or rank computes it: a
run does not depend on the number of workers, and a resumed one goes on where it was.
"""

from collections.abc import Iterator

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from sepico_pl.data.geometry import (
    RandomCropFlip,
    RandomFlip,
    common_size,
    fit,
    is_balanced,
    label_tensor,
    to_size,
    to_tensor,
)
from sepico_pl.data.rare_classes import RareClassSampling
from sepico_pl.types import (
    IGNORE_INDEX,
    ByteArray,
    LabelledImages,
    ReferencedImages,
    Size,
    UnlabelledImages,
)

SOURCE_DICE, TARGET_DICE, TARGET_PLACE = 1, 2, 3
RARE_CLASS_SHARE = 0.5


class SourceStream(Dataset[dict[str, Tensor]]):
    """Labelled source crops, rich in rare classes.

    Args:
        scenes: the source images.
        box: height and width to resize into.
        crop: draws crops.
        largest_share: a crop with a class of this share or more is drawn again.
        rare_classes: draws a class and an image with it; None to draw images uniformly.
        seed: of the run.
    """

    def __init__(
        self,
        scenes: LabelledImages,
        *,
        box: Size,
        crop: RandomCropFlip,
        largest_share: float,
        rare_classes: RareClassSampling | None,
        seed: int,
    ) -> None:
        """Hold the scenes."""
        self.scenes = scenes
        self.box = box
        self.crop = crop
        self.largest_share = largest_share
        self.rare_classes = rare_classes
        self.seed = seed

    def __getitem__(self, position: int) -> dict[str, Tensor]:
        """Return image (3, h, w) float32 and label (h, w) int64 of the sample at `position`."""
        dice, rare, index = self._draw(position)

        def accepts(label: ByteArray) -> bool:
            return is_balanced(label, self.largest_share) and self._shows(rare, label)

        image, label = fit(*self.scenes[index], self.box)
        assert label is not None
        image, label = self.crop(image, label, dice, accepts)
        return {"image": to_tensor(image), "label": label_tensor(label)}

    def name(self, position: int) -> str:
        """Return what to call the image of the sample at `position`."""
        return self.scenes.name(self._draw(position)[2])

    def _draw(self, position: int) -> tuple[np.random.Generator, int | None, int]:
        """Return the dice, the rare class looked for, if any, and the image's index."""
        dice = np.random.default_rng([self.seed, SOURCE_DICE, position])
        index = int(dice.integers(len(self.scenes)))
        return (
            (dice, None, index)
            if self.rare_classes is None
            else (dice, *self.rare_classes.draw(dice))
        )

    def _shows(self, rare: int | None, label: ByteArray) -> bool:
        if self.rare_classes is None or rare is None:
            return True
        wanted = RARE_CLASS_SHARE * self.rare_classes.min_pixels
        return bool(np.count_nonzero(label == rare) > wanted)


class TargetStream(Dataset[dict[str, Tensor]]):
    """Unlabelled target images, whole, all of one size, with their references if they have some.

    Args:
        images: the target images; nothing here knows a label.
        box: height and width to resize into.
        seed: of the run.

    Attributes:
        size: the commonest height and width within the box. Images that would have another one are
            scaled to cover it, and cropped.
    """

    def __init__(self, images: UnlabelledImages, *, box: Size, seed: int) -> None:
        """Hold the images; read their sizes."""
        self.images = images
        self.box = box
        self.size = common_size((images.size(index) for index in range(len(images))), box)
        self.flip = RandomFlip()
        self.seed = seed

    def __getitem__(self, position: int) -> dict[str, Tensor]:
        """Return image (3, H, W) float32, and reference if any, of the sample at `position`."""
        dice, index = self._draw(position)
        views = [self.images[index]]
        if isinstance(self.images, ReferencedImages):
            views.append(self.images.reference(index))
        place = np.random.default_rng([self.seed, TARGET_PLACE, position]).random(2)
        where = float(place[0]), float(place[1])
        alike = self.flip([to_size(view, self.box, self.size, where) for view in views], dice)
        names = ("image", "reference")
        return {name: to_tensor(view) for name, view in zip(names, alike, strict=False)}

    def name(self, position: int) -> str:
        """Return what to call the image of the sample at `position`."""
        return self.images.name(self._draw(position)[1])

    def _draw(self, position: int) -> tuple[np.random.Generator, int]:
        """Return the dice and the image's index."""
        dice = np.random.default_rng([self.seed, TARGET_DICE, position])
        return dice, int(dice.integers(len(self.images)))

    def still(self, index: int) -> Tensor:
        """Return image `index` (3, H, W) as it is, its middle if it is cropped."""
        return to_tensor(to_size(self.images[index], self.box, self.size, (0.5, 0.5)))


class EvaluationSet(Dataset[dict[str, Tensor]]):
    """Images at the network's input size with labels at their own.

    Indices from the number of scenes on are stand-ins, of which every pixel is ignored.
    """

    def __init__(self, scenes: LabelledImages, box: Size) -> None:
        """Hold the scenes; images are resized into `box` (height, width)."""
        self.scenes = scenes
        self.box = box

    def __len__(self) -> int:
        """Return the number of scenes."""
        return len(self.scenes)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return image (3, h, w) float32 and label (H, W) int64."""
        image, label = self.scenes[index % len(self.scenes)]
        if index >= len(self.scenes):
            label = np.full_like(label, IGNORE_INDEX)
        resized, _ = fit(image, None, self.box)
        return {"image": to_tensor(resized), "label": label_tensor(label)}

    def batches(self, batch_size: int, *, rank: int, ranks: int) -> list[list[int]]:
        """Share the scenes out among ranks, in batches of images of one size.

        Batches are those of one process, for what is predicted of an image may depend on its batch.

        Args:
            batch_size: images in a batch, at most.
            rank: whose batches.
            ranks: number of processes; where there are fewer batches, the others get a stand-in.
        """
        of_size: dict[tuple[int, int], list[int]] = {}
        for index in range(len(self.scenes)):
            of_size.setdefault(self.scenes.size(index), []).append(index)
        batches = [
            indices[first : first + batch_size]
            for indices in of_size.values()
            for first in range(0, len(indices), batch_size)
        ]
        return batches[rank::ranks] or [[len(self.scenes)]]


def evenly(total: int, count: int) -> list[int]:
    """Return `count` indices, or `total` if that is less, evenly spread over range(total)."""
    count = min(count, total)
    return [index * total // count for index in range(count)]


class Positions(Sampler[int]):
    """Positions of one rank's samples: each step takes the next global batch.

    The length is that of the whole run, which is what Lightning counts in when it resumes one.

    Args:
        start: first step.
        steps: step to stop before.
        batch_size: of one rank.
        rank: of this process.
        ranks: number of processes.
    """

    def __init__(self, *, start: int, steps: int, batch_size: int, rank: int, ranks: int) -> None:
        """Remember the range."""
        self.start, self.steps = start, steps
        self.batch_size, self.rank, self.ranks = batch_size, rank, ranks

    def __len__(self) -> int:
        """Return how many positions the whole run has."""
        return self.steps * self.batch_size

    def __iter__(self) -> Iterator[int]:
        """Yield the positions in order."""
        for step in range(self.start, self.steps):
            first = (step * self.ranks + self.rank) * self.batch_size
            yield from range(first, first + self.batch_size)
