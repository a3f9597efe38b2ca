"""Seconds from a command to its help, its first training step, a prediction, a refused path.

    python scripts/bench_startup.py
    python scripts/bench_startup.py --beside ../before   # alternating with another checkout

Whole processes; the checkouts take turns, the first turn does not count. Then what of a first
step's seconds goes where, in this checkout.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from measuring import publish

HERE = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "pytorch_lightning", "torchmetrics", "wandb", "matplotlib")
NO_TARGET_IMAGES = "batch_norm=running"
PARTS = """
from time import perf_counter
def part(what):
    global start
    print(perf_counter() - start, what)
    start = perf_counter()
start = perf_counter()
import sepico_pl.train
part("import of Hydra")
from sepico_pl.libraries import TRAINING, import_quickly
import_quickly(["torch"])
part("import of torch")
import_quickly(TRAINING[:1])
part("import of Lightning")
import_quickly(TRAINING[1:])
part("import of networks and images")
import sepico_pl.runner
part("import of the package")
import torch._dynamo.eval_frame
part("import of torch's compiler, not part of a first step")
from sepico_pl.data.rare_classes import count_classes
from sepico_pl.data.streets import StreetScenes
start = perf_counter()
count_classes(StreetScenes("day", "train", 600, (64, 128), 0), 9)
part("classes of 600 generated labels")
"""


def command(program: str, *words: str) -> list[str]:
    """Return the command line of one of our programs."""
    return [sys.executable, "-m", f"sepico_pl.{program}", *words]


def seconds(checkout: Path, words: list[str], *, status: int = 0) -> float:
    """Time a command in a checkout, whose package it runs, from its start to its end."""
    start = time.perf_counter()
    done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=checkout)
    took = time.perf_counter() - start
    if done.returncode != status:
        raise SystemExit(done.stdout + done.stderr)
    return took


def seconds_to_first_word(checkout: Path) -> float:
    """Time the default training until it prints something."""
    with tempfile.TemporaryDirectory() as name:
        start = time.perf_counter()
        words = command("train", f"hydra.run.dir={name}/run")
        with subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=checkout
        ) as run:
            line = run.stdout.readline()
            took = time.perf_counter() - start
            if not line:
                raise SystemExit(f"{words} printed nothing")
            run.kill()
        return took


def seconds_to_first_step(checkout: Path) -> float:
    """Time the default training until the checkpoint of its first step is there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        start = time.perf_counter()
        words = command("train", f"hydra.run.dir={folder}", "keep.every=1")
        with subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=checkout
        ) as run:
            while not any(folder.glob("**/*.ckpt")):
                if run.poll() is not None:
                    raise SystemExit(run.stdout.read().decode())
                time.sleep(0.02)
            took = time.perf_counter() - start
            run.kill()
        return took


def trained_checkpoint(folder: Path) -> Path:
    """Train the default network for one step; return its checkpoint."""
    words = ("trainer.max_steps=1", "dataset.val_length=2", "data.statistics_images=2")
    seconds(HERE, command("train", f"hydra.run.dir={folder}", *words))
    return folder / "last.ckpt"


def measures(folder: Path) -> dict[str, Callable[[Path], float]]:
    """Return what is timed, each a function of a checkout.

    Args:
        folder: for a checkpoint and an image.
    """
    checkpoint = trained_checkpoint(folder / "run")
    picture = next((folder / "run").rglob("*.png"))

    def predict(checkout: Path) -> float:
        with tempfile.TemporaryDirectory() as output:
            words = (f"checkpoint={checkpoint}", f"images={picture}", f"output={output}")
            return seconds(checkout, command("predict", *words, NO_TARGET_IMAGES))

    absent = ("checkpoint=absent.ckpt", f"images={picture}", f"output={folder}/none")
    return {
        "train --help": lambda checkout: seconds(checkout, command("train", "--help")),
        "train, first word": seconds_to_first_word,
        "train, first step": seconds_to_first_step,
        "predict, one image": predict,
        "predict, a checkpoint that is not there": lambda checkout: seconds(
            checkout, command("predict", *absent), status=1
        ),
    }


def imported(folder: Path, checkout: Path) -> dict[str, object]:
    """Return which of the heavy packages loading a network imports."""
    code = (
        "import sys, sepico_pl; sepico_pl.load(sys.argv[1], batch_norm='running'); "
        f"print(*[name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder / "run/last.ckpt")],
        check=True,
        capture_output=True,
        text=True,
        cwd=checkout,
    )
    return {"sepico_pl.load imports": done.stdout.strip()}


def parts(repeats: int) -> list[dict[str, object]]:
    """Return medians of the seconds of imports, as training makes them, and of its labels."""
    found: dict[str, list[float]] = {}
    for _ in range(repeats):
        words = [sys.executable, "-c", PARTS]
        done = subprocess.run(words, check=True, capture_output=True, text=True, cwd=HERE)
        for line in done.stdout.splitlines():
            took, what = line.split(maxsplit=1)
            found.setdefault(what, []).append(float(took))
    return [{"part": what, "s": f"{statistics.median(took):.2f}"} for what, took in found.items()]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--beside", type=Path, help="another checkout, measured in turns")
    chosen = parser.parse_args()
    checkouts = {"this": HERE} | ({"beside": chosen.beside.resolve()} if chosen.beside else {})
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for what, measure in measures(Path(name)).items():
            times: dict[str, list[float]] = {checkout: [] for checkout in checkouts}
            for _ in range(chosen.repeats + 1):
                for checkout, folder in checkouts.items():
                    times[checkout].append(measure(folder))
            medians = {one: statistics.median(found[1:]) for one, found in times.items()}
            row: dict[str, object] = {"what": what}
            for one, found in times.items():
                row[f"{one}, s"] = f"{medians[one]:.2f}"
                row[f"{one}, from - to"] = f"{min(found[1:]):.2f} - {max(found[1:]):.2f}"
            if "beside" in medians:
                row["this / beside"] = f"{medians['this'] / medians['beside']:.2f}"
            rows.append(row)
            print(*row.values(), sep=" | ", flush=True)
        loaded = [{"checkout": c, **imported(Path(name), f)} for c, f in checkouts.items()]
    publish("startup", {"start-up": rows, "parts": parts(chosen.repeats), "packages": loaded})


if __name__ == "__main__":
    main()
