"""Seconds from a command to its help, and to the end of its first training step.

python scripts/bench_startup.py
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import publish

TRAIN = (sys.executable, "-m", "sepico_pl.train")


def seconds_of_help() -> float:
    """Time `--help`, from its start to its end."""
    start = time.perf_counter()
    subprocess.run([*TRAIN, "--help"], check=True, capture_output=True)
    return time.perf_counter() - start


def seconds_to_first_step() -> float:
    """Time the default training until the checkpoint of its first step is there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        start = time.perf_counter()
        command = [*TRAIN, f"hydra.run.dir={folder}", "keep.every=1"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as run:
            while not any(folder.glob("**/*.ckpt")):
                if run.poll() is not None:
                    raise SystemExit(run.stdout.read().decode())
                time.sleep(0.02)
            took = time.perf_counter() - start
            run.kill()
        return took


def imports_torch() -> bool:
    """Whether `--help` imports torch."""
    command = [sys.executable, "-X", "importtime", "-m", "sepico_pl.train", "--help"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    return any(line.split("|")[-1].strip() == "torch" for line in said.splitlines())


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    rows = []
    for what, measure in (("--help", seconds_of_help), ("first step", seconds_to_first_step)):
        times = [measure() for _ in range(repeats + 1)][1:]
        rows.append(
            {
                "what": what,
                "median, s": f"{statistics.median(times):.2f}",
                "from, s": f"{min(times):.2f}",
                "to, s": f"{max(times):.2f}",
            }
        )
    publish("startup", {"start-up": rows, "torch": [{"--help imports torch": imports_torch()}]})


if __name__ == "__main__":
    main()
