"""The three pixel contrasts and the regulariser, as pure functions of unit embeddings.

SePiCo: Xie et al., TPAMI 2023, arXiv 2204.08808 (ProtoCL, BankCL, DistCL and the regularisation).
Every contrast is per pixel, so that the caller averages.

Shapes: N pixels, C classes, D embedding width, M entries of a class in the bank.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def prototype_scores(embeddings: Tensor, mean: Tensor, temperature: float) -> Tensor:
    """Score each class for each pixel by q . mu_k / tau: (N, D), (C, D) -> (N, C)."""
    return embeddings @ mean.T / temperature


def prototype_loss(embeddings: Tensor, labels: Tensor, mean: Tensor, temperature: float) -> Tensor:
    """Contrast pixels with the mean embedding of each class (ProtoCL).

    -log softmax_k(q . mu_k / tau)[y] for embedding q of class y.

    Args:
        embeddings: (N, D) of unit length.
        labels: (N,) int64 in [0, C).
        mean: (C, D), the class means mu_k.
        temperature: tau > 0.

    Returns:
        (N,), each >= 0.
    """
    scores = prototype_scores(embeddings, mean, temperature)
    return F.cross_entropy(scores, labels, reduction="none")


def distribution_scores(
    embeddings: Tensor, mean: Tensor, variance: Tensor, temperature: float
) -> Tensor:
    """Score each class for each pixel by q . mu_k / tau + q^2 . v_k / (2 tau^2).

    (N, D), (C, D), (C, D) -> (N, C): the exponents of `distribution_loss`.
    """
    similarity = prototype_scores(embeddings, mean, temperature)
    return similarity + _spread(embeddings, variance, temperature)


def _spread(embeddings: Tensor, variance: Tensor, temperature: float) -> Tensor:
    return embeddings.square() @ variance.T / (2 * temperature**2)


def distribution_loss(
    embeddings: Tensor, labels: Tensor, mean: Tensor, variance: Tensor, temperature: float
) -> Tensor:
    """Contrast pixels with the Gaussian of each class, in closed form (DistCL).

    The upper bound (Jensen, Gaussian moment generating function) of the expected contrast over
    infinitely many pairs drawn from N(mu_k, diag v_k):
    logsumexp_k(q . mu_k / tau + q^2 . v_k / (2 tau^2)) - q . mu_y / tau.

    Args:
        embeddings: (N, D) of unit length.
        labels: (N,) int64 in [0, C).
        mean: (C, D), the class means mu_k.
        variance: (C, D), the diagonal class variances v_k >= 0.
        temperature: tau > 0.

    Returns:
        (N,), each >= 0.
    """
    similarity = prototype_scores(embeddings, mean, temperature)
    spread = _spread(embeddings, variance, temperature)
    positive = similarity.gather(1, labels[:, None])[:, 0]
    return torch.logsumexp(similarity + spread, dim=1) - positive


def bank_means(entries: Tensor, filled: Tensor) -> Tensor:
    """Average each class's filled entries: (C, M, D), (C,) -> (C, D); zeros for none."""
    places = torch.arange(entries.shape[1], device=entries.device)
    used = (places < filled[:, None]).to(entries.dtype)
    return torch.einsum("cm,cmd->cd", used, entries) / filled.clamp(min=1)[:, None]


def bank_loss(
    embeddings: Tensor, labels: Tensor, entries: Tensor, filled: Tensor, temperature: float
) -> Tensor:
    """Contrast pixels with the single-image centroids of each class (BankCL).

    Mean over the entries b of class y of -log(p / (p + n)), with p = e^{q.b / tau} and n the sum
    over the other classes k of e^{mean over their entries of q.b_k / tau}. As q.b is linear in b,
    that mean is q times the mean entry, so only a pixel's own class needs its entries one by one.

    Args:
        embeddings: (N, D) of unit length.
        labels: (N,) int64 in [0, C), of classes with at least one entry.
        entries: (C, M, D), the bank; the first `filled` entries of each class count.
        filled: (C,) int64 in [0, M].
        temperature: tau > 0.

    Returns:
        (N,), each >= 0.
    """
    similarity = embeddings @ bank_means(entries, filled).T / temperature
    negatives = similarity.scatter(1, labels[:, None], -math.inf).logsumexp(dim=1)
    order = labels.argsort()
    counts = torch.zeros_like(filled).scatter_add_(0, labels, torch.ones_like(labels))
    sizes, lengths = torch.stack([counts, filled]).tolist()
    by_class = torch.split(embeddings[order], sizes), torch.split(negatives[order], sizes)
    losses = [
        F.softplus(others[:, None] - rows @ bank[:length].T / temperature).mean(dim=1)
        for rows, others, bank, length in zip(*by_class, entries, lengths, strict=True)
    ]
    return torch.cat(losses)[order.argsort()]


def diversity(embedding: Tensor, mean: Tensor, temperature: float) -> Tensor:
    """Compute the regulariser of the released code, a scalar <= -1.

    (1 / (C ln C)) sum_k log softmax_k(qbar . mu_k / tau), qbar the mean of unit embeddings. It
    equals -1 where qbar is equally near to all classes; minimising it moves qbar away from there
    (docs/departures.md).

    Args:
        embedding: (D,), qbar.
        mean: (C, D), C >= 2.
        temperature: tau > 0.
    """
    num_classes = len(mean)
    log_shares = F.log_softmax(embedding @ mean.T / temperature, dim=0)
    return log_shares.sum() / (num_classes * math.log(num_classes))


def margins(embeddings: Tensor, labels: Tensor, mean: Tensor) -> Tensor:
    """Measure how much nearer each pixel's class is: q.mu_y - max_{k != y} q.mu_k.

    (N,) in [-2, 2] for unit embeddings (N, D); independent of the temperature, so it shows
    progress where the loss hardly moves (tau = 100).
    """
    similarity = embeddings @ mean.T
    own = similarity.gather(1, labels[:, None])[:, 0]
    return own - similarity.scatter(1, labels[:, None], -math.inf).amax(dim=1)
