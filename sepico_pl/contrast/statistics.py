"""What is known of each class: moments of all source pixels, a bank of recent centroids.

Both are persistent buffers and reduced over all ranks before they are merged, so that they travel
in checkpoints and are equal on every rank. Sums are float64: then neither the order of pixels nor
their split over batches or ranks shows, and a hundred million of them leave the next ones their
weight.

Shapes: N pixels, C classes, D embedding width, M places of a class in the bank.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from sepico_pl.ranks import sum_over_ranks

CHUNK = 1024


def in_chunks(values: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Go through rows (N, K) and labels (N,) in pieces whose float64 copies stay in the cache."""
    return zip(torch.split(values, CHUNK), torch.split(labels, CHUNK), strict=True)


def class_sums(values: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Add up each class's rows (N, K) in float64, on this rank alone: (C, K)."""
    sums = values.new_zeros(num_classes, values.shape[1], dtype=torch.float64)
    for rows, classes in in_chunks(values, labels):
        sums.index_add_(0, classes, rows.double())
    return sums


def class_counts(labels: Tensor, num_classes: int) -> Tensor:
    """Count the pixels (N,) of each class, over all ranks: (C,) int64."""
    counts = labels.new_zeros(num_classes).scatter_add_(0, labels, torch.ones_like(labels))
    return sum_over_ranks(counts)


def at_least_float32(values: Tensor) -> Tensor:
    """Widen half and bfloat16 to float32; leave float32 and float64 as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


class ClassMoments(nn.Module):
    """Count (C,), mean (C, D) and diagonal variance (C, D) of each class over all pixels.

    Merged exactly batch by batch (Chan et al. 1979; the estimator of SePiCo's released code):
    weights by counts, plus the term w (1 - w) (mu - m)^2 between the means. The means of unit
    vectors are not renormalised. Counts (int64) stay exact; mean and variance are float64.
    """

    count: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(self, num_classes: int, width: int) -> None:
        """Start with nothing seen: all zeros for C = `num_classes`, D = `width`."""
        super().__init__()
        self.register_buffer("count", torch.zeros(num_classes, dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(num_classes, width, dtype=torch.float64))
        self.register_buffer("variance", torch.zeros(num_classes, width, dtype=torch.float64))

    @torch.no_grad()
    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Merge a batch: embeddings (N, D), labels (N,) int64 in [0, C); N may be 0."""
        num_classes = len(self.count)
        batch_count = class_counts(labels, num_classes)
        total = self.count + batch_count
        weight = (batch_count.double() / total.clamp(min=1))[:, None]
        powers = sum_over_ranks(self._powers(embeddings, labels))
        first, second = powers / batch_count.clamp(min=1)[:, None]

        shift = weight * first
        spread = torch.lerp(self.variance.double(), second, weight)
        self.variance.copy_((spread - shift.square()).clamp(min=0))
        self.mean.add_(shift)
        self.count.copy_(total)

    def _powers(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Add up deviations from the means so far, and their squares, by class: (2, C, D)."""
        means = self.mean.double()
        powers = embeddings.new_zeros(2, *means.shape, dtype=torch.float64)
        for rows, classes in in_chunks(embeddings, labels):
            deviations = rows - means[classes]
            powers[0].index_add_(0, classes, deviations)
            powers[1].index_add_(0, classes, deviations.square_())
        return powers


class ClassBank(nn.Module):
    """The last M batch means of each class, first in, first out (SePiCo's memory bank).

    At batch 1 an entry is a single-image centroid. A class starts with one zero vector, as in the
    released code; it takes a place until it is evicted. `entries` (C, M, D) is a ring: entry number
    t of a class lies at t mod M, `written` (C,) counts all entries ever written.
    """

    entries: Tensor
    written: Tensor

    def __init__(self, num_classes: int, width: int, length: int) -> None:
        """Hold M = `length` entries for each of C = `num_classes`, D = `width`."""
        super().__init__()
        self.register_buffer("entries", torch.zeros(num_classes, length, width))
        self.register_buffer("written", torch.ones(num_classes, dtype=torch.int64))

    @property
    def filled(self) -> Tensor:
        """How many entries of each class count: (C,) int64 in [1, M]."""
        return self.written.clamp(max=self.entries.shape[1])

    @torch.no_grad()
    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Append the mean of each class in the batch: (N, D), (N,) int64; N may be 0."""
        num_classes, length, _ = self.entries.shape
        batch_count = class_counts(labels, num_classes)
        sums = sum_over_ranks(class_sums(embeddings, labels, num_classes))
        present = batch_count > 0
        means = (sums / batch_count.clamp(min=1)[:, None]).to(self.entries.dtype)
        place = self.written % length
        classes = torch.arange(num_classes, device=labels.device)
        old = self.entries[classes, place]
        self.entries[classes, place] = torch.where(present[:, None], means, old)
        self.written.add_(present)
