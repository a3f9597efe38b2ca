"""Images per second and worker of the training streams, on full-size files that it makes.

GTA5-like pairs (1914x1052, palette labels), SYNTHIA-like pairs (1280x760, 16-bit labels) and
Cityscapes-like targets (2048x1024), once as they are and once from the resized copy of `prepare`.
Pictures are generated streets, enlarged, with camera noise: their PNGs are about as large as real
ones. Then how long training steps wait for GTA5-like and Cityscapes-like batches of two workers per
stream, with the network that this machine can train: on a GPU the paper's DeepLab-v2 on 640x640
crops, else a small one on 256x256.

    python scripts/bench_loaders.py
"""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from measuring import now, publish
from PIL import Image
from stepping import Plan, Setting, Step
from torch.utils.data import DataLoader

from sepico_pl.data import benchmarks
from sepico_pl.data.classes import CITYSCAPES, CITYSCAPES_TRAIN_IDS, SYNTHIA_TRAIN_IDS
from sepico_pl.data.copying import Job, copy_all
from sepico_pl.data.geometry import RandomCropFlip
from sepico_pl.data.ledger import Ledger
from sepico_pl.data.rare_classes import RareClassSampling
from sepico_pl.data.streams import SourceStream, TargetStream
from sepico_pl.data.streets import StreetScenes

CROP = (640, 640)
PLAN = Plan("resnet10t", "light", 256, 2)  # where there is no GPU
WORKERS, WARM_UP = 2, 2
BOXES = {"gta": (720, 1280), "synthia": (760, 1280), "cityscapes": (640, 1280)}
SIZES = {"gta": (1052, 1914), "synthia": (760, 1280), "cityscapes": (1024, 2048)}


def ids(label: np.ndarray, table: dict[int, int]) -> np.ndarray:
    """Turn train ids (H, W) back into the ids of a data set."""
    back = np.zeros(256, np.uint8)
    for one, train_id in table.items():
        back[train_id] = one
    return back[label]


