"""Begin two runs at the same moment, again and again, and look whether each pair ends cleanly.

    python scripts/simultaneous_starts.py [--pairs N]

Half of the pairs name one folder, so that one of the two must be refused in one line; the other
half name none, so that both must end, each in a folder of its own. In every folder `run.json` and
the checkpoint must be of the same seed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from soak import SMALL

STEPS = ["trainer.max_steps=2", "adapt.contrast_start=1", "logger=none", "pictures=0"]
LONGEST = 300


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Begin a short training in a working directory."""
    small = [word for word in SMALL if "contrast_start" not in word]
    return subprocess.Popen(
        [sys.executable, "-m", "sepico_pl.train", *small, *STEPS, *words],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def faults(folder: Path, named: bool) -> list[str]:
    """Begin a pair; return what is wrong with how it ended."""
    where = ["hydra.run.dir=run"] if named else []
    pair = [start(folder, f"seed={seed}", *where) for seed in (1, 2)]
    errors = [process.communicate(timeout=LONGEST)[1].strip() for process in pair]
    codes = sorted(process.returncode for process in pair)
    found = [] if codes == ([0, 1] if named else [0, 0]) else [f"exit codes {codes}: {errors}"]
    refused = [error for error in errors if error.startswith("error: ")]
    if named and (len(refused) != 1 or "\n" in refused[0]):
        found.append(f"refused: {refused}")
    runs = sorted(path.parent for path in folder.rglob("last.ckpt"))
    if len(runs) != (1 if named else 2):
        found.append(f"{len(runs)} runs")
    for run in runs:
        seeds = json.loads((run / "run.json").read_text())["seed"], seed_of(run / "last.ckpt")
        found += [] if seeds[0] == seeds[1] else [f"{run}: seeds {seeds}"]
    return found


def seed_of(checkpoint: Path) -> int:
    """Return the seed that a checkpoint's configuration has."""
    return int(torch.load(checkpoint, weights_only=True)["config"]["seed"])


def main() -> None:
    """Begin the pairs and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20)
    pairs = parser.parse_args().pairs
    clean = 0
    for number in range(pairs):
        with tempfile.TemporaryDirectory() as folder:
            found = faults(Path(folder), named=number % 2 == 0)
        clean += not found
        if found:
            print(f"pair {number}: {'; '.join(found)}", flush=True)
    print(f"{pairs} pairs: {clean} clean, {pairs - clean} not")
    raise SystemExit(clean < pairs)


if __name__ == "__main__":
    main()
