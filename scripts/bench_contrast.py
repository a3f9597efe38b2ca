"""Class statistics, label downscaling and contrast losses beside straightforward baselines.

    python scripts/bench_contrast.py

Baselines: the N x C x D expansion for the statistics, float one-hot maps for the labels, each
pixel with each entry of each bank, C x C times, for the bank. Medians of turns that alternate;
memory is what a call holds at most beyond its inputs. Threads: OMP_NUM_THREADS.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from measuring import interleaved, peak_bytes, publish
from torch import Tensor

from sepico_pl.contrast.modes import (
    BankContrast,
    DistributionContrast,
    PixelContrast,
    PrototypeContrast,
)
from sepico_pl.contrast.pixels import downscale_labels
from sepico_pl.contrast.statistics import ClassMoments
from sepico_pl.types import IGNORE_INDEX

CLASSES, WIDTH, LENGTH, TEMPERATURE, MIN_SHARE = 19, 512, 200, 0.1, 0.75
PIXELS = (12_800, 51_200)
MANY = 1_000_000
Row = dict[str, object]


def unit_pixels(count: int, width: int, num_classes: int, device: str) -> tuple[Tensor, Tensor]:
    """Draw unit embeddings (count, width) and their classes (count,)."""
    rng = torch.Generator(device).manual_seed(0)
    embeddings = torch.randn(count, width, generator=rng, device=device).relu_()
    embeddings /= embeddings.norm(dim=1, keepdim=True).clamp_(min=1e-6)
    return embeddings, torch.randint(0, num_classes, (count,), generator=rng, device=device)


def expanded_moments(embeddings: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Take means and variances (C, D) through N x C x D."""
    shape = (len(labels), num_classes, embeddings.shape[1])
    belongs = F.one_hot(labels, num_classes).to(embeddings)[:, :, None].expand(shape)
    members = embeddings[:, None].expand(shape) * belongs
    count = belongs.sum(dim=0).clamp(min=1)
    mean = members.sum(dim=0) / count
    variance = ((members - mean) * belongs).square().sum(dim=0) / count
    return mean, variance


class ExpandedMoments(ClassMoments):
    """Merges a batch as `ClassMoments` does, after the expansion."""

    @torch.no_grad()
    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Merge a batch (N, D), (N,)."""
        num_classes = len(self.count)
        mean, variance = expanded_moments(embeddings, labels, num_classes)
        count = torch.bincount(labels, minlength=num_classes)
        total = self.count + count
        weight = (count / total.clamp(min=1))[:, None]
        shift = mean - self.mean
        spread = weight * (1 - weight) * shift.square()
        self.variance.copy_(self.variance * (1 - weight) + variance * weight + spread)
        self.mean.add_(weight * shift)
        self.count.copy_(total)


def one_hot_labels(labels: Tensor, scale: int, num_classes: int, min_share: float) -> Tensor:
    """Downscale labels (B, H, W) by pooling one-hot maps."""
    ids = labels.masked_fill(labels == IGNORE_INDEX, num_classes)
    maps = F.one_hot(ids, num_classes + 1).movedim(-1, 1).float()
    share, majority = F.avg_pool2d(maps, scale).max(dim=1)
    return majority.masked_fill((majority == num_classes) | (share < min_share), IGNORE_INDEX)


def looped_bank(embeddings: Tensor, labels: Tensor, banks: list[Tensor], tau: float) -> Tensor:
    """Average the bank contrast, class by class, each with all entries of each other class."""
    losses = []
    for c, bank in enumerate(banks):
        pixels = embeddings[labels == c]
        positive = (pixels @ bank.T / tau).exp()
        negative = torch.stack(
            [(pixels @ other.T / tau).mean(dim=1).exp() for k, other in enumerate(banks) if k != c]
        ).sum(dim=0)
        losses.append(-(positive / (positive + negative[:, None])).log().mean(dim=1))
    return torch.cat(losses).mean()


def broadcast_prototype(embeddings: Tensor, labels: Tensor, mean: Tensor, tau: float) -> Tensor:
    """Average the prototype contrast through N x C x D."""
    return F.cross_entropy((embeddings[:, None] * mean).sum(dim=2) / tau, labels)


def broadcast_distribution(
    embeddings: Tensor, labels: Tensor, mean: Tensor, variance: Tensor, tau: float
) -> Tensor:
    """Average the distribution contrast through N x C x D."""
    q = embeddings[:, None]
    logits = (q * mean / tau + q.square() * variance / (2 * tau**2)).sum(dim=2)
    positive = (embeddings * mean[labels]).sum(dim=1) / tau
    return (logits.logsumexp(dim=1) - positive).mean()


def contrasts(num_classes: int, length: int, device: str) -> dict[str, PixelContrast]:
    """Build the three contrasts with full statistics and banks."""
    settings = {
        "num_classes": num_classes,
        "width": WIDTH,
        "temperature": TEMPERATURE,
        "weight": 1.0,
        "diversity_weight": 0.0,
        "min_share": MIN_SHARE,
    }
    modes = {
        "prototype": PrototypeContrast(**settings),
        "distribution": DistributionContrast(**settings),
        "bank": BankContrast(**settings, length=length),
    }
    embeddings, _ = unit_pixels(num_classes, WIDTH, num_classes, device)
    for mode in modes.values():
        mode.to(device)
        for _ in range(length):
            mode.update_pixels(embeddings, torch.arange(num_classes, device=device))
    return modes


def gradient_of(loss: Callable[[Tensor], Tensor], embeddings: Tensor) -> Callable[[], Tensor]:
    """Return forward and backward pass of a loss of `embeddings`."""
    leaf = embeddings.clone().requires_grad_()

    def run() -> Tensor:
        leaf.grad = None
        loss(leaf).backward()
        return leaf.grad

    return run


def mean_loss(mode: PixelContrast, labels: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the average contrast of pixels with these classes."""
    return lambda embeddings: mode.summed_losses(embeddings, labels) / len(labels)


