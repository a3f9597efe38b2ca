"""What all methods share: cross-entropy, optimisation, judging, the batch-norm policy.

Shapes: B batch, C classes, H, W image size.
"""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Self, cast

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics.classification import MulticlassConfusionMatrix

from sepico_pl.adapt.batch_norm import BatchNormPolicy, batch_norm_policy, target_statistics
from sepico_pl.metrics import confusion_matrix, iou_per_class, mean_iou
from sepico_pl.model.inference import Inference
from sepico_pl.model.segmentor import Segmentor
from sepico_pl.optim import GradientClip
from sepico_pl.types import (
    IGNORE_INDEX,
    AdaptationBatch,
    ClassSet,
    EvaluationBatch,
    Preview,
)

OptimizerFactory = Callable[[nn.Module, int], tuple[Optimizer, LRScheduler]]


def pixel_cross_entropy(
    logits: Tensor,
    label: Tensor,
    weight: Tensor | None = None,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Average the cross-entropy over all pixels; those to ignore count with a loss of 0.

    Args:
        logits: (B, C, H, W).
        label: (B, H, W) int64, 255 ignored.
        weight: (B, H, W) per pixel, or None for 1.
        class_weights: (C,) factors of the loss of pixels of each class, or None for 1; the mean
            does not divide by them.

    Returns:
        A scalar, at least float32.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    loss = F.cross_entropy(
        logits,
        label,
        weight=None if class_weights is None else class_weights.to(logits),
        ignore_index=IGNORE_INDEX,
        reduction="none",
    )
    return (loss if weight is None else loss * weight).mean()


class SegmentationTask(pl.LightningModule, ABC):
    """A student trained step by step on the sum of several losses, one graph at a time.

    Args:
        student: the network that is trained and evaluated.
        classes: their names, and the subsets that are judged too.
        optimizer: builds optimizer and schedule for the student and a number of steps.
        batch_norm: statistics the student's batch norm uses when it is evaluated: its "running"
            ones, mixed from all its training passes (the official policy), or those of unlabelled
            "target" images.

    Attributes:
        confusion: pixels of the last judging by domain, (C, C), rows the truth.
        preview: of the last training step, where the method learns from the target.
        copied_at: the step of a copy (see `copy_at_step`); None for the task that is trained.
    """

    preview: Preview | None = None
    copied_at: int | None = None

    def __init__(
        self,
        *,
        student: Segmentor,
        classes: ClassSet,
        optimizer: OptimizerFactory,
        batch_norm: BatchNormPolicy,
    ) -> None:
        """Hold the student and empty confusion matrices of both domains."""
        super().__init__()
        self.automatic_optimization = False
        self.student = student
        self.class_names = classes.names
        self.class_subsets = classes.subsets
        self.inference = Inference()
        self.build_optimizer = optimizer
        self.gradient_clip: GradientClip | None = None
        self.batch_norm = batch_norm_policy(batch_norm, key="adapt.batch_norm")
        self.target_matrix = confusion_matrix(len(classes))
        self.source_matrix = confusion_matrix(len(classes))
        self.confusion: dict[str, Tensor] = {}
        self._notes: dict[str, Tensor] = {}

    @abstractmethod
    def losses(self, batch: AdaptationBatch) -> Iterator[tuple[str, Tensor]]:
        """Yield the named losses of one training step, each with a graph of its own.

        The last one must reach every parameter of the student: it is the one whose backward pass
        exchanges gradients between ranks.
        """

    def training_step(self, batch: AdaptationBatch, batch_idx: int) -> dict[str, Tensor]:
        """Add up the gradients of all losses, one graph alive at a time, and step.

        Returns:
            The losses by name, detached scalars.
        """
        optimizer = cast(LightningOptimizer, self.optimizers())
        optimizer.zero_grad()
        values = {}
        for name, loss in self.losses(batch):
            values[name] = loss.detach()
            self.log(f"train/{name}", values[name], prog_bar=True, sync_dist=True)
            with self._gradient_exchange(last=name == "source"):
                self.manual_backward(loss)
            del loss
        optimizer.step()
        self._log_notes()
        cast(LRScheduler, self.lr_schedulers()).step()
        return values

    def copy_at_step(self) -> Self:
        """Return a copy that can compute this step's losses beforehand, and change nothing.

        Networks, statistics and random generator are its own; it has no trainer and logs nothing.
        torch's generators are everybody's.
        """
        twin = copy.deepcopy(self)
        twin.copied_at = self.global_step
        return twin

    @property
    def global_step(self) -> int:
        """The optimizer steps so far; 0 without a trainer, its step in a copy."""
        return super().global_step if self.copied_at is None else self.copied_at

    def log(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Log as Lightning does; nothing in a copy."""
        if self.copied_at is None:
            super().log(*args, **kwargs)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Log the norm of all gradients, unscaled and of all ranks; then clip them."""
        if self.logs_this_step():
            gradients = [p.grad for p in self.student.parameters() if p.grad is not None]
            norm = nn.utils.get_total_norm(gradients)
            self.note("train/gradient_norm", norm / self._loss_scale(optimizer))
        if self.gradient_clip is not None:
            self.gradient_clip(self.student.parameters(), self._loss_scale(optimizer))

    def _loss_scale(self, optimizer: Optimizer) -> float:
        """Return what gradients are still multiplied by: a fused optimizer unscales them itself."""
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if scaler is None or not getattr(optimizer, "_step_supports_amp_scaling", False):
            return 1.0
        return float(scaler.get_scale())

    def logs_this_step(self) -> bool:
        """Whether this training step is one that goes to the log."""
        every = self.trainer.log_every_n_steps if self._trainer else 1  # type: ignore[attr-defined]
        return bool((self.global_step + 1) % every == 0)

    def note(self, name: str, value: Tensor | None) -> None:
        """Log a scalar of this step alone; nothing for None, and nothing that is no number.

        `self.log` would repeat the last value in the steps that have none. A gradient is infinite
        where `16-mixed` skips a step.
        """
        if value is not None:
            self._notes[name] = value

    def _log_notes(self) -> None:
        values = {name: float(value) for name, value in self._notes.items()}
        notes = {name: value for name, value in values.items() if math.isfinite(value)}
        self._notes.clear()
        for logger in self.loggers if notes else ():
            logger.log_metrics(notes, self.global_step - 1)

    def _gradient_exchange(self, *, last: bool) -> AbstractContextManager[Any]:
        strategy = self.trainer.strategy
        if isinstance(strategy, DDPStrategy) and not last:
            context: AbstractContextManager[Any] = strategy.model.no_sync()  # type: ignore[union-attr,operator]
            return context
        return nullcontext()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimizer over `trainer.max_steps`."""
        optimizer, schedule = self.build_optimizer(self.student, self.trainer.max_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def judge(self, network: nn.Module, images: Iterable[Tensor]) -> AbstractContextManager[None]:
        """Apply the batch-norm policy to `network` for a while; `images`: unlabelled target."""
        if self.batch_norm == "target":
            return target_statistics(network, images)
        return nullcontext()

    def on_validation_epoch_start(self) -> None:
        """Give the student the statistics it is evaluated with."""
        images: Callable[[torch.device], Iterable[Tensor]]
        images = self.trainer.datamodule.statistics_images  # type: ignore[attr-defined]
        like = next(self.student.parameters())
        self._judging = self.judge(self.student, (one.to(like) for one in images(like.device)))
        self._judging.__enter__()

    def validation_step(
        self, batch: EvaluationBatch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Predict, bring the logits to the label's full size and count into the domain's matrix."""
        label = batch["label"]
        scores = self.inference(self.student, batch["image"], label.shape[-2:])
        domain = self.trainer.datamodule.domains[dataloader_idx]  # type: ignore[attr-defined]
        self._matrix(domain).update(scores.max(dim=1).indices, label)

    def _matrix(self, domain: str) -> MulticlassConfusionMatrix:
        return self.target_matrix if domain == "target" else self.source_matrix

    def on_validation_epoch_end(self) -> None:
        """Log mIoU and IoU per class in percent, of the domains that were judged."""
        self._judging.__exit__(None, None, None)
        del self._judging  # a task with it could not be copied
        domains = self.trainer.datamodule.domains  # type: ignore[attr-defined]
        for domain, scores in self.scores(domains).items():
            for name, score in scores.items():
                shown = f"{domain}/{name}" == "target/mIoU"
                # Alike on all ranks, which their mean, rounded, may not be.
                self.log(
                    f"val/{domain}/{name}", score, prog_bar=shown, sync_dist=True, reduce_fx="max"
                )

    def scores(self, domains: Sequence[str]) -> dict[str, dict[str, float]]:
        """Return mIoU, that of each subset, and IoU per class that occurs, in percent.

        Over the images of all ranks; counting begins anew.

        Args:
            domains: that were judged, out of "target" and "source".
        """
        result = {}
        for domain in domains:
            matrix = self._matrix(domain)
            counts = self.confusion[domain] = matrix.compute()
            matrix.reset()
            per_class = zip(self.class_names, iou_per_class(counts).tolist(), strict=True)
            present = {f"IoU/{name}": 100 * iou for name, iou in per_class if iou == iou}
            means = {name: 100 * mean_iou(counts, ids) for name, ids in self.class_subsets.items()}
            result[domain] = {"mIoU": 100 * mean_iou(counts), **means, **present}
        return result
