"""Measure a CUDA machine in one command: steps, contrast, soundness, data.

    python scripts/gpu_day.py --output gpu.json             # all parts, what nine minutes allow
    python scripts/gpu_day.py --part a --output a.json      # one part a call
    python scripts/gpu_day.py --smoke --output smoke.json   # tiny sizes, on the CPU

a: the training step of the paper's networks; b: statistics, labels and losses beside plain
baselines; c: soundness; d: loaders and evaluation. The output is written after every measurement.
Exit status 1 if a section failed or something is not sound. Needs no network, data or weights.
"""

import argparse
import gc
import importlib.metadata
import json
import os
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from measuring import machine

from sepico_pl.judging import be_quiet

Row = dict[str, object]
Found = Iterator[tuple[str, Row]]
PARTS = ("a", "b", "c", "d")
PACKAGES = ("pytorch-lightning", "hydra-core", "kornia", "timm", "numpy", "opencv-python-headless")


class Section(NamedTuple):
    """Something to measure: `measure` yields a table's title and its next row."""

    part: str
    title: str
    measure: Callable[[], Found]


class Record:
    """What was found so far; its file is whole after every row.

    Args:
        file: JSON to write.
        smoke: whether the sizes are tiny.
    """

    def __init__(self, file: Path, *, smoke: bool) -> None:
        self.file = file
        self.content: dict[str, Any] = {
            "machine": machine() | versions(),
            "smoke": smoke,
            "sections": {},
            "not reached": [],
        }
        self.write()

    def write(self) -> None:
        """Replace the file by what is known."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        partial = self.file.with_name(f"{self.file.name}.partial")
        partial.write_text(json.dumps(self.content, indent=1, default=str) + "\n")
        partial.replace(self.file)

    def take(self, section: Section) -> None:
        """Measure a section; what it raises is recorded."""
        tables: dict[str, list[Row]] = {}
        entry: dict[str, Any] = {"part": section.part, "tables": tables, "error": None}
        self.content["sections"][section.title] = entry
        start = time.monotonic()
        print(f"\n## {section.part}: {section.title}", flush=True)
        try:
            for table, row in section.measure():
                tables.setdefault(table, []).append(row)
                self.write()
        except Exception:  # the other sections go on
            entry["error"] = traceback.format_exc()
            print(entry["error"], flush=True)
        entry["seconds"] = round(time.monotonic() - start, 1)
        self.write()
        for table, rows in tables.items():
            print(markdown(table, rows), flush=True)

    def skip(self, section: Section) -> None:
        """Record that the budget was spent before a section."""
        self.content["not reached"].append(f"{section.part}: {section.title}")
        print(f"\nnot reached: {section.part}: {section.title}", flush=True)
        self.write()

    def failed(self) -> bool:
        """Whether a section raised, or a row says `"ok": "no"`."""
        sections = self.content["sections"].values()
        rows = [row for one in sections for table in one["tables"].values() for row in table]
        return any(one["error"] for one in sections) or any(row.get("ok") == "no" for row in rows)


def versions() -> dict[str, object]:
    """Return the card, its driver and memory, and the versions of CUDA and of packages."""
    found: dict[str, object] = {"cuda": torch.version.cuda, "packages": {}}
    for name in PACKAGES:
        try:
            found["packages"][name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found["packages"][name] = None
    if torch.cuda.is_available():
        found["cudnn"] = torch.backends.cudnn.version()
        found["card"] = driver_line()
    return found


def driver_line() -> str:
    """Return name, driver and memory of the card as `nvidia-smi` has them, or why it has not."""
    command = [
        "nvidia-smi",
        "--query-gpu=name,driver_version,memory.total",
        "--format=csv,noheader",
    ]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"unknown: {error}"


def markdown(title: str, rows: list[Row]) -> str:
    """Return a table with the columns of all its rows."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [f"\n{title}\n", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for row in rows:
        cells = (str(row.get(name, "")).replace("|", "/").replace("\n", " ") for name in columns)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def sections(part: str, device: str, *, smoke: bool) -> list[Section]:
    """Return what a part measures, cheap and important things first."""
    if part == "a":
        from gpu_steps import measurements
    elif part == "b":
        from gpu_contrast import measurements
    elif part == "c":
        from gpu_soundness import measurements
    else:
        from gpu_data import measurements
    found = measurements(device, smoke=smoke)
    return [Section(part, title, measure) for title, measure in found.items()]


def main() -> None:
    """Measure the parts that were asked for, within the budget."""
    start = time.monotonic()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--minutes", type=float, default=9.0, help="no section starts after them")
    parser.add_argument("--output", type=Path, required=True, help="JSON file")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes on the CPU")
    given = parser.parse_args()
    if given.smoke:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif not torch.cuda.is_available():
        raise SystemExit("error: there is no CUDA device; --smoke tries everything on the CPU")
    device = "cpu" if given.smoke else "cuda"
    be_quiet()
    record = Record(given.output.absolute(), smoke=given.smoke)
    print(json.dumps(record.content["machine"], default=str), flush=True)
    for part in given.part:
        for section in sections(part, device, smoke=given.smoke):
            if time.monotonic() - start > 60 * given.minutes:
                record.skip(section)
                continue
            record.take(section)
            gc.collect()
            if device == "cuda":
                torch.cuda.empty_cache()
    print(f"\nwritten: {record.file}", flush=True)
    raise SystemExit(int(record.failed()))


if __name__ == "__main__":
    main()
