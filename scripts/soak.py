"""End trainings again and again, resume them, and compare with the same ones left alone.

    python scripts/soak.py [--kills N] [--steps N] [--seed N] [--output DIR]

For each contrast, with 0 and with 2 loader workers: a run's whole process group is sent a signal N
times, at random moments of its training and, every other time, while a checkpoint is being written.
Half of the signals are SIGKILL, half SIGINT or SIGTERM, sometimes twice in a row: such a run must
end with 128 + the signal and with a checkpoint to go on from, else it counts as lost. `resume=auto`
goes on each time. At the end every tensor and number of its checkpoint, its scores and its logged
metrics are compared, to the bit, with a run that nobody disturbed.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from sepico_pl.resuming import newest_checkpoint
from sepico_pl.tables import Rows, read_rows

CONTRASTS = ("prototype", "bank", "distribution")
WORKERS = (0, 2)
SMALL = [
    "dataset.size=[32,64]",
    "dataset.train_length=16",
    "dataset.val_length=2",
    "data.crop_size=[32,32]",
    "data.batch_size=2",
    "adapt.contrast_start=5",
    "trainer.enable_progress_bar=false",
    "trainer.val_check_interval=7",
    "trainer.log_every_n_steps=1",
    "keep.every=2",
]
LONGEST = 300


def start(words: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """Begin or continue a training in a process group of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "sepico_pl.train", *words, f"hydra.run.dir={folder}"]
    return subprocess.Popen(
        [*command, "resume=auto"],
        stdout=(folder / "output.log").open("a"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for_moment(process: subprocess.Popen[bytes], folder: Path, rng: random.Random) -> None:
    """Wait until a training has begun, a while more, and every other time until it writes."""
    begun = time.monotonic()
    record = folder / "run.json"
    known = record.stat().st_mtime_ns if record.exists() else 0
    while not record.exists() or record.stat().st_mtime_ns == known:
        if process.poll() is not None or time.monotonic() > begun + LONGEST:
            return
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 5))
    left = set(folder.rglob("*.partial"))  # by processes that were killed before
    if rng.random() < 0.5:
        while process.poll() is None and not set(folder.rglob("*.partial")) - left:
            time.sleep(0.0005)


def kill(process: subprocess.Popen[bytes], folder: Path) -> str | None:
    """Kill a training; return when ("writing", "training"), or None if it ended before."""
    if process.poll() is not None:
        return None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return "writing" if list(folder.rglob("*.ckpt.*.partial")) else "training"


def ask(process: subprocess.Popen[bytes], folder: Path, rng: random.Random) -> str | None:
    """Ask a training to end, once or twice; return how, or None if it ended before.

    Returns:
        "asked"; "early" where it had not made a step yet or had made the last one; "lost".
    """
    if process.poll() is not None:
        return None
    signum = rng.choice((signal.SIGINT, signal.SIGTERM))
    for pause in (0, *([rng.uniform(0, 0.3)] if rng.random() < 0.5 else [])):
        time.sleep(pause)
        if process.poll() is None:
            os.killpg(process.pid, signum)
    status = process.wait(LONGEST)
    if status == 0:
        return None
    if status == -signum or (status == 128 + signum and newest_checkpoint(folder) is None):
        return "early"
    return "asked" if status == 128 + signum else "lost"


def differences(one: object, other: object, where: str) -> list[str]:
    """Name what differs between two checkpoints, to the bit; their configurations aside."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return [] if torch.equal(one, other) and one.dtype == other.dtype else [where]
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        keys = [key for key in one if key != "config"]
        return [d for key in keys for d in differences(one[key], other[key], f"{where}.{key}")]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        return [
            d for pair in zip(one, other, strict=True) for d in differences(*pair, f"{where}[]")
        ]
    return [] if one == other else [f"{where}: {one} {other}"]


def logged(run: Path) -> Rows:
    """Return what a run logged, but for how fast it was."""
    return {
        step: {name: value for name, value in row.items() if name != "train/images_per_second"}
        for step, row in read_rows(run / "metrics.csv").items()
    }


def written(run: Path) -> dict[str, bytes]:
    """Return the final scores, and the pictures, by file name."""
    files = [run / "scores.json", *(run / "pictures").rglob("*.*")]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def compare(whole: Path, ended: Path) -> list[str]:
    """Name what differs between two runs."""
    if not (ended / "last.ckpt").is_file():
        return ["last.ckpt is missing"]
    states = [torch.load(run / "last.ckpt", weights_only=True) for run in (whole, ended)]
    found = differences(*states, "")
    found += [] if logged(whole) == logged(ended) else ["metrics.csv"]
    return found + ([] if written(whole) == written(ended) else ["scores.json or pictures"])


def soak(words: list[str], folder: Path, kills: int, rng: random.Random) -> dict[str, int]:
    """End one run `kills` times; return the counts of the report."""
    if start(words, folder / "whole").wait(LONGEST):
        raise SystemExit((folder / "whole/output.log").read_text())
    names = ("training", "writing", "asked", "early", "lost", "failed", "differences")
    counts = dict.fromkeys(names, 0)
    ended = folder / "ended"
    while (done := sum(counts.values()) - counts["early"]) < kills:
        process = start(words, ended)
        wait_for_moment(process, ended, rng)
        moment = ask(process, ended, rng) if done % 2 else kill(process, ended)
        if moment is not None:
            counts[moment] += 1
        elif process.wait(LONGEST) > 0:
            counts["failed"] += 1
            break
        else:  # it ended before: once more from its last but one checkpoint
            for name in ("last.ckpt", "scores.json"):
                (ended / name).unlink(missing_ok=True)
    counts["failed"] += start(words, ended).wait(LONGEST) != 0
    found = compare(folder / "whole", ended)
    counts["differences"] = len(found)
    print(*found, sep="\n", end="\n" if found else "")
    return counts


HEAD = (
    "contrast      workers  SIGKILL: training  writing  SIGINT, SIGTERM  (early)  lost  "
    "resumes failed  bits that differ"
)
ROW = (
    "{training:>17}  {writing:>7}  {asked:>15}  {early:>7}  {lost:>4}  {failed:>14}  "
    "{differences:>16}"
)


def main() -> None:
    """Soak every combination and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=4, help="signals to each of the six runs")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("outputs/soak"))
    given = parser.parse_args()
    rng = random.Random(given.seed)
    total: dict[str, int] = {}
    print(HEAD)
    for contrast in CONTRASTS:
        for workers in WORKERS:
            words = [*SMALL, f"trainer.max_steps={given.steps}", f"contrast={contrast}"]
            folder = given.output.absolute() / f"{contrast}_{workers}"
            counts = soak([*words, f"data.workers={workers}"], folder, given.kills, rng)
            print(f"{contrast:12}  {workers:>7}  {ROW.format(**counts)}", flush=True)
            total = {key: total.get(key, 0) + value for key, value in counts.items()}
    print(f"{'all':12}  {'':>7}  {ROW.format(**total)}")
    raise SystemExit(bool(total["lost"] or total["failed"] or total["differences"]))


if __name__ == "__main__":
    main()