def make(root: Path, count: int, names: Sequence[str] = tuple(SIZES)) -> None:
    """Make `count` images of each data set below `root`."""
    rng = np.random.default_rng(0)
    for name in names:
        height, width = SIZES[name]
        scenes = StreetScenes("day", "train", count, (height // 4, width // 4), 0, CITYSCAPES)
        for index in range(1, count + 1):
            small, label = scenes[index - 1]
            image = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
            noisy = image.astype(np.int16) + rng.integers(-3, 4, image.shape)
            image = noisy.clip(0, 255).astype(np.uint8)
            label = cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST)
            write(root / name, name, index, image, label)


def write(root: Path, name: str, index: int, image: np.ndarray, label: np.ndarray) -> None:
    """Write an image, and its label where training reads one, as the data set `name` has them."""
    if name == "gta":
        files = root / "images" / f"{index:05}.png", root / "labels" / f"{index:05}.png"
        picture = Image.fromarray(ids(label, CITYSCAPES_TRAIN_IDS)).convert("P")
        picture.putpalette(list(range(256)) * 3)
    elif name == "synthia":
        files = root / "RGB" / f"{index:07}.png", root / "GT" / "LABELS" / f"{index:07}.png"
    else:
        stem = f"aachen/aachen_{index:06}_000019"
        files = (root / "leftImg8bit/train" / f"{stem}_leftImg8bit.png",)
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(files[0])
    if name == "gta":
        picture.save(files[1])
    elif name == "synthia":
        wide = np.zeros((*label.shape, 3), np.uint16)
        wide[..., 2] = ids(label, SYNTHIA_TRAIN_IDS)
        cv2.imwrite(str(files[1]), wide)


def stream(
    name: str, root: Path, ledger: Ledger, crop: Sequence[int] = CROP
) -> SourceStream | TargetStream:
    """Return the training stream of a data set."""
    if name == "cityscapes":
        images = benchmarks.cityscapes(str(root)).images("train")
        return TargetStream(images, box=BOXES[name], seed=0)
    pairs = getattr(benchmarks, name)(str(root)).labelled("train")
    pairs.check(ledger)
    return SourceStream(
        pairs,
        box=BOXES[name],
        crop=RandomCropFlip(crop, 10),
        largest_share=0.75,
        rare_classes=RareClassSampling(pairs.class_counts, temperature=0.01, min_pixels=3000),
        seed=0,
    )


def rate(samples: SourceStream | TargetStream, count: int) -> float:
    """Return samples per second."""
    samples[0]
    start = time.perf_counter()
    for position in range(1, count + 1):
        samples[position]
    return count / (time.perf_counter() - start)


def copy(name: str, origin: Path, destination: Path) -> None:
    """Copy a data set at training size, as `prepare` does."""
    jobs = [
        Job(
            file,
            destination / file.relative_to(origin),
            "label" if {"labels", "LABELS"} & set(file.parts) else "image",
        )
        for file in sorted(origin.rglob("*.png"))
    ]
    copy_all(jobs, BOXES[name], os.cpu_count() or 1)


def wait(
    root: Path, steps: int, workers: int = WORKERS, plan: Plan | None = None
) -> dict[str, object]:
    """Train from the files below `root`, `workers` per stream, and share out the time."""
    on_gpu = torch.cuda.is_available()
    device = "cuda" if on_gpu else "cpu"
    plan = plan or (Plan("resnet101_v1c", "deeplabv2", 640, 2) if on_gpu else PLAN)
    step = Step(plan, Setting(tf32=on_gpu, bfloat16=on_gpu), device)
    loaders = {
        domain: iter(
            DataLoader(
                stream(kind, root / kind, Ledger(None), (plan.crop, plan.crop)),
                batch_size=plan.batch,
                sampler=range((steps + WARM_UP) * plan.batch),
                num_workers=workers,
                pin_memory=on_gpu,
            )
        )
        for domain, kind in (("source", "gta"), ("target", "cityscapes"))
    }
    waited = moved = computed = 0.0
    for turn in range(steps + WARM_UP):
        times = [now()]
        batches = {domain: next(loader) for domain, loader in loaders.items()}
        times.append(now())
        step.batch = {
            domain: {name: one.to(device, non_blocking=True) for name, one in batch.items()}
            for domain, batch in batches.items()
        }
        times.append(now())
        step.make()
        times.append(now())
        if turn >= WARM_UP:
            waited += times[1] - times[0]
            moved += times[2] - times[1]
            computed += times[3] - times[2]
    total = waited + moved + computed
    return {
        "waiting for data": f"{waited / total:.2%}",
        "to the device": f"{moved / total:.2%}",
        "step, ms": f"{1e3 * total / steps:.0f}",
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=24, help="made per data set")
    parser.add_argument("--samples", type=int, default=60, help="timed per row")
    parser.add_argument("--steps", type=int, default=10, help="trained per row")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    rates, waits = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder / "original", options.files)
        for kind, (height, width) in SIZES.items():
            origin, small = folder / "original" / kind, folder / "small" / kind
            copy(kind, origin, small)
            largest = [file.stat().st_size for file in origin.rglob("*.png")]
            plain = rate(stream(kind, origin, Ledger(None)), options.samples)
            quick = rate(stream(kind, small, Ledger(None)), options.samples)
            rates.append(
                {
                    "stream": f"{kind}, {'target' if kind == 'cityscapes' else 'source'}",
                    "file": f"{width}x{height}",
                    "MB per image": f"{max(largest) / 1e6:.1f}",
                    "as downloaded": f"{plain:.1f} images/s",
                    "from the copy": f"{quick:.1f} images/s",
                    "ratio": f"{quick / plain:.2f}",
                }
            )
        for files in ("small", "original"):
            waits.append({"files": files, **wait(folder / files, options.steps)})
    titles = "one worker (one thread), decoding to tensors", f"{WORKERS} workers per stream"
    publish("loaders", dict(zip(titles, (rates, waits), strict=True)))


if __name__ == "__main__":
    main()
