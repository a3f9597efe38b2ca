"""What is known of each class: moments of all source pixels, a bank of recent centroids.

Both are persistent buffers and reduced over all ranks before they are merged, so that they travel
in checkpoints and are equal on every rank. Sums are float64: then neither the order of pixels nor
their split over batches or ranks shows, and a hundred million of them leave the next ones their
weight.

Shapes: N pixels, C classes, D embedding width, M places of a class in the bank.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepico_pl.ranks import sum_over_ranks


def class_sums(values: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Add up each class's rows (N, D) over all ranks: (C, D) in float64, not through N x C x D."""
    one_hot = F.one_hot(labels, num_classes).double()
    with torch.autocast(values.device.type, enabled=False):
        return sum_over_ranks(one_hot.T @ values.double())


def class_counts(labels: Tensor, num_classes: int) -> Tensor:
    """Count the pixels (N,) of each class, over all ranks: (C,) int64."""
    return sum_over_ranks(torch.bincount(labels, minlength=num_classes))


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
        values = embeddings.double()
        num_classes = len(self.count)
        batch_count = class_counts(labels, num_classes)
        divisor = batch_count.clamp(min=1)[:, None]
        batch_mean = class_sums(values, labels, num_classes) / divisor
        squares = (values - batch_mean[labels]).square()
        batch_variance = class_sums(squares, labels, num_classes) / divisor

        total = self.count + batch_count
        weight = (batch_count.double() / total.clamp(min=1))[:, None]
        shift = batch_mean - self.mean
        within = torch.lerp(self.variance.double(), batch_variance, weight)
        self.variance.copy_(within + weight * (1 - weight) * shift.square())
        self.mean.add_(weight * shift)
        self.count.copy_(total)


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
        sums = class_sums(embeddings, labels, num_classes)
        present = batch_count > 0
        means = (sums / batch_count.clamp(min=1)[:, None]).to(self.entries.dtype)
        place = self.written % length
        classes = torch.arange(num_classes, device=labels.device)
        old = self.entries[classes, place]
        self.entries[classes, place] = torch.where(present[:, None], means, old)
        self.written.add_(present)
