"""What a pixel is contrasted with: prototype, bank or distribution of its class.

Each mode owns the statistics it needs and turns an embedding map with its labels into one scalar.
Plain torch, with no Lightning in sight. SePiCo: Xie et al., TPAMI 2023, arXiv 2204.08808.

Shapes: B batch, C classes, D embedding width, H, W label size, h, w embedding size, N selected
pixels.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sepico_pl.contrast.losses import (
    bank_loss,
    bank_means,
    distribution_loss,
    distribution_scores,
    diversity,
    margins,
    prototype_loss,
    prototype_scores,
)
from sepico_pl.contrast.pixels import select_pixels
from sepico_pl.contrast.statistics import ClassBank, ClassMoments, at_least_float32
from sepico_pl.ranks import count_over_ranks, shared_sum, sum_over_ranks
from sepico_pl.types import IGNORE_INDEX, InputError

# Pixels whose losses are computed at a time: what is made on the way stays small, and in the cache.
PIECE = 8192


class PixelContrast(nn.Module, ABC):
    """Pull every pixel embedding to the semantic concept of its class.

    Args:
        num_classes: C >= 2.
        width: D of the embeddings.
        temperature: tau > 0. At the official 100 the loss stays within 0.7 % of ln C: watch
            `margin`.
        weight: factor of the whole loss; 0 keeps every forward and takes the contrast away (a
            control).
        diversity_weight: factor of the regulariser within the loss; a negative one turns its sign.
        min_share: smallest share of a cell that a class needs to label it; None for nearest labels.

    Attributes:
        pixels: how many the last forward contrasted, on all ranks.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        width: int,
        temperature: float,
        weight: float,
        diversity_weight: float,
        min_share: float | None,
    ) -> None:
        """Start with empty statistics.

        Raises:
            InputError: for a temperature that is not positive.
        """
        super().__init__()
        if not temperature > 0:
            message = f"contrast.temperature={temperature} must be positive; the paper has 100"
            raise InputError(message)
        self.moments = ClassMoments(num_classes, width)
        self.pixels = 0
        self.temperature = temperature
        self.weight = weight
        self.diversity_weight = diversity_weight
        self.min_share = min_share

    @abstractmethod
    def pixel_losses(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Contrast each pixel, (N, D) and (N,) -> (N,)."""

    @abstractmethod
    def scores(self, embeddings: Tensor) -> Tensor:
        """Score each class for each pixel, as the contrast weighs it: (N, D) -> (N, C)."""

    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Take source pixels into the statistics: (B, D, h, w) and (B, H, W) int64, 255 ignored."""
        self.update_pixels(*self._select(embeddings, labels))

    def update_pixels(self, embeddings: Tensor, labels: Tensor) -> None:
        """Take selected source pixels into the statistics: (N, D) and (N,)."""
        self.moments.update(embeddings, labels)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Average the contrast over the selected pixels of all ranks and add the regulariser.

        Args:
            embeddings: (B, D, h, w) of unit length over D.
            labels: (B, H, W) int64, class ids or 255 for pixels to leave out.

        Returns:
            A scalar, at least float32 and outside autocast; a zero that keeps the graph if no pixel
            counts.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            pixels, classes = self._select(embeddings, labels)
            count = self.pixels = count_over_ranks(len(classes), classes.device)
            divisor = max(count, 1)
            pixel_losses = shared_sum(self.summed_losses(pixels, classes)) / divisor
            mean_embedding = shared_sum(pixels.sum(dim=0)) / divisor
            regulariser = diversity(mean_embedding, self._mean(pixels), self.temperature)
            loss = self.weight * (pixel_losses + self.diversity_weight * regulariser)
            return loss * (count > 0)

    def summed_losses(self, pixels: Tensor, classes: Tensor) -> Tensor:
        """Add up the losses of selected pixels, (N, D) and (N,), on this rank alone: a scalar."""
        pieces = zip(torch.split(pixels, PIECE), torch.split(classes, PIECE), strict=True)
        return torch.stack([self.pixel_losses(*piece).sum() for piece in pieces]).sum()

    @torch.no_grad()
    def margin(self, embeddings: Tensor, labels: Tensor) -> Tensor | None:
        """Average the pixels' `losses.margins` over all ranks; None if no pixel counts."""
        with torch.autocast(embeddings.device.type, enabled=False):
            pixels, classes = self._select(embeddings, labels)
            count = count_over_ranks(len(classes), classes.device)
            total = sum_over_ranks(margins(pixels, classes, self._mean(pixels)).sum())
            return total / count if count else None

    @torch.no_grad()
    def nearest(self, embeddings: Tensor) -> Tensor:
        """Return the class whose concept scores highest, of those that have one.

        Args:
            embeddings: (B, D, h, w) of unit length over D.

        Returns:
            (B, h, w) int64; 255 as long as no class has been seen.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            pixels = at_least_float32(embeddings).movedim(1, -1)
            unseen = self.moments.count == 0
            classes = [
                self.scores(piece).masked_fill(unseen, -torch.inf).argmax(dim=1)
                for piece in torch.split(pixels.flatten(0, 2), PIECE)
            ]
            nearest = torch.cat(classes).view(pixels.shape[:3])
            return nearest.masked_fill(unseen.all(), IGNORE_INDEX)

    def _mean(self, embeddings: Tensor) -> Tensor:
        return self.moments.mean.to(embeddings)

    def _select(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        num_classes = len(self.moments.count)
        return select_pixels(at_least_float32(embeddings), labels, num_classes, self.min_share)


class PrototypeContrast(PixelContrast):
    """The concept is the mean source embedding of the class (ProtoCL)."""

    def pixel_losses(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """See `losses.prototype_loss`."""
        return prototype_loss(embeddings, labels, self._mean(embeddings), self.temperature)

    def scores(self, embeddings: Tensor) -> Tensor:
        """See `losses.prototype_scores`."""
        return prototype_scores(embeddings, self._mean(embeddings), self.temperature)


class DistributionContrast(PixelContrast):
    """The concept is the Gaussian of the class's source embeddings, in closed form (DistCL)."""

    def pixel_losses(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """See `losses.distribution_loss`."""
        variance = self.moments.variance.to(embeddings)
        mean = self._mean(embeddings)
        return distribution_loss(embeddings, labels, mean, variance, self.temperature)

    def scores(self, embeddings: Tensor) -> Tensor:
        """See `losses.distribution_scores`."""
        variance = self.moments.variance.to(embeddings)
        return distribution_scores(embeddings, self._mean(embeddings), variance, self.temperature)


class BankContrast(PixelContrast):
    """The concept is a bank of the class's recent single-batch centroids (BankCL).

    Args:
        num_classes: see `PixelContrast`, as all that follow but the last.
        width: D.
        temperature: tau.
        weight: factor of the loss.
        diversity_weight: factor of the regulariser.
        min_share: label downscaling.
        length: M, how many centroids of each class are kept.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        width: int,
        temperature: float,
        weight: float,
        diversity_weight: float,
        min_share: float | None,
        length: int,
    ) -> None:
        """Start with one zero vector per class."""
        super().__init__(
            num_classes=num_classes,
            width=width,
            temperature=temperature,
            weight=weight,
            diversity_weight=diversity_weight,
            min_share=min_share,
        )
        self.bank = ClassBank(num_classes, width, length)

    def update_pixels(self, embeddings: Tensor, labels: Tensor) -> None:
        """Take selected pixels into the moments (the regulariser needs them) and the bank."""
        super().update_pixels(embeddings, labels)
        self.bank.update(embeddings, labels)

    def pixel_losses(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """See `losses.bank_loss`."""
        entries = self.bank.entries.to(embeddings)
        return bank_loss(embeddings, labels, entries, self.bank.filled, self.temperature)

    def scores(self, embeddings: Tensor) -> Tensor:
        """See `losses.prototype_scores`, of the mean entries."""
        entries = bank_means(self.bank.entries.to(embeddings), self.bank.filled)
        return prototype_scores(embeddings, entries, self.temperature)


class MultiStageContrast(nn.Module):
    """One contrast per embedding map, each with its own statistics; their losses add up.

    A projection head gives one map (a single stage, fused stages) or one per encoder stage
    (layerwise).
    """

    def __init__(self, stages: Sequence[PixelContrast]) -> None:
        """Hold one contrast per embedding map, in the order of the maps."""
        super().__init__()
        self.stages = nn.ModuleList(stages)

    def update(self, embeddings: Sequence[Tensor], labels: Tensor) -> None:
        """Update each stage's statistics with its map (B, D, h, w) and the labels (B, H, W)."""
        for stage, stage_embeddings in zip(self.per_map(), embeddings, strict=True):
            stage.update(stage_embeddings, labels)

    def forward(self, embeddings: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Add up the stages' losses, a scalar."""
        losses = [
            stage(stage_embeddings, labels)
            for stage, stage_embeddings in zip(self.per_map(), embeddings, strict=True)
        ]
        return torch.stack(losses).sum()

    def pixels(self) -> list[int]:
        """Return how many pixels of each map the last forward contrasted, on all ranks."""
        return [stage.pixels for stage in self.per_map()]

    def margin(self, embeddings: Sequence[Tensor], labels: Tensor) -> Tensor | None:
        """Measure the last stage's margin; None if no pixel counts."""
        return self.last.margin(embeddings[-1], labels)

    @property
    def last(self) -> PixelContrast:
        """The contrast of the last map."""
        return self.per_map()[-1]

    def per_map(self) -> list[PixelContrast]:
        """Return the contrasts, in the order of the embedding maps."""
        return [stage for stage in self.stages if isinstance(stage, PixelContrast)]
