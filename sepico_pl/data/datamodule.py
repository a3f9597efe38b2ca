"""Source and target streams for training, both domains for evaluation, for Lightning."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sepico_pl.data.adaptation import AdaptationImages
from sepico_pl.data.geometry import RandomCropFlip
from sepico_pl.data.rare_classes import RareClassSampling, count_classes
from sepico_pl.data.streams import EvaluationSet, Positions, SourceStream, TargetStream
from sepico_pl.data.workers import loader_context
from sepico_pl.types import InputError

PAPER_CROP_PIXELS = 640 * 640


class AdaptationData(AdaptationImages, pl.LightningDataModule):
    """Feeds a domain pair to a task; its arguments are those of `AdaptationImages`."""

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

    def batch_names(self, step: int) -> list[str]:
        """Return what to call the images of all ranks that `step` was trained on."""
        trainer: Any = self.trainer
        size = self.batch_size * trainer.world_size
        positions = range(step * size, (step + 1) * size)
        return [
            f"{domain}: {', '.join(stream.name(position) for position in positions)}"
            for domain, stream in (("source", self.source), ("target", self.target))
        ]

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
