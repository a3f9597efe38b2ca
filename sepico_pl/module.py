"""The algorithms: source-only training, and SePiCo (Xie et al., TPAMI 2023, arXiv 2204.08808).

Shapes: B batch, C classes, H, W image size.
"""

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor

from sepico_pl.adapt.batch_norm import BatchNormPolicy
from sepico_pl.adapt.pseudo_labels import (
    IgnoredRows,
    PseudoLabels,
    Vote,
    mixing_weight,
    most_likely,
)
from sepico_pl.adapt.teacher import Teacher
from sepico_pl.augment.appearance import StrongAugmentation
from sepico_pl.augment.balanced_crop import ClassBalancedCrop
from sepico_pl.augment.chance import Chance
from sepico_pl.augment.class_mix import class_masks, classes_present, paste
from sepico_pl.augment.masking import BlockMask
from sepico_pl.contrast.modes import MultiStageContrast
from sepico_pl.model.segmentor import Segmentor
from sepico_pl.ranks import norm_over_ranks, number_of_ranks, sum_over_ranks
from sepico_pl.task import (
    OptimizerFactory,
    SegmentationTask,
    pixel_cross_entropy,
)
from sepico_pl.types import (
    IGNORE_INDEX,
    AdaptationBatch,
    ClassSet,
    InputError,
    Preview,
    SourceBatch,
    TargetBatch,
)


class SourceOnly(SegmentationTask):
    """Learn from labelled source images alone: the baseline, with the augmentation that SePiCo has.

    Args:
        student: see `SegmentationTask`, as the three that follow.
        classes: their names and subsets.
        optimizer: builds optimizer and schedule.
        batch_norm: policy at evaluation; "target" makes this AdaBN (Li et al. 2016).
        strong: appearance augmentation.
        chance: the random decisions.
        class_weights: (C,) weights of the classes in the cross-entropy; None for none.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        *,
        student: Segmentor,
        classes: ClassSet,
        optimizer: OptimizerFactory,
        batch_norm: BatchNormPolicy,
        strong: StrongAugmentation,
        chance: Chance,
        class_weights: Tensor | None = None,
    ) -> None:
        """Join the parts."""
        super().__init__(
            student=student, classes=classes, optimizer=optimizer, batch_norm=batch_norm
        )
        self.strong = strong
        self.chance = chance
        self.register_buffer("class_weights", class_weights, persistent=False)

    def losses(self, batch: AdaptationBatch) -> Iterator[tuple[str, Tensor]]:
        """Yield the source's cross-entropy."""
        self.start_step()
        source = batch["source"]
        image = self.strong(source["image"], self.strong.draw(self.chance), self.chance)
        yield "source", self.cross_entropy(self.student(image), source["label"])

    def start_step(self) -> None:
        """Let every random decision of this step depend on its number."""
        self.chance.start(self.global_step, rank=self.global_rank, ranks=number_of_ranks())

    def cross_entropy(self, logits: Tensor, label: Tensor, weight: Tensor | None = None) -> Tensor:
        """Average the class-weighted cross-entropy over all pixels (see `pixel_cross_entropy`).

        Raises:
            InputError: for class weights of another number of classes.
        """
        weights = self.class_weights
        if weights is not None and len(weights) != logits.shape[1]:
            message = (
                f"class_weights: {len(weights)} weights for {logits.shape[1]} classes; choose "
                "class_weights=null, or data of Cityscapes' classes"
            )
            raise InputError(message)
        return pixel_cross_entropy(logits, label, weight, weights)


