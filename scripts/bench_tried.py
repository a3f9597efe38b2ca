"""The alternatives that docs/performance.md weighs, kept and dropped ones side by side.

python scripts/bench_tried.py [--steps]   # --steps: whole steps too, minutes
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from bench_contrast import (
    CLASSES,
    LENGTH,
    MIN_SHARE,
    WIDTH,
    contrasts,
    gradient_of,
    one_hot_labels,
    unit_pixels,
)
from kornia.filters import gaussian_blur2d
from measuring import interleaved, now, publish
from PIL import Image
from stepping import CPU_PLANS, Plan, Setting, Step
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from torchvision.io import decode_image

from sepico_pl.augment.appearance import blur_kernel_size, gaussian_blur
from sepico_pl.contrast.pixels import downscale_labels
from sepico_pl.data.files import read_image
from sepico_pl.data.streets import StreetScenes
from sepico_pl.judging import be_quiet
from sepico_pl.types import IGNORE_INDEX

Variants = dict[str, Callable[[], object]]
SIGMA = 1.1


def class_sums(pixels: Tensor, labels: Tensor) -> Variants:
    """Add up the rows of each class in float64."""

    def one_hot(size: int) -> Tensor:
        total = torch.zeros(CLASSES, WIDTH, dtype=torch.float64)
        for rows, ids in zip(pixels.split(size), labels.split(size), strict=True):
            total += F.one_hot(ids, CLASSES).double().T @ rows.double()
        return total

    def index_add(size: int) -> Tensor:
        total = torch.zeros(CLASSES, WIDTH, dtype=torch.float64)
        for rows, ids in zip(pixels.split(size), labels.split(size), strict=True):
            total.index_add_(0, ids, rows.double())
        return total

    return {
        "index-add, pieces of 1024": lambda: index_add(1024),
        "index-add at once": lambda: index_add(len(pixels)),
        "one-hot product, pieces of 1024": lambda: one_hot(1024),
        "one-hot product at once": lambda: one_hot(len(pixels)),
    }


def label_cells(labels: Tensor, scale: int) -> Variants:
    """Find the majority of each cell."""
    batch, height, width = labels.shape
    shape = (batch, height // scale, scale, width // scale, scale)

    def cells() -> Tensor:
        parts = labels.view(shape).transpose(2, 3).flatten(3)
        return parts.masked_fill(parts == IGNORE_INDEX, CLASSES)

    def mode() -> Tensor:
        majority = cells().mode(dim=3).values
        return (cells() == majority[..., None]).sum(dim=3)

    def bincount() -> Tensor:
        parts = cells()
        number = parts[..., 0].numel()
        first = torch.arange(number).view(*parts.shape[:3], 1) * (CLASSES + 1)
        return torch.bincount((parts + first).flatten(), minlength=number * (CLASSES + 1))

    return {
        "counts per cell": lambda: downscale_labels(labels, scale, CLASSES, MIN_SHARE),
        "bincount": bincount,
        "torch.mode": mode,
        "one-hot maps": lambda: one_hot_labels(labels, scale, CLASSES, MIN_SHARE),
    }


def pieces(name: str) -> Variants:
    """Contrast 51,200 pixels in pieces of several sizes."""
    mode = contrasts(CLASSES, LENGTH, "cpu")[name]
    pixels, labels = unit_pixels(51_200, WIDTH, CLASSES, "cpu")

    def in_pieces(size: int) -> Callable[[Tensor], Tensor]:
        return lambda q: sum(
            mode.pixel_losses(*piece).sum()
            for piece in zip(q.split(size), labels.split(size), strict=True)
        )

    def again(q: Tensor) -> Tensor:
        return sum(
            checkpoint(mode.pixel_losses, *piece, use_reentrant=False).sum()
            for piece in zip(q.split(8192), labels.split(8192), strict=True)
        )

    sizes = (8192, 1024, 65_536)
    found = {f"{name}, pieces of {size}": gradient_of(in_pieces(size), pixels) for size in sizes}
    return {**found, f"{name}, pieces of 8192 that run again": gradient_of(again, pixels)}


def blur(image: Tensor) -> Variants:
    """Blur with a kernel that ends at 12 sigma, and with the whole one."""
    side = blur_kernel_size(image.shape[-1])
    return {
        "blur, kernel to 12 sigma": lambda: gaussian_blur(image, SIGMA),
        f"blur, kernel of {side}": lambda: gaussian_blur2d(image, (side, side), (SIGMA, SIGMA)),
    }


def optimizers() -> Variants:
    """Step AdamW over the parameters of the ResNet-50."""
    student = Step(CPU_PLANS["resnet50"], Setting(), "cpu").task.student
    for parameter in student.parameters():
        parameter.grad = torch.full_like(parameter, 1e-3)
    choices = {"AdamW, fused": (True, None), "AdamW, for each": (False, False)}
    return {
        name: torch.optim.AdamW(student.parameters(), lr=1e-9, fused=fused, foreach=foreach).step
        for name, (fused, foreach) in choices.items()
    }


def most_likely(scores: Tensor) -> Variants:
    """Find the class of each pixel of a full-size image."""
    return {
        "max(dim=1).indices": lambda: scores.max(dim=1).indices,
        "argmax(dim=1)": lambda: scores.argmax(dim=1),
    }


def projections() -> Variants:
    """Project 512 pixels as the first layer of the paper's head does."""
    weight = torch.randn(2048, 2048)
    maps = torch.randn(2, 2048, 16, 16)
    rows = maps.movedim(1, -1).reshape(-1, 2048)
    return {
        "1x1 convolution": lambda: F.conv2d(maps, weight[:, :, None, None]),
        "matrix product": lambda: F.linear(rows, weight),
    }


