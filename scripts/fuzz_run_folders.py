"""Damage a run folder and a manifest at random: report, compare, predict take it or say one line.

    python scripts/fuzz_run_folders.py [--count 2000] [--seed 0]

Everything runs in this process. A fault is any exception but InputError, a message of several
lines or without end, a file made beside the output, or more than 1.5 GB of memory.
"""

import argparse
import contextlib
import copy
import io
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from peak_memory import peak_memory
from sample_runs import write_confusion, write_metrics, write_panel, write_run, write_scores

from sepico_pl.reporting.comparing import compare
from sepico_pl.reporting.page import write_report
from sepico_pl.serving.inputs import find_photographs
from sepico_pl.serving.manifest import MANIFEST, Manifest
from sepico_pl.types import InputError

MEMORY = 1500 * 2**20
LONGEST_MESSAGE = 4000
CANARY = "fuzz_canary"
SETTINGS = {"checkpoint": "abc", "logits": False, "scales": [1.0]}
VALUES = [
    None,
    True,
    0,
    -1,
    10**12,
    10**30,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "5",
    "../../etc/passwd",
    "/etc/passwd",
    "a\0b",
    "\ud800",
    f"<script>{CANARY}</script>",
    "=1+1",
    "x" * 100_000,
    [],
    {},
    [[]],
    {"_target_": "os.system", "command": f"touch {CANARY}"},
    [1] * 5000,
    {str(number): number for number in range(5000)},
]
CELLS = [*(str(value)[:5000] for value in VALUES), '"', "9" * 400, "1e400", "-0", "1_0", "\u0663"]


def make(folder: Path) -> None:
    """Write a run with every file, another run, and a folder of predictions."""
    run = write_run(folder / "runs/one", resumed=[])
    write_scores(run, {"mIoU": 50.0, "IoU/road": 60.0, "IoU/car": 40.0})
    write_confusion(run, ["road", "car"], [[5, 1], [2, 7]])
    judged = {"val/target/mIoU": {9: 40.0, 19: 50.0}, "val/target/IoU/road": {9: 1.0, 19: 60.0}}
    write_metrics(run, judged)
    write_panel(run, [10, 20], (32, 32), scenes=1)
    counts = {"cells": [4, 2], "concept": [2, 0], "head": [3, 1], "both": [1, 0]}
    measured = {"latest": 10, "history": [{"step": 10, **counts}]}
    diagnosis = {"classes": ["road", "car"], "images": ["x"], **measured}
    (run / "diagnosis.json").write_text(json.dumps(diagnosis))
    (run / "embeddings").mkdir()
    rows = [{"class": "road", "margin": 0.5, "pixels": 7}, {"class": "car", "margin": None}]
    summary = {"definition": "x", "measures": {"margin": "m", "pixels": "n"}, "rows": rows}
    (run / "embeddings/summary.json").write_text(json.dumps({**summary, "means": {"margin": 0.5}}))
    drawing = '<svg xmlns="http://www.w3.org/2000/svg" aria-label="map"><g/></svg>'
    (run / "embeddings/map.svg").write_text(drawing)
    write_scores(write_run(folder / "runs/two", {"seed": 2}, seed=2), {"mIoU": 45.0})
    (folder / "images").mkdir()
    for name in ("a", "b"):
        shutil.copy(run / "pictures/scene_0.jpg", folder / f"images/{name}.jpg")
    output = Manifest(folder / "out", SETTINGS)
    photographs = find_photographs(str(folder / "images"), folder / "out")
    output.begin(photographs[:1])
    output.finish(photographs[:1])


def flip(content: bytes, rng: Random) -> bytes:
    """Change some bytes."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 3, 20))):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def cut(content: bytes, rng: Random) -> bytes:
    """Keep a beginning, or leave out a middle."""
    first, last = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    return content[:first] + (content[last:] if rng.random() < 0.5 else b"")


def garble(content: bytes, rng: Random) -> bytes:
    """Replace all."""
    return rng.choice((b"", b"\0" * 999, rng.randbytes(500), b"[" * 99_999, b"null", b"-1e999"))


def swap(content: bytes, rng: Random) -> bytes:
    """Replace, remove or add values in JSON, on one of its lines."""
    lines = content.split(b"\n")
    index = rng.choice([number for number, line in enumerate(lines) if line])
    lines[index] = json.dumps(swapped(json.loads(lines[index]), rng)).encode()
    return b"\n".join(lines)


def swapped(content: Any, rng: Random) -> Any:  # noqa: ANN401
    """Change one to three places of a JSON value."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = list(places_of(content))
        if not places:
            return value_of(rng)
        node, key = rng.choice(places)
        what = rng.random()
        if what < 0.15:
            del node[key]
        elif what < 0.3 and isinstance(node, dict):
            node[str(value_of(rng))[:200]] = value_of(rng)
        elif what < 0.4:
            node[key] = nested(node[key], rng.choice((3, 45, 200)))
        else:
            node[key] = value_of(rng)
    return content


def value_of(rng: Random) -> Any:  # noqa: ANN401
    """Return a value of its own: a list that stood twice in a file would hold itself."""
    return copy.deepcopy(rng.choice(VALUES))


