"""What a command line with `resume=` stands for: the run it names, and what is typed now.

Works on words and file names alone, before Hydra and torch are imported. A run folder may come from
anybody: of its record only the names of options in conf/ become words, never its own words.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sepico_pl.cli import find_conf
from sepico_pl.folder_lock import lock_folder
from sepico_pl.quoting import quoted_value

RECORD = "run.json"
# Set by the first rank for the processes that it starts.
FIRST_RANK = "SEPICO_FIRST_RANK"
SHOWING = {"--help", "-h", "--hydra-help", "--cfg", "-c", "--info", "-i", "--version"}
"""Words that show something and begin no run."""
INTERPOLATION = "${"
NO_FILE = "there is no such file; choose last, auto or a file"
TRACES = (RECORD, "metrics.csv", "last.ckpt", "checkpoints")
# What a resumed run may have otherwise: it does not shape its weights.
FREE_ON_RESUME = (
    "resume",
    "start",
    "keep.",
    "pictures",
    "diagnosis",
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


class Found(NamedTuple):
    """A run to go on with.

    Attributes:
        folder: of the run.
        checkpoint: to go on from; None for a run that ended before its first one, and begins again.
    """

    folder: Path
    checkpoint: Path | None


def whole_command(words: Sequence[str]) -> list[str]:
    """Return what `train` is asked to do, `resume=` replaced by the run's own folder and options.

    `resume=<file>` continues the run of that checkpoint, `resume=last` the newest run below
    outputs/ or the one in `hydra.run.dir`, and `resume=auto` the one in `hydra.run.dir`, which
    begins if it has not begun. In a multirun each job looks into its own folder. A folder that is
    named is this process's own from here on.

    Raises:
        SystemExit: with one line, where there is nothing to resume, where another process has the
            folder, or where a run that is not to be resumed would write into another's.
    """
    wanted, folder = value_of(words, "resume"), value_of(words, "hydra.run.dir")
    if {"-m", "--multirun"} & set(words) or FIRST_RANK in os.environ:
        return list(words)
    rank, ranks = launched_as(os.environ)
    is_owner = rank == 0 and not SHOWING & {word.partition("=")[0] for word in words}
    if wanted is None:
        if ranks > 1 and folder is None:
            message = (
                "error: each of several processes would make a run folder of its own; "
                "name one for all: hydra.run.dir=<folder>"
            )
            raise SystemExit(message)
        if is_owner and folder is not None and INTERPOLATION not in folder:
            lock_folder(Path(folder))
            refuse_taken(folder)
        return list(words)
    found = find(wanted, folder)
    if found is None:
        return list(words)
    if INTERPOLATION in f"{found.folder}{found.checkpoint}":
        message = f"error: {found.folder}: a name with {INTERPOLATION} in it; rename it"
        raise SystemExit(message)
    if is_owner:
        lock_folder(found.folder)
    return continued(words, found)


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


def find(wanted: str, folder: str | None) -> Found | None:
    """Return the run to go on with; None where `auto` begins one.

    Raises:
        SystemExit: with one line, if there is none.
    """
    if wanted not in ("last", "auto"):
        path = Path(wanted).expanduser()
        if not path.is_file():
            remedy = f"give resume=last hydra.run.dir={wanted}" if path.is_dir() else NO_FILE
            message = f"error: resume={wanted}: {remedy}"
            raise SystemExit(message)
        return Found(folder_of(path), path)
    if wanted == "auto" and folder is None:
        message = "error: resume=auto needs the run's folder: hydra.run.dir=<folder>"
        raise SystemExit(message)
    run = newest_run(Path("outputs")) if folder is None else run_in(Path(folder).expanduser())
    if run is None and wanted == "last":
        message = (
            f"error: resume=last: there is no checkpoint in {folder or 'outputs/<name>/<time>'}; "
            "name the run's folder by hydra.run.dir=<folder>, or begin a run without resume"
        )
        raise SystemExit(message)
    return run


def folder_of(checkpoint: Path) -> Path:
    """Return the run folder of a checkpoint, absolute."""
    folder = Path(os.path.abspath(checkpoint)).parent
    return folder.parent if folder.name == "checkpoints" else folder


def run_in(folder: Path) -> Found | None:
    """Return the run in a folder; None if nothing in it tells how to go on."""
    checkpoint = newest_checkpoint(folder)
    if checkpoint is None and not isinstance(read_record(folder).get("config"), dict):
        return None
    return Found(Path(os.path.abspath(folder)), checkpoint)


def newest_run(outputs: Path) -> Found | None:
    """Return the run below `outputs` that was saved last, or where none was, begun last.

    A younger one without a checkpoint may have been refused; a line says how to begin it again.
    """
    folders = [
        path.parent for depth in ("*/*", "*/*/*") for path in outputs.glob(f"{depth}/{RECORD}")
    ]
    runs = [run for run in map(run_in, folders) if run is not None]

    def begun(run: Found) -> float:
        return (run.folder / RECORD).stat().st_mtime

    def saved(run: Found) -> float:
        return 0.0 if run.checkpoint is None else run.checkpoint.stat().st_mtime

    newest = max(runs, key=lambda run: (saved(run), begun(run)), default=None)
    later = [run for run in runs if run.checkpoint is None and run is not newest]
    youngest = max(later, key=begun, default=None)
    if newest is not None and youngest is not None and begun(youngest) > saved(newest):
        print(
            f"{youngest.folder} began later and has no checkpoint; "
            "resume=last hydra.run.dir=<it> would begin it again"
        )
    return newest


def read_record(folder: Path) -> dict[str, Any]:
    """Return what `run.json` of a run folder holds; nothing where it is absent or damaged."""
    from sepico_pl.json_files import load_json  # slower to import than --help takes
    from sepico_pl.types import InputError

    try:
        return load_json(folder / RECORD)
    except InputError:
        return {}


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint of a run folder with the most steps; None if there is none."""
    if (folder / "last.ckpt").is_file():
        return folder / "last.ckpt"
    return max((folder / "checkpoints").glob("step_*.ckpt"), default=None)


