"""Part c of gpu_day.py: whether training, resuming, exporting and predicting are sound on a GPU.

Every row says what was done, its result and value, and whether it is as it should be.
"""

import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from measuring import ROOT
from PIL import Image
from soak import differences
from stepping import Plan, Setting, Step
from torch import nn

from sepico_pl.data.streets import StreetScenes
from sepico_pl.tables import read_rows

Row = dict[str, object]
Found = Iterator[tuple[str, Row]]

TINY = [
    "dataset.size=[32,64]",
    "dataset.train_length=6",
    "dataset.val_length=2",
    "data.crop_size=[32,32]",
    "data.batch_size=2",
    "adapt.contrast_start=1",
]
GPU_SIZES = ["dataset.train_length=100", "dataset.val_length=10", "adapt.contrast_start=20"]
QUIET = ["trainer.enable_progress_bar=false", "pictures=0", "logger=csv"]
LONGEST = 420
PRECISIONS = ("bf16-mixed", "16-mixed")
TABLE = "soundness"


def measurements(device: str, *, smoke: bool) -> dict[str, Callable[[], Found]]:
    """Return the sections."""
    return {
        "float64 losses, CPU beside the device": partial(double_losses, device, smoke=smoke),
        "trainings, export, predictions": partial(trainings, device, smoke=smoke),
    }


def verdict(what: str, result: str, value: object, *, ok: bool) -> tuple[str, Row]:
    """Return a row of the table."""
    return TABLE, {"what": what, "result": result, "value": value, "ok": "yes" if ok else "no"}


def skipped(what: str, reason: str) -> tuple[str, Row]:
    """Return the row of what cannot be done here."""
    return TABLE, {"what": what, "result": f"skipped: {reason}", "value": "", "ok": "skipped"}


def double_losses(device: str, *, smoke: bool) -> Found:
    """Compare the losses of five steps in float64, the same random decisions on both sides."""
    plan = Plan("resnet10t", "light", 32, 2) if smoke else Plan("resnet18_v1c", "deeplabv2", 64, 2)
    ours, theirs = (five_steps(plan, one) for one in ("cpu", device))
    pairs = [
        (one[name], other[name]) for one, other in zip(ours, theirs, strict=True) for name in one
    ]
    worst = max(relative(a, b) for a, b in pairs)
    what = "losses of five float64 steps on generated data, CPU beside the device (limit 1e-9)"
    yield verdict(what, f"largest relative difference of {len(pairs)}", worst, ok=worst < 1e-9)


def five_steps(plan: Plan, device: str) -> list[dict[str, float]]:
    """Return the losses of five float64 steps without dropout."""
    step = Step(plan, Setting(), "cpu")
    for module in step.task.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
    step.task.double().to(device)
    step.optimizer, _ = step.task.build_optimizer(step.task.student, 40_000)
    step.batch = {
        domain: {
            name: (one.double() if one.is_floating_point() else one).to(device)
            for name, one in tensors.items()
        }
        for domain, tensors in step.batch.items()
    }
    found = []
    for _ in range(5):
        values = {}
        step.optimizer.zero_grad()
        for name, loss in step.task.losses(step.batch):
            values[name] = loss.item()
            step.backward(loss)
        step.optimizer_step()
        found.append(values)
    return found


def relative(one: float, other: float) -> float:
    """Return a difference as a share of the larger value; infinity where one is no number."""
    if not (math.isfinite(one) and math.isfinite(other)):
        return math.inf
    return abs(one - other) / max(abs(one), abs(other), 1e-12)


