"""What a command line with `resume=` stands for: that of the run it names.

Works on words and file names alone, before Hydra and torch are imported.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

RECORD = "run.json"
# Set by the first rank for the processes that it starts.
FIRST_RANK = "SEPICO_FIRST_RANK"
TRACES = (RECORD, "metrics.csv", "last.ckpt", "checkpoints")
# What a resumed run may have otherwise: it does not shape its weights.
FREE_ON_RESUME = (
    "resume",
    "start",
    "keep.",
    "pictures",
    "compile",
    "recompute",
    "name",
    "checked",
    "data_root",
    "paths.",
    "logger.",
    "data.workers",
    "data.batch_size",
    "data.judge_batch_size",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
)


def whole_command(words: Sequence[str]) -> list[str]:
    """Return what `train` is asked to do, `resume=` replaced by the run's own overrides and folder.

    `resume=<file>` continues the run of that checkpoint, `resume=last` the newest run below
    outputs/ or the one in `hydra.run.dir`, and `resume=auto` the one in `hydra.run.dir`, which
    begins if it has not begun. In a multirun each job looks into its own folder.

    Raises:
        SystemExit: with one line, where there is nothing to resume, or where a run that is not to
            be resumed would write into another's folder.
    """
    wanted, folder = value_of(words, "resume"), value_of(words, "hydra.run.dir")
    if {"-m", "--multirun"} & set(words) or FIRST_RANK in os.environ:
        return list(words)
    rank, ranks = launched_as(os.environ)
    if wanted is None:
        if ranks > 1 and folder is None:
            message = (
                "error: each of several processes would make a run folder of its own; "
                "name one for all: hydra.run.dir=<folder>"
            )
            raise SystemExit(message)
        if rank == 0:
            refuse_taken(folder)
        return list(words)
    checkpoint = find(wanted, folder)
    if checkpoint is None:
        return list(words)
    return continued(words, checkpoint)


def launched_as(environment: Mapping[str, str]) -> tuple[int, int]:
    """Return the rank of this process and their number, where torchrun or srun started it."""
    for rank, ranks in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")):
        if rank in environment:
            return int(environment[rank]), int(environment.get(ranks, "1"))
    return 0, 1


def value_of(words: Sequence[str], key: str) -> str | None:
    """Return the value of the last `key=value`, unquoted; None for none or null."""
    values = [word.partition("=")[2] for word in words if key_of(word) == key]
    return values[-1].strip("'\"") if values and values[-1] not in ("null", "") else None


def refuse_taken(folder: str | None) -> None:
    """Refuse to begin a run in another's folder.

    Raises:
        SystemExit: with one line.
    """
    taken = [] if folder is None else traces(Path(folder))
    if taken:
        message = (
            f"error: hydra.run.dir={folder} holds a run already ({taken[0]}); continue it by "
            "resume=last, or choose another folder"
        )
        raise SystemExit(message)


def traces(folder: Path) -> list[str]:
    """Return the names of what a run has written into a folder."""
    return [name for name in TRACES if (folder / name).exists()]


def find(wanted: str, folder: str | None) -> Path | None:
    """Return the checkpoint to resume from; None where `auto` begins a run.

    Raises:
        SystemExit: with one line, if there is none.
    """
    if wanted == "auto":
        if folder is None:
            message = "error: resume=auto needs the run's folder: hydra.run.dir=<folder>"
            raise SystemExit(message)
        return newest_checkpoint(Path(folder))
    if wanted != "last":
        path = Path(wanted).expanduser()
        if not path.is_file():
            message = f"error: resume={wanted}: there is no such file; choose last, auto or a file"
            raise SystemExit(message)
        return path
    if folder is not None:
        checkpoint = newest_checkpoint(Path(folder))
    else:
        runs = [*Path("outputs").glob(f"*/*/{RECORD}"), *Path("outputs").glob(f"*/*/*/{RECORD}")]
        found = [
            path for path in (newest_checkpoint(run.parent) for run in runs) if path is not None
        ]
        checkpoint = max(found, key=lambda path: path.stat().st_mtime, default=None)
    if checkpoint is None:
        message = (
            f"error: resume=last: there is no checkpoint in {folder or 'outputs/<name>/<time>'}; "
            "name the run's folder by hydra.run.dir=<folder>, or begin a run without resume"
        )
        raise SystemExit(message)
    return checkpoint


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint of a run folder with the most steps; None if there is none."""
    if (folder / "last.ckpt").is_file():
        return folder / "last.ckpt"
    return max((folder / "checkpoints").glob("step_*.ckpt"), default=None)


def continued(words: Sequence[str], checkpoint: Path) -> list[str]:
    """Return the recorded command line of a checkpoint's run, with `words` after it."""
    folder = checkpoint.absolute().parent
    if folder.name == "checkpoints":
        folder = folder.parent
    recorded: dict[str, list[str]] = {"overrides": [], "options": []}
    if (folder / RECORD).is_file():
        recorded = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    typed = [word for word in words if key_of(word) not in ("resume", "hydra.run.dir")]
    anew = {key_of(word) for word in typed}
    overrides = [word for word in recorded["overrides"] if key_of(word) not in anew]
    where = [quoted("resume", checkpoint.absolute()), quoted("hydra.run.dir", folder)]
    return [*overrides, *where, *typed, *recorded["options"]]


def key_of(word: str) -> str:
    """Return the key of an override."""
    return word.partition("=")[0].lstrip("+~")


def quoted(key: str, path: Path) -> str:
    """Return an override of a path, whatever characters are in it."""
    return f"{key}={quoted_value(str(path))}"


def quoted_value(text: str) -> str:
    """Return text in quotes for Hydra's grammar, where a backslash counts only before a quote."""
    escaped = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + found[2].replace("'", "\\'"), text)
    return f"'{escaped}'"


def flat(node: object, prefix: str = "") -> dict[str, object]:
    """Return the leaves of nested dicts by their dotted keys."""
    if not isinstance(node, dict) or not node:
        return {prefix: node}
    return {
        key: leaf
        for name, value in node.items()
        for key, leaf in flat(value, f"{prefix}.{name}" if prefix else str(name)).items()
    }