def compared(
    what: str, ours: Callable[[], object], baseline: Callable[[], object], device: str, repeats: int
) -> Row:
    """Measure a part and its baseline."""
    seconds = interleaved({"ours": ours, "baseline": baseline}, repeats=repeats)
    memory = peak_bytes(ours, device), peak_bytes(baseline, device)
    return {
        "part": what,
        "ours, ms": f"{1e3 * seconds.median('ours'):.2f}",
        "baseline, ms": f"{1e3 * seconds.median('baseline'):.1f}",
        "times faster": f"{seconds.ratio('baseline', 'ours'):.1f}",
        "ours, MB": f"{memory[0] / 1e6:.1f}",
        "baseline, MB": f"{memory[1] / 1e6:.1f}",
        "share of memory": f"{memory[0] / memory[1]:.3f}",
    }


def beside_baselines(count: int, device: str, repeats: int) -> Iterator[Row]:
    """Compare every part with its baseline for `count` pixels of a batch of two."""
    embeddings, labels = unit_pixels(count, WIDTH, CLASSES, device)
    side = math.isqrt(count // 2)
    scale = 640 // side
    maps = labels.view(2, side, side).repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    ours, theirs = ClassMoments(CLASSES, WIDTH), ExpandedMoments(CLASSES, WIDTH)
    ours.to(device), theirs.to(device)
    modes = contrasts(CLASSES, LENGTH, device)
    moments, banks = modes["distribution"].moments, list(modes["bank"].bank.entries)
    mean, variance = moments.mean.float(), moments.variance.float()
    tau = TEMPERATURE
    baselines: dict[str, Callable[[Tensor], Tensor]] = {
        "prototype": lambda q: broadcast_prototype(q, labels, mean, tau),
        "distribution": lambda q: broadcast_distribution(q, labels, mean, variance, tau),
        "bank": lambda q: looped_bank(q, labels, banks, tau),
    }
    parts: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "statistics": (
            lambda: ours.update(embeddings, labels),
            lambda: theirs.update(embeddings, labels),
        ),
        f"labels 2x640x640 to {side}x{side}": (
            lambda: downscale_labels(maps, scale, CLASSES, MIN_SHARE),
            lambda: one_hot_labels(maps, scale, CLASSES, MIN_SHARE),
        ),
    }
    roomy = count <= min(PIXELS) or torch.device(device).type == "cuda"
    for name in modes if roomy else ("bank",):  # the others would take 20 GB
        loss = gradient_of(mean_loss(modes[name], labels), embeddings)
        baseline = gradient_of(baselines[name], embeddings)
        torch.testing.assert_close(loss(), baseline(), rtol=1e-3, atol=1e-7)
        parts[f"{name} loss and gradient"] = loss, baseline
    for what, pair in parts.items():
        row = compared(f"{what}, N = {count}", *pair, device, repeats)
        print(*row.values(), sep=" | ", flush=True)
        yield row


def grown(
    count: int, num_classes: int, length: int, names: Sequence[str], device: str, repeats: int
) -> list[Row]:
    """Measure updates and losses of contrasts by themselves."""
    embeddings, labels = unit_pixels(count, WIDTH, num_classes, device)
    modes = contrasts(num_classes, length, device)
    return [grown_row(modes[name], name, embeddings, labels, device, repeats) for name in names]


def grown_row(
    mode: PixelContrast, name: str, embeddings: Tensor, labels: Tensor, device: str, repeats: int
) -> Row:
    """Measure one contrast."""
    loss = gradient_of(mean_loss(mode, labels), embeddings)
    parts = {"update": lambda: mode.update_pixels(embeddings, labels), "loss": loss}
    seconds = interleaved(parts, repeats=repeats, warm_up=1)
    row = {
        "contrast": name,
        "N": len(labels),
        "C": len(mode.moments.count),
        "M": mode.bank.entries.shape[1] if isinstance(mode, BankContrast) else "",
        "update, ms": f"{1e3 * seconds.median('update'):.1f}",
        "update, MB": f"{peak_bytes(parts['update'], device) / 1e6:.1f}",
        "loss and gradient, ms": f"{1e3 * seconds.median('loss'):.1f}",
        "loss and gradient, MB": f"{peak_bytes(loss, device) / 1e6:.1f}",
        "of that the gradient": f"{embeddings.nbytes / 1e6:.1f}",
    }
    print(*row.values(), sep=" | ", flush=True)
    return row


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--many", type=int, default=MANY, help="pixels of the largest step")
    chosen = parser.parse_args()
    compared_rows = [
        row for count in PIXELS for row in beside_baselines(count, chosen.device, chosen.repeats)
    ]
    every = ("prototype", "distribution", "bank")
    plans = [(12_800, 19, 200, every), (51_200, 19, 200, every), (51_200, 150, 200, every)]
    plans += [(12_800, 19, length, ("bank",)) for length in (50, 800)]
    growth = [row for plan in plans for row in grown(*plan, chosen.device, chosen.repeats)]
    growth += grown(chosen.many, 150, LENGTH, every, chosen.device, 1)
    publish(
        "contrast",
        {"beside straightforward baselines": compared_rows, "as N, C and M grow": growth},
    )


if __name__ == "__main__":
    main()
