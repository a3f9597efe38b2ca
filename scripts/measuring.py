"""What the benchmarks share: interleaved timing, peak memory, and where the figures go."""

import json
import os
import platform
import shutil
import statistics
import subprocess
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "outputs" / "benchmarks"


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors made inside it that are alive.

    What one operation needs and frees itself is not seen.

    Attributes:
        now: bytes alive.
        peak: the most there were.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        given = {id(storage) for storage in storages((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for storage in storages(result):
            if id(storage) not in self.known and id(storage) not in given:
                self._take(storage)
        return result

    def _take(self, storage: torch.UntypedStorage) -> None:
        self.known.add(id(storage))
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._drop, id(storage), storage.nbytes())

    def _drop(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


def storages(tree: object) -> list[torch.UntypedStorage]:
    """Return the storages of the tensors in nested containers."""
    return [leaf.untyped_storage() for leaf in tree_iter(tree) if isinstance(leaf, torch.Tensor)]


def peak_bytes(function: Callable[[], object], device: torch.device | str = "cpu") -> int:
    """Return how many bytes a call holds at most beyond what was there before it."""
    function()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        function()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with LiveBytes() as live:
        function()
    return live.peak


class Turns(dict[str, list[float]]):
    """Seconds of each variant, turn by turn."""

    def median(self, name: str) -> float:
        """Return the median seconds of a variant."""
        return statistics.median(self[name])

    def ratio(self, name: str, reference: str) -> float:
        """Return the median, over the turns, of a variant's share of another's seconds."""
        pairs = zip(self[name], self[reference], strict=True)
        return statistics.median(one / other for one, other in pairs)


def interleaved(
    variants: Mapping[str, Callable[[], object]], *, repeats: int, warm_up: int = 2
) -> Turns:
    """Time variants in turns, so that the machine's moods meet all of them alike."""
    seconds = Turns({name: [] for name in variants})
    for turn in range(warm_up + repeats):
        for name, function in variants.items():
            start = now()
            function()
            if turn >= warm_up:
                seconds[name].append(now() - start)
    return seconds


def now() -> float:
    """Return the time in seconds, once the device has done its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def machine() -> dict[str, Any]:
    """Describe where and of what a measurement is."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
    }


def commit() -> str:
    """Return the commit that is checked out; "" where there is no git, or no repository."""
    if shutil.which("git") is None:
        return ""
    describe = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(describe, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def cpu_name() -> str:
    """Return the processor's name, where Linux tells it."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def publish(name: str, tables: Mapping[str, Sequence[Mapping[str, object]]]) -> None:
    """Print tables, by their titles, and write them with the machine as JSON."""
    console = Console(width=150)
    for title, rows in tables.items():
        if rows:
            table = Table(*rows[0], title=title, title_justify="left")
            for row in rows:
                table.add_row(*map(str, row.values()))
            console.print(table)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    file = OUTPUT / f"{name}.json"
    file.write_text(json.dumps({"machine": machine(), "tables": tables}, indent=1) + "\n")
    console.print(f"written: {file}")