class SePiCo(SourceOnly):
    """Self-training on class-mixed images, and pixel contrast with the source's semantic concepts.

    Args:
        student: see `SegmentationTask`, as the three that follow.
        classes: their names and subsets.
        optimizer: builds optimizer and schedule.
        batch_norm: policy at evaluation.
        strong: appearance augmentation.
        chance: the random decisions.
        class_weights: (C,) weights of the classes in the cross-entropy; None for none.
        contrast: the pixel contrast; None for self-training without one.
        masking: what is left out of target crops in a pass of their own; None for no such pass.
        vote: how the teacher labels a target batch.
        crop: class-balanced crop of the target.
        ignored_rows: rows of the target crop without weight.
        teacher_decay: limit of the teacher's moving average, in [0, 1).
        confidence_threshold: least probability of a trusted pseudo-label, in [0, 1].
        contrast_start: step from which the contrast counts, once the statistics have settled.
    """

    def __init__(
        self,
        *,
        student: Segmentor,
        classes: ClassSet,
        optimizer: OptimizerFactory,
        batch_norm: BatchNormPolicy,
        strong: StrongAugmentation,
        chance: Chance,
        class_weights: Tensor | None = None,
        contrast: MultiStageContrast | None = None,
        masking: BlockMask | None = None,
        vote: Vote,
        crop: ClassBalancedCrop,
        ignored_rows: IgnoredRows,
        teacher_decay: float,
        confidence_threshold: float,
        contrast_start: int,
    ) -> None:
        """Join the parts; the teacher starts as a copy of the student."""
        super().__init__(
            student=student,
            classes=classes,
            optimizer=optimizer,
            batch_norm=batch_norm,
            strong=strong,
            chance=chance,
            class_weights=class_weights,
        )
        self.teacher = Teacher(student, teacher_decay)
        self.contrast = contrast
        self.masking = masking
        self.vote = vote
        self.crop = crop
        self.ignored_rows = ignored_rows
        self.confidence_threshold = confidence_threshold
        self.contrast_start = contrast_start
        self.contrasted: set[int] = set()

    def losses(self, batch: AdaptationBatch) -> Iterator[tuple[str, Tensor]]:
        """Yield the losses of the mixed, the target, the masked and the source pass.

        A generator, so that each graph is freed before the next is built; the source pass reaches
        every parameter and comes last.
        """
        source, target = batch["source"], batch["target"]
        self.start_step()
        self.contrasted.clear()
        present = classes_present(source["label"])  # now, while the device has nothing else to do

        # 0. The teacher follows the student.
        self.teacher.follow(self.student, self.global_step)

        # 1, 2. It labels the target; the crop is chosen by that label, and labelled anew.
        target = self.crop_target(target)
        pseudo = most_likely(self.vote(self.teacher, target))
        trust = mixing_weight(pseudo.confidence, self.confidence_threshold)
        weight = self.ignored_rows.pixel_weights(pseudo.confidence, trust)
        self.log_pseudo_labels(pseudo, trust)

        # 3. What the strong views of this step have in common is drawn once.
        draw = self.strong.draw(self.chance)
        strong_source = self.strong(source["image"], draw, self.chance)
        strong_target = self.strong(target["image"], draw, self.chance)

        # 4. The teacher's view of the weak source moves the class statistics.
        self.update_statistics(source)

        # 5. Source classes pasted onto the target, with the target's trust in its labels.
        mask = self.pasted(source["label"], present)
        mixed = paste(mask, source["image"], target["image"])
        mixed = self.strong(mixed, draw, self.chance)
        mixed_label = paste(mask, source["label"], pseudo.label)
        mixed_weight = paste(mask, torch.ones_like(weight), weight)
        self.preview = Preview(target["image"], *pseudo, mixed, mixed_label)
        yield "mixed", self.cross_entropy(self.student(mixed), mixed_label, mixed_weight)

        # 6. Target pixels are drawn to the concept of their pseudo-label.
        if self.contrasts():
            yield (
                "target",
                self.target_loss(strong_target, pseudo.label.where(weight > 0, IGNORE_INDEX)),
            )

        # 7. A target crop with blocks left out has the label of the whole one.
        if self.masking is not None:
            yield "masked", self.masked_loss(self.masking, target["image"], pseudo.label, weight)

        # 8. Source pixels learn their label, and to lie near their concept.
        yield "source", self.source_loss(strong_source, source["label"])

    def contrasts(self) -> bool:
        """Whether the contrast counts at this step."""
        return self.contrast is not None and self.global_step >= self.contrast_start

    def crop_target(self, target: TargetBatch) -> TargetBatch:
        """Crop every tensor of the target batch alike, where the teacher's labels are balanced."""
        if self.crop.keeps(target["image"]):
            return target
        label = most_likely(self.vote(self.teacher, target)).label
        corners = self.crop.choose(label, len(self.class_names), self.chance)
        tensors = cast(dict[str, Tensor], target)
        cropped = {name: self.crop(images, corners) for name, images in tensors.items()}
        return cast(TargetBatch, cropped)

    def log_pseudo_labels(self, pseudo: PseudoLabels, trust: Tensor) -> None:
        """Log the mean confidence of the pseudo-labels, and the share that is trusted."""
        if self.logs_this_step():
            confidence = sum_over_ranks(pseudo.confidence.mean()) / number_of_ranks()
            self.note("train/confidence", confidence)
            self.note("train/coverage", trust)

    def update_statistics(self, source: SourceBatch) -> None:
        """Let the teacher embed the weak source, and take that into the class statistics."""
        if self.contrast is not None:
            self.contrast.update(self.teacher.embed(source["image"]), source["label"])

    def pasted(self, label: Tensor, present: Tensor) -> Tensor:
        """Mark what is pasted onto each target: half of the classes that are present, (B, H, W)."""
        return class_masks(label, self.chance.pasted_classes(present, len(label)))

    def target_loss(self, image: Tensor, label: Tensor) -> Tensor:
        """Contrast target pixels (B, 3, H, W) by their pseudo-labels (B, H, W)."""
        embeddings = self.student.embed(self.student.encode(image))
        return self.contrast_loss("target", embeddings, label)

    def masked_loss(
        self, masking: BlockMask, image: Tensor, label: Tensor, weight: Tensor
    ) -> Tensor:
        """Cross-entropy of strong target crops (B, 3, H, W), masked; the others are (B, H, W)."""
        with self.chance.apart(image.device) as chance:
            strong = self.strong(image, self.strong.draw(chance), chance)
            return self.cross_entropy(self.student(masking(strong, chance)), label, weight)

    def source_loss(self, image: Tensor, label: Tensor) -> Tensor:
        """Cross-entropy of source pixels, and their contrast once it counts."""
        stages = self.student.encode(image)
        loss = self.cross_entropy(self.student.decode(stages, image.shape[-2:]), label)
        if self.contrasts():
            return loss + self.contrast_loss("source", self.student.embed(stages), label)
        return loss + self.untouched()

    def contrast_loss(self, domain: str, embeddings: list[Tensor], label: Tensor) -> Tensor:
        """Contrast the pixels of one domain, and log how it acts.

        The margin, where a pixel counts, and the norm of the gradient on the embeddings: they
        move where the loss hardly does (a temperature of 100).
        """
        assert self.contrast is not None
        loss: Tensor = self.contrast(embeddings, label)
        self.contrasted |= {index for index, n in enumerate(self.contrast.pixels()) if n}
        self.log(f"train/{domain}_contrast", loss.detach(), sync_dist=True)
        if self.logs_this_step():
            margin = self.contrast.margin([one.detach() for one in embeddings], label)
            self.note(f"train/{domain}_margin", margin)
            gradients = torch.autograd.grad(loss, embeddings, retain_graph=True)
            self.note(f"train/{domain}_contrast_gradient", norm_over_ranks(gradients))
        return loss

    def untouched(self) -> Tensor:
        """Return a zero that reaches the projection head: ranks exchange the same gradients."""
        if self.student.projection is None:
            return torch.zeros((), device=self.device)
        return torch.stack([p.sum() * 0 for p in self.student.projection.parameters()]).sum()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Leave a branch that no pixel's contrast reached as it is: no decay on zero gradients."""
        if self.student.projection is not None:
            for index, branch in enumerate(self.student.projection.branches):
                if index not in self.contrasted:
                    branch.zero_grad(set_to_none=True)
        super().on_before_optimizer_step(optimizer)
