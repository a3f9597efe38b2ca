"""How well an embedding space tells classes apart, and how far its domains lie from each other.

Pure functions and values. Whatever is not defined, as for a class that a domain lacks, is NaN.

Shapes: N pixels, C classes, D embedding width.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sepico_pl.contrast.losses import margins
from sepico_pl.contrast.statistics import ClassMoments

MEASURES = {
    "pixels_source": "source pixels of the class that were embedded.",
    "pixels_target": "target pixels of the class that were embedded.",
    "pdd_source": "pixel-wise discrimination distance in the source; higher is better.",
    "pdd_target": "the same in the target, with the target's own class means.",
    "margin_source": "mean of q.mu_y - max over k != y of q.mu_k over source pixels q of class y, "
    "mu the source's class means, in [-2, 2]; above 0 the pixel's own class is the nearest.",
    "margin_target": "the same for target pixels, with the source's class means.",
    "accuracy_source": "share of source pixels in [0, 1] whose margin is above 0: the nearest "
    "source mean as a classifier.",
    "accuracy_target": "the same for target pixels, with the source's class means.",
    "domain_distance": "squared Frechet distance between the class in the source and in the "
    "target, as Gaussians with diagonal covariance; 0 for equal ones.",
    "other_distance": "the smallest such distance from the class in the target to another class "
    "of the source, for scale.",
    "mean_cosine": "cosine between the class means of source and target, in [-1, 1].",
}
COUNTS = ("pixels_source", "pixels_target")


class Domain(NamedTuple):
    """The embedded pixels of one domain.

    Attributes:
        moments: over all of them, (C, D), float64.
        embeddings: unit vectors of a sample, (N, D).
        labels: their classes, (N,) int64.
    """

    moments: ClassMoments
    embeddings: Tensor
    labels: Tensor


def measure(source: Domain, target: Domain) -> dict[str, Tensor]:
    """Return each of `MEASURES` by class, (C,) float64.

    Counts, means and distances are over all pixels; what is averaged over pixels is over the
    samples.
    """
    own, other = frechet_to_same_and_nearest(source.moments, target.moments)
    both = _seen(source.moments) & _seen(target.moments)
    cosine = F.cosine_similarity(source.moments.mean, target.moments.mean)
    found = {
        "pixels_source": source.moments.count.double(),
        "pixels_target": target.moments.count.double(),
        "domain_distance": own,
        "other_distance": other,
        "mean_cosine": cosine.masked_fill(~both, torch.nan),
    }
    for name, domain in (("source", source), ("target", target)):
        found[f"pdd_{name}"] = relative_to(domain, domain.moments, discrimination)
        found[f"margin_{name}"] = relative_to(domain, source.moments, margins)
        found[f"accuracy_{name}"] = relative_to(domain, source.moments, nearest_is_right)
    return {name: found[name] for name in MEASURES}


def discrimination(embeddings: Tensor, labels: Tensor, mean: Tensor) -> Tensor:
    """Compute the pixel-wise discrimination distance of each pixel.

    cos(q, mu_y) / sum over k != y of cos(q, mu_k): higher where a pixel lies nearer to its own
    class's mean and farther from the others'. SePiCo (Xie et al., TPAMI 2023) reports such a
    distance; the formula is our reading of it (docs/embeddings.md).

    Args:
        embeddings: (N, D).
        labels: (N,) int64 in [0, C).
        mean: (C, D), the class means mu_k.

    Returns:
        (N,); NaN where the sum is not positive, as signed embeddings allow.
    """
    similarity = F.normalize(embeddings, dim=1) @ F.normalize(mean, dim=1).T
    own_class = F.one_hot(labels, len(mean)).bool()
    others = similarity.masked_fill(own_class, 0).sum(dim=1)
    return torch.where(others > 0, similarity[own_class] / others, torch.nan)


def nearest_is_right(embeddings: Tensor, labels: Tensor, mean: Tensor) -> Tensor:
    """Return 1 where a pixel's own class mean has the largest inner product, else 0: (N,)."""
    return (margins(embeddings, labels, mean) > 0).to(embeddings)


def relative_to(
    domain: Domain,
    reference: ClassMoments,
    measure_pixels: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Tensor:
    """Average a measure of a domain's sample, relative to a reference's class means, by class.

    Args:
        domain: whose sample is measured.
        reference: whose means are taken; classes it has not seen take no part.
        measure_pixels: (N, D), (N,), (C', D) -> (N,), over the C' classes that it has seen.

    Returns:
        (C,), NaN for classes without a pixel or a mean, and for all if there is only one mean.
    """
    seen = _seen(reference)
    known = seen[domain.labels]
    labels = domain.labels[known]
    values = torch.full(labels.shape, torch.nan, dtype=torch.float64)
    if seen.sum() > 1:
        places = seen.cumsum(dim=0) - 1
        values = measure_pixels(
            domain.embeddings[known].double(), places[labels], reference.mean[seen]
        )
    sums = torch.bincount(labels, weights=values, minlength=len(seen))
    return sums / torch.bincount(labels, minlength=len(seen))


def frechet(first: ClassMoments, second: ClassMoments) -> Tensor:
    """Compute the squared Frechet distance between all classes of two sets of moments.

    |mu - m|^2 + sum over dimensions of (sqrt v - sqrt w)^2 for Gaussians N(mu, diag v) and
    N(m, diag w): the squared 2-Wasserstein distance (Dowson and Landau 1982).

    Returns:
        (C, C), rows the first's classes; NaN where one has not seen the class.
    """
    here, there = (torch.cat([one.mean, one.variance.sqrt()], dim=1) for one in (first, second))
    distance = torch.cdist(here, there, compute_mode="donot_use_mm_for_euclid_dist").square()
    unseen = ~(_seen(first)[:, None] & _seen(second)[None])
    return distance.masked_fill(unseen, torch.nan)


def frechet_to_same_and_nearest(
    source: ClassMoments, target: ClassMoments
) -> tuple[Tensor, Tensor]:
    """Return the distance of each target class to itself in the source, and to the nearest other.

    Returns:
        Two tensors (C,), NaN where there is none.
    """
    distance = frechet(target, source)
    itself = torch.eye(len(distance), dtype=torch.bool)
    others = distance.nan_to_num(nan=torch.inf).masked_fill(itself, torch.inf)
    nearest = others.amin(dim=1)
    return distance.diagonal(), nearest.masked_fill(nearest.isinf(), torch.nan)


def _seen(moments: ClassMoments) -> Tensor:
    return moments.count > 0
