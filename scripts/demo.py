"""The demo: train source-only and SePiCo on generated streets, compare them, draw what they see.

    python scripts/demo.py [--steps N] [--seed N] [--output DIR]

Both trainings run at once, one process and one thread each. Leaves `demo.png` and `demo.json` in
DIR.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sepico_pl.checkpoints import load
from sepico_pl.data.geometry import to_tensor
from sepico_pl.data.painting import paint
from sepico_pl.tables import print_scores, write_json
from sepico_pl.types import ByteArray, ClassSet

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.patches import Patch

RUNS = {
    "source only": ["adapt=none"],
    "SePiCo (distribution)": ["adapt=sepico", "contrast=distribution"],
}
PICTURED_SCENES = 4


def start(overrides: list[str], folder: Path) -> subprocess.Popen[str]:
    """Start one training in a process of its own, its output in `folder`/output.log.

    The run of an earlier demo is removed.
    """
    if (folder / "run.json").is_file():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "sepico_pl.train", *overrides, f"hydra.run.dir={folder}"]
    with (folder / "output.log").open("w") as log:
        return subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


def latest(folder: Path) -> tuple[int, float | None]:
    """Read the last step and the last target mIoU that a running training has logged."""
    table = folder / "metrics.csv"
    if not table.is_file():
        return 0, None
    with table.open() as file:
        rows = list(csv.DictReader(file))
    scores = [float(row["val/target/mIoU"]) for row in rows if row.get("val/target/mIoU")]
    steps = [int(row["step"]) for row in rows if row.get("step")]
    return max(steps, default=0), scores[-1] if scores else None


def watch(
    processes: dict[str, subprocess.Popen[str]], folders: dict[str, Path], steps: int
) -> None:
    """Show the progress of all trainings until they end; stop with the log's end if one fails."""
    columns = (
        TextColumn("{task.description:22}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} steps"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[score]}"),
    )
    with Progress(*columns) as progress:
        bars = {name: progress.add_task(name, total=steps, score="") for name in processes}
        while running := [name for name in processes if processes[name].poll() is None]:
            time.sleep(2)
            for name in running:
                step, score = latest(folders[name])
                text = "" if score is None else f"target mIoU {score:.1f}"
                progress.update(bars[name], completed=step, score=text)
        for name, bar in bars.items():
            if processes[name].returncode == 0:
                progress.update(bar, completed=steps)
    for name, process in processes.items():
        if process.returncode:
            log = (folders[name] / "output.log").read_text()
            sys.exit(f"error: the {name} training failed:\n{log[-3000:]}")


@torch.no_grad()
def predict(checkpoint: Path, scenes: int) -> tuple[ClassSet, list[tuple[ByteArray, ...]]]:
    """Return the classes and, for target validation scenes, (image, truth, prediction)."""
    data, task = load(checkpoint)
    task.eval()
    pair = data.pair
    with task.judge(task.student, data.statistics_images(torch.device("cpu"))):
        task.student.eval()
        rows = []
        for index in range(scenes):
            image, truth = pair.target_val[index]
            logits = task.student(to_tensor(image)[None])
            rows.append((image, truth, logits.argmax(dim=1)[0].numpy().astype(np.uint8)))
    return pair.classes, rows


def draw(folders: dict[str, Path], path: Path) -> None:
    """Draw target image | truth | source only | adapted, a row per scene, with a legend."""
    predictions = {
        name: predict(folder / "last.ckpt", PICTURED_SCENES) for name, folder in folders.items()
    }
    classes, scenes = predictions["source only"]
    columns = ["target image", "truth", *predictions]
    figure, axes = plt.subplots(
        PICTURED_SCENES,
        len(columns),
        figsize=(3.2 * len(columns), 1.75 * PICTURED_SCENES),
        squeeze=False,
    )
    for row, (image, truth, _) in enumerate(scenes):
        seen = [rows[row][2] for _, rows in predictions.values()]
        pictures = [image, *(paint(label, classes) for label in (truth, *seen))]
        for axis, picture in zip(axes[row], pictures, strict=True):
            axis.imshow(picture, interpolation="nearest")
            axis.axis("off")
    for axis, title in zip(axes[0], columns, strict=True):
        axis.set_title(title)
    patches = [
        Patch(color=np.array(rgb) / 255, label=name)
        for name, rgb in zip(classes.names, classes.palette, strict=True)
    ]
    figure.legend(handles=patches, loc="lower center", ncols=len(patches), frameon=False)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=600, help="training steps")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("outputs/demo"))
    options = parser.parse_args()
    steps = options.steps
    common = [f"seed={options.seed}", "logger=csv", f"trainer.max_steps={steps}"]
    folders = {name: (options.output / name.split()[0]).absolute() for name in RUNS}
    started = time.monotonic()
    processes = {
        name: start([*overrides, *common], folders[name]) for name, overrides in RUNS.items()
    }
    watch(processes, folders, steps)
    scores = {
        name: json.loads((folder / "scores.json").read_text()) for name, folder in folders.items()
    }
    columns = {
        f"{name}, {score['batch_norm']} BN": score["target"] for name, score in scores.items()
    }
    class_names = [key[4:] for key in next(iter(columns.values())) if key.startswith("IoU/")]
    print_scores(
        f"target validation after {steps} steps, seed {options.seed}", class_names, columns
    )
    draw(folders, options.output / "demo.png")
    write_json(options.output / "demo.json", scores)
    print(f"{time.monotonic() - started:.0f} s; picture: {options.output / 'demo.png'}")


if __name__ == "__main__":
    main()