def command(module: str, *words: str) -> str | None:
    """Run a command of the package; return what it ended with, or None if all went well."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    try:
        ended = subprocess.run(
            [sys.executable, "-m", f"sepico_pl.{module}", *words],
            capture_output=True,
            text=True,
            timeout=LONGEST,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        return f"not over after {LONGEST} s"
    if ended.returncode == 0:
        return None
    return f"exit status {ended.returncode}: " + " / ".join(ended.stderr.splitlines()[-4:])[-600:]


def trainings(device: str, *, smoke: bool) -> Found:
    """Train small networks, several at a time, and yield a row as soon as it is known."""
    on_gpu = device == "cuda"
    steps, long = (4, 4) if smoke else (40, 2000)
    sizes = [*TINY, *QUIET] if smoke else [*GPU_SIZES, *QUIET]
    accelerator = "trainer.accelerator=" + ("gpu" if on_gpu else "cpu")
    with TemporaryDirectory() as name, ThreadPoolExecutor(8 if on_gpu else 2) as pool:
        folder = Path(name)

        def train(run: str, count: int, *words: str) -> Future[str | None]:
            settings = [f"trainer.max_steps={count}", f"trainer.val_check_interval={count}"]
            settings += [accelerator, f"keep.every={count // 2}", f"hydra.run.dir={folder / run}"]
            return pool.submit(command, "train", *sizes, *settings, *words)

        def of_each(run: str, *words: str) -> Future[str | None]:
            return train(run, steps, "trainer.log_every_n_steps=1", *words)

        strict = ("trainer.deterministic=true",)
        first, again = of_each("first", *strict), of_each("again", *strict)
        pair = ("w1", "w2") if on_gpu else ()
        warned = [of_each(run, "trainer.deterministic=warn") for run in pair]
        plain = of_each("plain") if on_gpu else None
        compiled = of_each("compiled", "compile=true") if on_gpu else None
        precisions = PRECISIONS if on_gpu else PRECISIONS[:1]
        precise = {one: train(one, long, f"trainer.precision={one}") for one in precisions}

        yield same_runs(
            "deterministic=true twice", first, again, folder / "first", folder / "again"
        )
        if on_gpu:
            what = "deterministic=warn twice"
            yield same_runs(what, *warned, folder / "w1", folder / "w2")
        usable = "again" if again.result() is None else "w2"
        reference = {"again": "first", "w2": "w1"}[usable]
        if (folder / usable / "last.ckpt").is_file():
            yield resumed(folder / reference, folder / usable, steps // 2)
            yield from served(folder / reference / "last.ckpt", folder, on_gpu=on_gpu, smoke=smoke)
        else:
            yield verdict("resume, export, predict", "no run to take them from", "", ok=False)
        if plain is None or compiled is None:
            yield skipped("compile=true beside eager", "compiling on a CPU takes minutes")
            yield skipped("16-mixed", "float16 needs a CUDA device")
        else:
            errors = [one.result() for one in (plain, compiled)]
            yield compared_losses(folder / "plain", folder / "compiled", errors)
        for precision, future in precise.items():
            yield finite(f"{long} steps of {precision}", folder / precision, future.result())


def same_runs(
    what: str, one: Future[str | None], other: Future[str | None], first: Path, again: Path
) -> tuple[str, Row]:
    """Compare the final checkpoints of two runs, to the bit."""
    errors = [error for error in (one.result(), other.result()) if error]
    if errors:
        return verdict(what, "a run failed", errors[0], ok=False)
    return same_states(what, first, again)


def same_states(what: str, first: Path, again: Path) -> tuple[str, Row]:
    """Name the tensors of two `last.ckpt` that differ."""
    states = [load(folder)["state_dict"] for folder in (first, again)]
    differing = differences(*states, "")
    result = f"{len(differing)} of {len(states[0])} tensors differ"
    return verdict(what, result, ", ".join(differing[:40]), ok=not differing)


def load(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Load a run's last checkpoint."""
    state: dict[str, dict[str, torch.Tensor]] = torch.load(
        folder / "last.ckpt", weights_only=True, map_location="cpu"
    )
    return state


