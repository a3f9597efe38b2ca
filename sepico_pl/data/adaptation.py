"""Source and target images with the sizes and numbers that they are used with.

Free of Lightning, so that a trained network can be loaded without it.
"""

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from sepico_pl.data.datasets import check_collections, say_what_is_absent
from sepico_pl.data.fingerprint import fingerprint
from sepico_pl.data.geometry import check_crop_fits
from sepico_pl.data.ledger import Ledger
from sepico_pl.data.settings import check_counts, check_sizes, check_workers
from sepico_pl.data.shared_memory import Load, check_shared_memory, image_bytes, label_bytes
from sepico_pl.data.streams import TargetStream, evenly
from sepico_pl.types import (
    DomainPair,
    InputError,
    LabelledImages,
    ReferencedImages,
    Size,
    UnlabelledImages,
)


class AdaptationImages:
    """A domain pair, and how its images are trained on and evaluated.

    Args:
        pair: the source and target domain.
        source_size: height and width that source images are resized into.
        target_size: the same of target images, in training and evaluation.
        crop_size: height and width of training crops.
        crop_tries: how often a source crop is drawn again.
        largest_share: a source crop with a class of this share or more is drawn again.
        rare_class_temperature: T of rare class sampling; null to draw source images uniformly.
        rare_class_pixels: pixels of a rare class that an image must exceed, for crops of 640x640;
            they scale with the crop's area.
        batch_size: source and target images per step and process.
        judge_batch_size: images per batch when evaluating.
        statistics_images: target images whose statistics batch norm takes under the target policy.
        workers: loader processes per stream; 0 loads in the training process.
        seed: of the run.
    """

    def __init__(
        self,
        pair: DomainPair,
        *,
        source_size: Size,
        target_size: Size,
        crop_size: Size,
        crop_tries: int,
        largest_share: float,
        rare_class_temperature: float | None,
        rare_class_pixels: int,
        batch_size: int,
        judge_batch_size: int,
        statistics_images: int,
        workers: int,
        seed: int,
    ) -> None:
        """Check the settings against the images.

        Raises:
            InputError: for a size, batch or count that is not positive.
        """
        super().__init__()
        check_sizes(source_size=source_size, target_size=target_size, crop_size=crop_size)
        check_counts(
            batch_size=batch_size,
            judge_batch_size=judge_batch_size,
            statistics_images=statistics_images,
            crop_tries=crop_tries,
        )
        check_workers(workers)
        self.pair = pair
        self.source_size, self.target_size, self.crop_size = source_size, target_size, crop_size
        self.crop_tries, self.largest_share = crop_tries, largest_share
        self.rare_class_temperature = rare_class_temperature
        self.rare_class_pixels = rare_class_pixels
        self.batch_size, self.judge_batch_size = batch_size, judge_batch_size
        self.number_of_statistics_images = statistics_images
        self.workers = workers
        self.seed = seed
        self.images_for_statistics: UnlabelledImages | None = pair.target_train
        self.judged: dict[str, LabelledImages] = {}
        if pair.target_val is not None:
            self.judged["target"] = pair.target_val

    def judge_both_domains(self) -> None:
        """Let validation go over the source as well, after the target."""
        if self.pair.source_val is not None:
            self.judged["source"] = self.pair.source_val

    def judge_on(self, scenes: LabelledImages, images: UnlabelledImages | None, size: Size) -> None:
        """Let validation go over another target.

        Args:
            scenes: the labelled images.
            images: its unlabelled ones, for batch-norm statistics; None where there are none.
            size: height and width to resize into.
        """
        self.judged = {"target": scenes}
        self.target_size = size
        self.images_for_statistics = images

    @property
    def domains(self) -> list[str]:
        """Those that are evaluated, in the order of the validation loaders."""
        return list(self.judged)

    def check_training(self, ledger: Ledger) -> None:
        """Decode every file that training will read and the ledger does not know.

        Raises:
            InputError: for what cannot be used, or a crop larger than target images.
        """
        check_collections(ledger, self.pair.source_train, self.pair.target_train)
        say_what_is_absent(self.pair.source_train, self.pair.classes)
        target = TargetStream(self.pair.target_train, box=self.target_size, seed=self.seed)
        check_crop_fits(target.size, self.crop_size)

    def check_judging(self, ledger: Ledger) -> None:
        """Decode every file that evaluation will read and the ledger does not know.

        Raises:
            InputError: for what cannot be used.
        """
        check_collections(ledger, *self.judged.values())

    def check_loaders(self, *, training: bool, processes: int = 1) -> None:
        """Refuse loader processes, of all `processes`, whose batches shared memory cannot hold.

        Raises:
            InputError: with the remedies.
        """
        loads = []
        if training:
            views = 2 if isinstance(self.pair.target_train, ReferencedImages) else 1
            source = image_bytes(self.crop_size) + label_bytes(self.crop_size)
            loads.append(Load(self.batch_size * (source + views * image_bytes(self.target_size))))
        for domain, scenes in self.judged.items():
            label = max(label_bytes(scenes.size(index)) for index in range(len(scenes)))
            size = self.judge_batch_size * (image_bytes(self._boxes()[domain]) + label)
            loads.append(Load(size, -(-len(scenes) // self.judge_batch_size)))
        check_shared_memory(self.workers, loads, processes=processes)

    def _boxes(self) -> dict[str, Size]:
        return {"target": self.target_size, "source": self.source_size}

    @cached_property
    def fingerprint(self) -> str:
        """A key of the training images: their number, order, file names and sizes."""
        return fingerprint(self.pair.source_train, self.pair.target_train)

    def statistics_images(self, device: torch.device) -> Iterator[Tensor]:
        """Yield target training images (B, 3, H, W), evenly taken, for batch-norm statistics.

        Raises:
            InputError: if there are none.
        """
        images = self.images_for_statistics
        if images is None:
            message = "this target has no training images to take statistics of: batch_norm=running"
            raise InputError(message)
        stream = TargetStream(images, box=self.target_size, seed=self.seed)
        indices = evenly(len(images), self.number_of_statistics_images)
        for first in range(0, len(indices), self.judge_batch_size):
            batch = indices[first : first + self.judge_batch_size]
            yield torch.stack([stream.still(index) for index in batch]).to(device)

    def smallest_batches(self) -> dict[str, tuple[int, ...]]:
        """Return B, 3, H, W of the smallest batch that is trained on, and takes "statistics"."""
        shapes = {"training": (self.batch_size, 3, *self.crop_size)}
        if self.images_for_statistics is not None:
            stream = TargetStream(self.images_for_statistics, box=self.target_size, seed=self.seed)
            number = min(len(self.images_for_statistics), self.number_of_statistics_images)
            last = number % self.judge_batch_size or self.judge_batch_size
            shapes["statistics"] = (last, 3, *stream.size)
        return shapes
