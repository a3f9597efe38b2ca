"""A benchmark on disk: which files its splits have, and what is published about them."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sepico_pl.data.checks import Pair
from sepico_pl.data.classes import CITYSCAPES
from sepico_pl.data.datasets import ImageFolder, ReferencedFolder, SegmentationFolder
from sepico_pl.data.labels import LabelCode
from sepico_pl.quoting import no_root
from sepico_pl.types import InputError


@dataclass(frozen=True)
class Benchmark:
    """A data set on disk.

    Attributes:
        name: what messages call it.
        root: its folder.
        find: the image files of a split, and the label file of each where the split has labels.
        code: reads its labels.
        labelled_splits: splits with public labels.
        unlabelled_splits: the others.
        train: the split to train on; "" for none.
        val: the labelled split to judge on; "" for none.
        published: images of each split, as published.
        skip_mismatches: pairs whose sizes differ are known, and left out.
        references: the reference image of each image of a list; None where there are none.
    """

    name: str
    root: Path
    find: Callable[[str], Sequence[Pair]]
    code: LabelCode
    labelled_splits: tuple[str, ...]
    unlabelled_splits: tuple[str, ...] = ()
    train: str = "train"
    val: str = "val"
    published: Mapping[str, int] = field(default_factory=dict)
    skip_mismatches: bool = False
    references: Callable[[Sequence[Path]], Sequence[Path]] | None = None

    @property
    def evaluated(self) -> str:
        """What it is evaluated on, for the file of the scores."""
        return f"{self.name} {self.val}"

    def labelled(self, split: str) -> SegmentationFolder:
        """Return the images and labels of a split.

        Raises:
            InputError: if it has no labels.
        """
        if split not in self.labelled_splits:
            known = ", ".join(self.labelled_splits) or "none"
            message = (
                f"{self.name}: split {split or '(none)'} has no labels, so it cannot be a source "
                f"or be judged on; splits with labels: {known}"
            )
            raise InputError(message)
        return SegmentationFolder(
            partial(self.files, split),
            self.code,
            len(CITYSCAPES),
            skip_mismatches=self.skip_mismatches,
        )

    def images(self, split: str) -> ImageFolder:
        """Return the images of a split alone, with their references if it has them.

        Raises:
            InputError: if there is no such split.
        """
        if split not in self.labelled_splits + self.unlabelled_splits:
            known = ", ".join(self.labelled_splits + self.unlabelled_splits)
            message = (
                f"{self.name}: there is no split {split or 'to train on'}; splits: {known}; "
                "to judge on it, choose it as evaluate's target"
            )
            raise InputError(message)
        references = self.references
        if references is None or split != self.train:
            return ImageFolder(lambda: [image for image, _ in self.files(split)])

        def both() -> list[tuple[Path, Path]]:
            images = [image for image, _ in self.files(split)]
            return list(zip(images, references(images), strict=True))

        return ReferencedFolder(both)

    def files(self, split: str) -> Sequence[Pair]:
        """Find the files of a split.

        Raises:
            InputError: if the folder is missing or holds none.
        """
        if not os.path.isdir(self.root):
            raise InputError(no_root(self.root, self.name))
        found = self.find(split)
        if not found:
            message = (
                f"{self.root}: no image of {self.name}'s split {split} below it; it must hold the "
                "archives' own folders (docs/datasets.md)"
            )
            raise InputError(message)
        return found
