"""What a run was made on and with, in a few words."""

import os
import platform
import subprocess
from collections.abc import Collection
from pathlib import Path

from sepico_pl.first_look import may_have_gpu
from sepico_pl.reporting.run_files import Record, Session

ON_CPU = "trainer.accelerator=cpu"
CPU_INFO = Path("/proc/cpuinfo")


def trains_on_gpu(words: Collection[str]) -> bool:
    """Whether runs with these overrides may train on a GPU."""
    return ON_CPU not in words and may_have_gpu()


def gpu_name(words: Collection[str]) -> str | None:
    """Return the model of the GPU that runs with these overrides train on; None for none."""
    if not trains_on_gpu(words):
        return None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader", f"--id={visible}"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def cpu_name() -> str:
    """Return the model of this machine's CPU, or its architecture where that is not told."""
    try:
        lines = CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def cpu_with_threads(record: Record) -> str:
    """Return the CPU and the number of threads that a run was made with."""
    threads = _sessions(record)[-1].threads
    return f"{cpu_name()}, {threads} thread{'s' * (threads != 1)}"


def commit_of(record: Record, results: Path) -> str:
    """Return the commits that a run was made with, several where it was gone on with.

    Args:
        record: of the run.
        results: a file that the ablation itself changes, in the checkout or elsewhere.
    """
    commits = [_commit(session, results) for session in _sessions(record)]
    return ", ".join(dict.fromkeys(commits))


def _sessions(record: Record) -> list[Session]:
    return [record, *record.resumed]


def _commit(session: Session, results: Path) -> str:
    if session.git is None:
        return "not a checkout"
    is_dirty = any(not _names(line, results) for line in session.git.changed)
    return session.git.commit[:12] + " dirty" * is_dirty


def _names(line: str, results: Path) -> bool:
    """Whether a line of `git status --porcelain` is of the results file, or of its new folder."""
    changed = line.strip().partition(" ")[2].strip().strip('"')
    path = Path(__file__).resolve().parents[2] / changed
    file = results.resolve()
    return path == file or (line.startswith("??") and path == file.parent)
