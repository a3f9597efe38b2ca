"""The table behind every claim: all methods, one budget, several seeds.

    python scripts/table.py [--seeds 1 2 3] [--rows NAME ...] [--output DIR] [KEY=VALUE ...]

Each row is `python -m sepico_pl.train` with the overrides printed beside it, and is judged on the
target with both batch-norm policies: the row "source only" under target statistics is AdaBN. Runs
that have ended are not repeated, interrupted ones go on.
KEY=VALUE are overrides for all rows (dataset=camvid, ...).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from policies import POLICIES, judged_under_each

from sepico_pl.tables import write_json

ROWS = {
    "source only": ["adapt=none"],
    "oracle (target labels)": ["adapt=none", "dataset.source_world=night"],
    "self-training": ["adapt=self_training"],
    "contrast of weight 0": ["contrast=distribution", "contrast.weight=0"],
    "prototype": ["contrast=prototype"],
    "bank": ["contrast=bank"],
    "distribution": ["contrast=distribution"],
}


def run(name: str, seed: int, output: Path, overrides: list[str]) -> Path:
    """Train one row with one seed, unless that has been done; return its folder."""
    folder = output / name.split(" (")[0].replace(" ", "_") / f"seed{seed}"
    if not (folder / "both.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "sepico_pl.train", *ROWS[name], f"seed={seed}"]
        with (folder / "output.log").open("a") as log:
            subprocess.run(
                [*command, *overrides, "logger=csv", f"hydra.run.dir={folder}", "resume=auto"],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                check=True,
            )
        subprocess.run([sys.executable, __file__, "--judge", str(folder)], check=True)
    return folder


def judge_both(folder: Path) -> None:
    """Judge a run on the target under both batch-norm policies and write the scores."""
    write_json(folder / "both.json", judged_under_each(folder / "last.ckpt"))


def line(name: str, folders: list[Path]) -> str:
    """Format a row: mIoU of each seed and their mean and deviation, under each policy."""
    cells = []
    for policy in POLICIES:
        values = [
            json.loads((folder / "both.json").read_text())[policy]["mIoU"] for folder in folders
        ]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        shown = " / ".join(f"{value:.1f}" for value in values)
        cells.append(f"{shown} | {statistics.mean(values):.1f} ± {spread:.1f}")
    return f"| {name} | `{' '.join(ROWS[name])}` | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--output", type=Path, default=Path("outputs/table"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="trainings at a time")
    parser.add_argument("--judge", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    if options.judge:
        judge_both(options.judge)
        return
    output = options.output.absolute()
    plan = [(name, seed) for seed in options.seeds for name in options.rows]
    with ThreadPoolExecutor(options.jobs) as pool:
        folders = list(pool.map(lambda job: run(*job, output, options.overrides), plan))
    seeds = " / ".join(map(str, options.seeds))
    print(f"| method | overrides | running BN: seeds {seeds} | mean | target BN: {seeds} | mean |")
    print("|---|---|---|---|---|---|")
    for name in options.rows:
        of_row = [folder for (row, _), folder in zip(plan, folders, strict=True) if row == name]
        print(line(name, of_row))


if __name__ == "__main__":
    main()