def resumed(whole: Path, run: Path, step: int) -> tuple[str, Row]:
    """Let a run go on from its middle, and compare its end with that of its twin."""
    what = f"resumed from step {step}, deterministic"
    middle = run / "checkpoints" / f"step_{step:08}.ckpt"
    if not middle.is_file():
        return verdict(what, f"there is no {middle.name}", "", ok=False)
    (run / "last.ckpt").unlink()
    error = command("train", f"resume={middle}", f"hydra.run.dir={run}")
    if error:
        return verdict(what, "the run failed", error, ok=False)
    return same_states(what, whole, run)


def compared_losses(eager: Path, compiled: Path, errors: list[str | None]) -> tuple[str, Row]:
    """Compare the logged losses of the eager and of the compiled run: first step and all."""
    what = "compile=true beside eager, float32 losses (limit 1e-3 in the first step)"
    if any(errors):
        return verdict(what, "a run failed", next(error for error in errors if error), ok=False)
    logged = [read_rows(run / "metrics.csv") for run in (eager, compiled)]
    by_step = {
        step: max(
            relative(float(value), float(logged[1][step][name]))
            for name, value in row.items()
            if name in ("train/mixed", "train/source", "train/target")
        )
        for step, row in logged[0].items()
        if "train/source" in row
    }
    first = by_step[min(by_step)]
    values = f"first step {first:.2e}, any of {len(by_step)} steps {max(by_step.values()):.2e}"
    return verdict(what, "largest relative difference", values, ok=first < 1e-3)


def finite(what: str, run: Path, error: str | None) -> tuple[str, Row]:
    """Look for what is no number, in the logged metrics and in the final checkpoint."""
    if error:
        return verdict(what, "the run failed", error, ok=False)
    metrics = read_rows(run / "metrics.csv")
    numbers = [(f"{name} at {step}", v) for step, row in metrics.items() for name, v in row.items()]
    strange = [name for name, value in numbers if not math.isfinite(float(value))]
    tensors = load(run)["state_dict"]
    strange += [
        name
        for name, one in tensors.items()
        if one.is_floating_point() and not one.isfinite().all()
    ]
    result = f"{len(strange)} of {len(numbers)} numbers and {len(tensors)} tensors not finite"
    return verdict(what, result, ", ".join(strange[:40]), ok=not strange)


def served(checkpoint: Path, folder: Path, *, on_gpu: bool, smoke: bool) -> Found:
    """Export a checkpoint, and predict images with it on the device and on the CPU."""
    with_onnx = all(find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))
    formats = ["safetensors"] if smoke else ["torch", "safetensors", *["onnx"] * with_onnx]
    chosen = f"formats=[{','.join(formats)}]"
    exported = folder / "exported"
    error = command("export", f"checkpoint={checkpoint}", f"output={exported}", chosen)
    files = sorted(path.name for path in exported.glob("*"))
    yield verdict("export", chosen, error or ", ".join(files), ok=error is None)
    photographs = folder / "photographs"
    photographs.mkdir()
    scenes = StreetScenes("night", "val", 4, (64, 128), 0)
    for index in range(4):
        Image.fromarray(scenes[index][0]).save(photographs / f"{index}.png")
    ids = {}
    for accelerator in ("cpu", "gpu") if on_gpu else ("cpu",):
        output = folder / f"predicted_{accelerator}"
        words = [f"checkpoint={checkpoint}", f"images={photographs}", f"output={output}"]
        error = command("predict", *words, f"accelerator={accelerator}", "batch_norm=running")
        files = sorted((output / "ids").glob("*.png"))
        ids[accelerator] = [np.asarray(Image.open(file)) for file in files]
        ok = error is None and len(files) == 4
        yield verdict(f"predict, {accelerator}", f"{len(files)} of 4 images", error or "", ok=ok)
    if on_gpu and len(ids["gpu"]) == len(ids["cpu"]) == 4:
        share = float(np.mean([a == b for a, b in zip(ids["cpu"], ids["gpu"], strict=True)]))
        what = "predictions on the GPU beside the CPU's (limit 0.99)"
        yield verdict(what, "share of equal pixels", share, ok=share > 0.99)