def continued(words: Sequence[str], run: Found) -> list[str]:
    """Return the options that a run was made with, `resume=` and its folder, then what is typed.

    What stands before `resume=` was recorded, what stands behind it is typed now.
    """
    typed = [word for word in words if key_of(word) not in ("resume", "hydra.run.dir")]
    checkpoint = "auto" if run.checkpoint is None else os.path.abspath(run.checkpoint)
    where = [f"resume={quoted_value(checkpoint)}", quoted("hydra.run.dir", run.folder)]
    return [*choices(read_record(run.folder)), *where, *typed]


def choices(record: Mapping[str, Any]) -> list[str]:
    """Return the options of a recorded run that conf/ has, as `group=option`.

    What becomes a word is the name of a folder of conf/ and of files in it, never a recorded text.
    Records of earlier versions name them among the words that were typed.
    """
    recorded = record.get("choices")
    if not isinstance(recorded, dict):
        overrides = record.get("overrides")
        words = overrides if isinstance(overrides, list) else []
        recorded = {key_of(word): option_of(word) for word in words if isinstance(word, str)}
    found = []
    for group in sorted(path for path in Path(find_conf()).iterdir() if path.is_dir()):
        wanted = recorded.get(group.name)
        options = {path.stem for path in group.glob("*.yaml")}
        names = wanted if isinstance(wanted, list) else [wanted]
        chosen = [name for name in names if isinstance(name, str) and name in options]
        if chosen and len(chosen) == len(names) and group.name != "hydra":
            one = isinstance(wanted, str)
            found.append(f"{group.name}={chosen[0] if one else '[' + ','.join(chosen) + ']'}")
    return found


def option_of(word: str) -> str | list[str]:
    """Return the option that a word gives a group, or the options of `group=[one,other]`."""
    value = word.partition("=")[2].strip("'\"")
    return value[1:-1].split(",") if value.startswith("[") else value


def key_of(word: str) -> str:
    """Return the key of an override."""
    return word.partition("=")[0].lstrip("+~")


def quoted(key: str, path: Path) -> str:
    """Return an override of a path, whatever characters are in it."""
    return f"{key}={quoted_value(str(path))}"


def flat(node: object, prefix: str = "") -> dict[str, object]:
    """Return the leaves of nested dicts by their dotted keys."""
    if not isinstance(node, dict) or not node:
        return {prefix: node}
    return {
        key: leaf
        for name, value in node.items()
        for key, leaf in flat(value, f"{prefix}.{name}" if prefix else str(name)).items()
    }
