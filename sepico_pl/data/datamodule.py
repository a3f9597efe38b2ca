"""Source and target streams for training, both domains for judging."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sepico_pl.data.datasets import check_collections, say_what_is_absent
from sepico_pl.data.fingerprint import fingerprint
from sepico_pl.data.geometry import RandomCropFlip, check_crop_fits
from sepico_pl.data.ledger import Ledger
from sepico_pl.data.rare_classes import RareClassSampling, count_classes
from sepico_pl.data.settings import check_counts, check_sizes, check_workers
from sepico_pl.data.shared_memory import Load, check_shared_memory, image_bytes, label_bytes
from sepico_pl.data.streams import (
    EvaluationSet,
    Positions,
    SourceStream,
    TargetStream,
    evenly,
)
from sepico_pl.data.workers import loader_context
from sepico_pl.types import (
    DomainPair,
    InputError,
    LabelledImages,
    ReferencedImages,
    Size,
    UnlabelledImages,
)

PAPER_CROP_PIXELS = 640 * 640


class AdaptationData(pl.LightningDataModule):
    """Feeds a domain pair to a task.

    Args:
        pair: the source and target domain.
        source_size: height and width that source images are resized into.
        target_size: the same of target images, in training and judging.
        crop_size: height and width of training crops.
        crop_tries: how often a source crop is drawn again.
        largest_share: a source crop with a class of this share or more is drawn again.
        rare_class_temperature: T of rare class sampling; null to draw source images uniformly.
        rare_class_pixels: pixels of a rare class that an image must exceed, for crops of 640x640;
            they scale with the crop's area.
        batch_size: source and target images per step and process.
        judge_batch_size: images per batch when judging.
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
        """Those that are judged, in the order of the validation loaders."""
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
        """Decode every file that judging will read and the ledger does not know.

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

    def setup(self, stage: str) -> None:
        """Count the source's classes and lay out the streams."""
        if stage != "fit":
            return
        rare_classes = None
        if self.rare_class_temperature is not None:
            counts = count_classes(self.pair.source_train, len(self.pair.classes))
            share = self.crop_size[0] * self.crop_size[1] / PAPER_CROP_PIXELS
            rare_classes = RareClassSampling(
                counts,
                temperature=self.rare_class_temperature,
                min_pixels=round(self.rare_class_pixels * share),
            )
        self.source = SourceStream(
            self.pair.source_train,
            box=self.source_size,
            crop=RandomCropFlip(self.crop_size, self.crop_tries),
            largest_share=self.largest_share,
            rare_classes=rare_classes,
            seed=self.seed,
        )
        self.target = TargetStream(self.pair.target_train, box=self.target_size, seed=self.seed)

    def train_dataloader(self) -> dict[str, DataLoader[dict[str, Tensor]]]:
        """Return the two streams from the trainer's step on, one batch of each per step."""
        return {"source": self._stream(self.source), "target": self._stream(self.target)}

    def val_dataloader(self) -> list[DataLoader[dict[str, Tensor]]]:
        """Return the target's validation set, and the source's if both are judged.

        With a generator of their own, so that judging more often leaves training as it is.
        """
        return [
            self._evaluation(EvaluationSet(self.judged[domain], self._boxes()[domain]))
            for domain in self.domains
        ]

    def _boxes(self) -> dict[str, Size]:
        return {"target": self.target_size, "source": self.source_size}

    def batch_names(self, step: int) -> list[str]:
        """Return what to call the images of all ranks that `step` was trained on."""
        trainer: Any = self.trainer
        size = self.batch_size * trainer.world_size
        positions = range(step * size, (step + 1) * size)
        return [
            f"{domain}: {', '.join(stream.name(position) for position in positions)}"
            for domain, stream in (("source", self.source), ("target", self.target))
        ]

    @cached_property
    def fingerprint(self) -> str:
        """A key of the training images: their number, order, file names and sizes."""
        return fingerprint(self.pair.source_train, self.pair.target_train)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run must find again."""
        trainer: Any = self.trainer
        return {"images": self.fingerprint, "batch": self.batch_size * trainer.world_size}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Compare with the run that is resumed; the streams go on from the trainer's step.

        Raises:
            InputError: if the training images or the batch of all ranks are others.
        """
        found = self.state_dict()
        if state_dict["images"] != found["images"]:
            message = (
                "resume: the training images are not those that the run began with (names, sizes "
                "or number changed); give it the same data, or begin a run with start=<checkpoint>"
            )
            raise InputError(message)
        if state_dict["batch"] != found["batch"]:
            message = (
                f"resume: a step took {state_dict['batch']} images and would now take "
                f"{found['batch']}; choose data.batch_size so that times the number of processes "
                f"it is {state_dict['batch']}"
            )
            raise InputError(message)

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

    def _evaluation(self, dataset: EvaluationSet) -> DataLoader[dict[str, Tensor]]:
        trainer: Any = self.trainer
        batches = dataset.batches(
            self.judge_batch_size, rank=trainer.global_rank, ranks=trainer.world_size
        )
        return DataLoader(
            dataset,
            batch_sampler=batches,
            num_workers=self.workers,
            multiprocessing_context=loader_context(self.workers),
            generator=torch.Generator(),
        )

    def _stream(self, dataset: Dataset[dict[str, Tensor]]) -> DataLoader[dict[str, Tensor]]:
        trainer: Any = self.trainer
        positions = Positions(
            start=trainer.global_step,
            steps=trainer.max_steps,
            batch_size=self.batch_size,
            rank=trainer.global_rank,
            ranks=trainer.world_size,
        )
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=positions,
            num_workers=self.workers,
            multiprocessing_context=loader_context(self.workers),
            persistent_workers=self.workers > 0,
            generator=torch.Generator(),
            pin_memory=torch.cuda.is_available(),
        )