def places_of(node: object) -> Iterator[tuple[Any, Any]]:
    """Yield every container with each of its keys."""
    keys = node.keys() if isinstance(node, dict) else range(len(node)) if is_list(node) else ()
    for key in keys:
        yield node, key
        yield from places_of(node[key])


def is_list(node: object) -> bool:
    return isinstance(node, list) and len(node) < 100


def nested(value: object, depth: int) -> object:
    for _ in range(depth):
        value = [value]
    return value


def cells(content: bytes, rng: Random) -> bytes:
    """Replace cells of a CSV file, headings among them."""
    rows = [line.split(b",") for line in content.split(b"\r\n")]
    for _ in range(rng.choice((1, 2, 5))):
        row = rng.choice(rows)
        cell = rng.choice(CELLS).encode("utf-8", "replace")
        row[rng.randrange(len(row))] = cell
    return b"\r\n".join(b",".join(row) for row in rows)


Damage = Callable[[bytes, Random], bytes]
BINARY: list[Damage] = [flip, cut, garble]
FILES: dict[str, list[Damage]] = {
    **{
        name: [*BINARY, swap, swap, swap, swap]
        for name in (
            "runs/one/run.json",
            "runs/one/scores.json",
            "runs/one/confusion.json",
            "runs/one/pictures/panel.json",
            "runs/one/embeddings/summary.json",
            "runs/one/diagnosis.json",
            f"out/{MANIFEST}",
        )
    },
    "runs/one/metrics.csv": [*BINARY, cells, cells, cells],
    "runs/one/pictures/scene_0.jpg": BINARY,
    "runs/one/pictures/step_00000020/scene_0_student.png": BINARY,
    "runs/one/embeddings/map.svg": BINARY,
}


def report(folder: Path) -> None:
    write_report(folder / "runs/one", output=folder / "page/report.html")


def comparison(folder: Path) -> None:
    compare([str(folder / "runs")], None, str(folder / "page"))


def predicted(folder: Path) -> None:
    photographs = find_photographs(str(folder / "images"), folder / "out")
    Manifest(folder / "out", SETTINGS).pending(photographs)


READERS = (report, comparison, predicted)
COMPARED = {f"runs/one/{name}" for name in ("run.json", "scores.json", "metrics.csv")}
READ = {
    report: FILES.keys() - {f"out/{MANIFEST}"},
    comparison: COMPARED,
    predicted: {f"out/{MANIFEST}"},
}
"""The files that each reads."""


def fault_of(reader: Callable[[Path], None], folder: Path) -> str | None:
    """Return what is wrong with how a command ended; None for an end in peace, or in one line."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            reader(folder)
    except InputError as error:
        said = str(error)
        is_line = len(" ".join(said.split())) <= LONGEST_MESSAGE and ";" in said
        return None if is_line else f"no line but {said[:200]!r}"
    except (Exception, SystemExit):
        return traceback.format_exc()
    return None


def harmed(folder: Path) -> str | None:
    """Name a file that should not be there, or a script that came onto a page."""
    strangers = [path for place in (folder, Path.cwd()) for path in place.rglob(CANARY)]
    pages = [path.read_text("utf-8") for path in (folder / "page").glob("*.html")]
    if strangers:
        return f"made {strangers[0]}"
    if any(f"<script>{CANARY}" in page for page in pages):
        return "a script is on the page"
    largest = peak_memory()
    return f"{largest / 2**20:.0f} MB" if largest > MEMORY else None


def attack(folder: Path, number: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Damage one or two files, run every reader, and mend them; return outcomes and faults."""
    rng = Random(f"{seed} {number}")
    names = rng.sample(sorted(FILES), rng.choice((1, 1, 2)))
    whole = {name: (folder / name).read_bytes() for name in names}
    faults = []
    outcomes: Counter[str] = Counter()
    try:
        for name, content in whole.items():
            damage = rng.choice(FILES[name])
            (folder / name).write_bytes(damage(content, rng))
            outcomes[damage.__name__] += 1
        for reader in [reader for reader in READERS if not READ[reader].isdisjoint(names)]:
            fault = fault_of(reader, folder) or harmed(folder)
            if fault is not None:
                faults.append(f"--- {number}: {reader.__name__}, {', '.join(names)}\n{fault}")
    finally:
        for name, content in whole.items():
            (folder / name).write_bytes(content)
        shutil.rmtree(folder / "page", ignore_errors=True)
    return outcomes, faults


def fuzz(folder: Path, count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Attack a run folder so many times; the undamaged one must be taken."""
    make(folder)
    for reader in READERS:
        with contextlib.redirect_stdout(io.StringIO()):
            reader(folder)
    outcomes: Counter[str] = Counter()
    faults: list[str] = []
    for number in range(count):
        done, found = attack(folder, number, seed)
        outcomes += done
        faults += found
    return outcomes, faults


def main() -> None:
    """Damage, count and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    warnings.simplefilter("ignore")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        os.chdir(folder)
        outcomes, faults = fuzz(folder, wanted.count, wanted.seed)
    print("\n".join(faults[:10]))
    memory = peak_memory() / 2**20
    shares = ", ".join(f"{name} {number}" for name, number in outcomes.most_common())
    print(f"damages: {shares}")
    print(f"{wanted.count} folders, {time.monotonic() - begun:.0f} s, {memory:.0f} MB at most")
    print(f"{len(faults)} faults")
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
