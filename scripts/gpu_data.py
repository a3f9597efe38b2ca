"""Part d of gpu_day.py: loaders beside the step, and the speed of evaluation at 2048x1024."""

import itertools
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import cv2
from bench_evaluation import BOX, PAPER, SMALL, Photographs, evaluated
from bench_loaders import copy, make, stream, wait
from measuring import now
from stepping import Plan
from torch.utils.data import DataLoader

from sepico_pl.data.ledger import Ledger
from sepico_pl.model.inference import Inference

Row = dict[str, object]
Found = Iterator[tuple[str, Row]]
SMOKE_PLAN = Plan("resnet10t", "light", 64, 2)
KINDS = {"source": "gta", "target": "cityscapes"}
WINDOW, SMOKE_BOX, SMOKE_WINDOW = [640, 640], (64, 128), [64, 64]


def measurements(device: str, *, smoke: bool) -> dict[str, Callable[[], Found]]:
    """Return the sections."""
    return {
        "evaluation": partial(evaluations, device, smoke=smoke),
        "loader workers": partial(loaders, smoke=smoke),
    }


def loaders(*, smoke: bool) -> Found:
    """Yield a row for each number of workers, from the resized copy and from raw files."""
    files, steps, samples = (2, 1, 4) if smoke else (8, 20, 80)
    cv2.setNumThreads(1)
    with TemporaryDirectory() as name:
        root = Path(name)
        make(root / "raw", files, list(KINDS.values()))
        for kind in () if smoke else KINDS.values():  # its processes take long to begin
            copy(kind, root / "raw" / kind, root / "copy" / kind)
        for folder in ("raw",) if smoke else ("copy", "raw"):
            for workers in (1,) if smoke else (0, 2, 4, 8):
                rates = {
                    f"{domain}, samples/s": round(rate(kind, root / folder, workers, samples), 1)
                    for domain, kind in KINDS.items()
                }
                begun = {"files": folder, "workers per stream": workers, "cores": os.cpu_count()}
                waited = wait(root / folder, steps, workers, SMOKE_PLAN if smoke else None)
                yield "loader workers beside the step", begun | rates | waited


def rate(kind: str, root: Path, workers: int, samples: int) -> float:
    """Return the samples a second that a loader gives, once its workers have begun."""
    first = 2 * max(1, workers)
    loader = DataLoader(
        stream(kind, root / kind, Ledger(None)),
        batch_size=2,
        sampler=range(2 * first + samples),
        num_workers=workers,
    )
    batches = iter(loader)
    for _ in itertools.islice(batches, first):
        pass
    start = now()
    for _ in batches:
        pass
    return samples / (now() - start)


def evaluations(device: str, *, smoke: bool) -> Found:
    """Yield images per second in float32 and bf16, whole and in windows."""
    names, box, window = (SMALL, SMOKE_BOX, SMOKE_WINDOW) if smoke else (PAPER, BOX, WINDOW)
    count, in_windows, workers = (1, 1, 0) if smoke else (100, 40, 8)
    precisions: tuple[Literal["32-true", "bf16-mixed"], ...] = ("32-true", "bf16-mixed")
    with TemporaryDirectory() as name:
        root = Path(name)
        for how, images in (("whole", count), (f"windows {window}", in_windows)):
            scenes = Photographs(root / how, images)
            for precision in precisions:
                inference = None if how == "whole" else Inference(window=window)
                timed = partial(evaluated, names, workers=workers, box=box, precision=precision)
                if device == "cuda" and how == "whole":  # the kernels are chosen, workers started
                    timed(Photographs(root / f"warm-up, {precision}", 2))
                parts, whole = timed(scenes, inference=inference)
                title = {"network": " + ".join(names), "how": how, "precision": precision}
                yield f"images of 2048x1024 evaluated at {box[1]}x{box[0]}", title | whole
                for part in parts:
                    yield f"evaluation by part, {how}, {precision}", part
