"""The demo: source only, AdaBN and SePiCo on generated streets, compared, and what they see.

    python scripts/demo.py [--steps N] [--seed N] [--output DIR]

Both trainings run at once, one process and one thread each. Each network is judged under both
batch-norm policies, so that a column compares like with like; AdaBN is the source-only network
under target statistics. Leaves `demo.png` and `demo.json` in DIR.
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
from policies import POLICIES, judged_under_each
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from sepico_pl.adapt.batch_norm import BatchNormPolicy
from sepico_pl.checkpoints import load
from sepico_pl.data.geometry import to_tensor
from sepico_pl.data.painting import paint
from sepico_pl.judging import be_quiet
from sepico_pl.tables import plain_console, print_scores, write_json
from sepico_pl.types import ByteArray, ClassSet

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.patches import Patch

RUNS = {
    "source only": ["adapt=none"],
    "SePiCo (distribution)": ["adapt=sepico", "contrast=distribution"],
}
SOURCE_ONLY, SEPICO = RUNS
ADABN = "AdaBN"
PICTURED_SCENES = 4
Scores = dict[str, dict[str, dict[str, float]]]
"""In percent by run, by batch-norm policy, by "mIoU" and "IoU/<class>"."""


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
def predict(
    checkpoint: Path, policy: BatchNormPolicy, scenes: int
) -> tuple[ClassSet, list[tuple[ByteArray, ...]]]:
    """Return the classes and, for target validation scenes, (image, truth, prediction)."""
    data, task = load(checkpoint)
    task.batch_norm = policy
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
    """Draw target image | truth | source only | AdaBN | adapted, a row per scene; a legend."""
    source_only, adapted = (folder / "last.ckpt" for folder in folders.values())
    predictions = {
        "source only\nrunning statistics": predict(source_only, "running", PICTURED_SCENES),
        "AdaBN\ntarget statistics": predict(source_only, "target", PICTURED_SCENES),
        f"{SEPICO}\ntarget statistics": predict(adapted, "target", PICTURED_SCENES),
    }
    classes, scenes = next(iter(predictions.values()))
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


def columns_of(scores: Scores) -> dict[str, dict[str, float]]:
    """Return what was judged by its heading: method and batch-norm policy, policy by policy."""
    return {
        f"{method(name, policy)}, {policy} BN": found[policy]
        for policy in POLICIES
        for name, found in scores.items()
    }


def method(name: str, policy: str) -> str:
    """Return what a run is called under a policy."""
    return ADABN if (name, policy) == (SOURCE_ONLY, "target") else name


def summary_rows(scores: Scores) -> list[tuple[str, ...]]:
    """Return target mIoU as text: a row per method and one of gains, a column per policy."""
    running, target = ([scores[name][policy]["mIoU"] for name in RUNS] for policy in POLICIES)
    return [
        (SOURCE_ONLY, f"{running[0]:.1f}", "-"),
        (f"{ADABN} (source only, target statistics)", "-", f"{target[0]:.1f}"),
        (SEPICO, f"{running[1]:.1f}", f"{target[1]:.1f}"),
        (
            "SePiCo over source only, over AdaBN",
            f"{running[1] - running[0]:+.1f}",
            f"{target[1] - target[0]:+.1f}",
        ),
    ]


def print_summary(scores: Scores) -> None:
    """Print target mIoU, both policies side by side."""
    table = Table()
    table.add_column("target mIoU, batch norm with")
    for policy in POLICIES:
        table.add_column(f"{policy} statistics", justify="right")
    *methods, gain = summary_rows(scores)
    for row in methods:
        table.add_row(*row)
    table.add_section()
    table.add_row(*gain, style="bold")
    plain_console(100).print(table)


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
    be_quiet()
    scores = {name: judged_under_each(folder / "last.ckpt") for name, folder in folders.items()}
    columns = columns_of(scores)
    class_names = [key[4:] for key in next(iter(columns.values())) if key.startswith("IoU/")]
    print_scores(
        f"target validation after {steps} steps, seed {options.seed}", class_names, columns
    )
    print_summary(scores)
    if json.loads((folders[SEPICO] / "scores.json").read_text())["contrast_steps"] == 0:
        print(f"{steps} steps end before the contrast starts: {SEPICO} trained without it")
    draw(folders, options.output / "demo.png")
    write_json(options.output / "demo.json", scores)
    print(f"{time.monotonic() - started:.0f} s; picture: {options.output / 'demo.png'}")


if __name__ == "__main__":
    main()