def windows() -> Variants:
    """Send the windows of an image through the default network one by one, and two at a time."""
    student = Step(CPU_PLANS["resnet10t"], Setting(), "cpu").task.student.eval()
    parts = torch.randn(6, 3, 256, 256).split(1)
    pairs = [torch.cat(parts[first : first + 2]) for first in range(0, len(parts), 2)]

    @torch.no_grad()
    def through(batches: Sequence[Tensor]) -> None:
        for batch in batches:
            student(batch)

    return {
        "6 windows of 256x256, two at a time": lambda: through(pairs),
        "6 windows of 256x256, one by one": lambda: through(parts),
    }


def decoders(folder: Path) -> Variants:
    """Decode a photograph of 2048x1024, as the package does and straight into a tensor."""
    scene, _ = StreetScenes("day", "val", 1, (1024, 2048), 0)[0]
    found: Variants = {}
    for suffix in ("png", "jpg"):
        path = folder / f"photograph.{suffix}"
        Image.fromarray(scene).save(path)
        found[f"{suffix}: read_image"] = partial(read_image, path)
        found[f"{suffix}: torchvision.io.decode_image"] = partial(decode_image, str(path))
    return found


def memory_formats() -> list[Variants]:
    """Make whole steps in both memory formats."""
    found = []
    for plan in (CPU_PLANS["resnet50"], Plan("mit_b0", "daformer", 64, 2)):
        steps = {}
        for name, format_ in (
            ("channels-last", torch.channels_last),
            ("contiguous", torch.contiguous_format),
        ):
            step = Step(plan, Setting(), "cpu")
            step.task.to(memory_format=format_)
            steps[f"step of {plan.backbone}, {name}"] = step.make
        found.append(steps)
    return found


def compiled() -> tuple[Variants, float]:
    """Make steps of the default network with and without torch.compile; time the first one."""
    plain, fast = (
        Step(CPU_PLANS["resnet10t"], Setting(compiled=compiled), "cpu")
        for compiled in (False, True)
    )
    start = now()
    fast.make()
    names = "step of resnet10t", "step of resnet10t, compiled"
    return dict(zip(names, (plain.make, fast.make), strict=True)), now() - start


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", action="store_true")
    parser.add_argument("--repeats", type=int, default=7)
    chosen = parser.parse_args()
    be_quiet()
    pixels, labels = unit_pixels(12_800, WIDTH, CLASSES, "cpu")
    maps = labels.view(2, 80, 80).repeat_interleave(8, 1).repeat_interleave(8, 2)
    groups = [
        class_sums(pixels, labels),
        label_cells(maps, 8),
        pieces("distribution"),
        pieces("bank"),
        blur(torch.randn(2, 3, 640, 640)),
        optimizers(),
        most_likely(torch.randn(1, CLASSES, 1024, 2048)),
        projections(),
        windows(),
    ]
    photographs = TemporaryDirectory()
    decoded = list(decoders(Path(photographs.name)).items())
    groups += [dict(decoded[:2]), dict(decoded[2:])]
    rows = []
    if chosen.steps:
        variants, first_call = compiled()
        groups += [*memory_formats(), variants]
        rows.append({"what": "first compiled step", "ms": f"{1e3 * first_call:.0f}"})
        rows[0]["of the first"] = ""
    for variants in groups:
        seconds = interleaved(variants, repeats=chosen.repeats)
        first = next(iter(seconds))
        for name in seconds:
            ratio = f"{seconds.ratio(name, first):.2f}"
            rows.append(
                {"what": name, "ms": f"{1e3 * seconds.median(name):.1f}", "of the first": ratio}
            )
            print(*rows[-1].values(), sep=" | ", flush=True)
    publish("tried", {"alternatives": rows})


if __name__ == "__main__":
    main()
