"""What a run folder says about how its numbers came about."""

import platform
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from sepico_pl.json_files import load_json
from sepico_pl.resuming import RECORD
from sepico_pl.tables import rename_damaged, write_json
from sepico_pl.types import InputError

Record = dict[str, Any]

PACKAGES = (
    "sepico_pl",
    "torchvision",
    "pytorch-lightning",
    "torchmetrics",
    "hydra-core",
    "segmentation-models-pytorch",
    "timm",
    "kornia",
    "numpy",
    "albumentations",
    "opencv-python-headless",
    "pillow",
    "wandb",
)


def write_record(
    folder: Path,
    *,
    overrides: Sequence[str],
    options: Sequence[str],
    choices: Mapping[str, Any],
    typed: Collection[str],
    config: Mapping[str, Any],
    images: str,
    resumed: Path | None,
) -> Record:
    """Write `run.json`: command, versions, git state, seed and data of a run, and its resumptions.

    The words in it are for people to read; a resumption takes nothing of it but `config`, checked
    as plain data, and `choices`, where conf/ has them.

    Args:
        folder: of the run.
        overrides: of the configuration, as typed.
        options: of Hydra and of the command line, as typed (`hydra.x=y`, `--config-dir <folder>`).
        choices: the option chosen of each group of conf/.
        typed: the groups among them that are typed now; a resumed run keeps the others' options.
        config: the resolved configuration, plain types.
        images: fingerprint of the training images.
        resumed: the checkpoint that is resumed; None for a new run.

    Returns:
        What was written.
    """
    now = {
        "time": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        # What makes this run again, also where a launcher's process made it as part of a multirun.
        "command": [sys.executable, "-m", "sepico_pl.train", *overrides, *options],
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            **versions(),
        },
        "git": git_state(),
        "folder": str(Path.cwd()),
        "host": platform.node(),
        "threads": torch.get_num_threads(),
    }
    path = folder / RECORD
    before = _earlier(path)
    if resumed is not None and before is not None:
        session = {"checkpoint": str(resumed), **now}
        anew = {group: option for group, option in choices.items() if group in typed}
        earlier = before.get("choices")
        kept = earlier if isinstance(earlier, dict) else dict(choices)
        resumed_sessions = [*before["resumed"], session]
        record = {**before, "choices": {**kept, **anew}, "resumed": resumed_sessions}
        record.setdefault("config", dict(config))  # earlier versions kept none
    else:
        words = [word for word in overrides if not word.startswith("resume=")]
        record = {
            # A run that ended before its first checkpoint, and begins again, was typed before.
            "overrides": words if before is None else before.get("overrides", words),
            "options": list(options),
            "choices": dict(choices),
            "seed": config["seed"],
            "images": images,
            **now,
            "resumed": [],
            "config": dict(config),
        }
    write_json(path, record)
    return record


def _earlier(path: Path) -> Record | None:
    """Return the record of a run that is resumed; a damaged one is set beside."""
    if not path.is_file():
        return None
    try:
        record = load_json(path)
        if isinstance(record.get("resumed"), list):
            return record
        reason = f"{path}: holds no list of resumptions"
    except InputError as error:
        reason = str(error).rpartition(";")[0]
    print(f"{reason}; it is {rename_damaged(path).name} now, and a new one begins")
    return None


def versions() -> dict[str, str]:
    """Return the installed versions of what numbers depend on."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def git_state() -> dict[str, Any] | None:
    """Return commit and changed files of the checkout that runs; None for an installed package."""
    here = Path(__file__).resolve().parent
    commit = _git(here, "rev-parse", "HEAD")
    if commit is None or _git(here, "rev-parse", "--show-toplevel") != str(here.parent):
        return None
    changed = _git(here, "status", "--porcelain") or ""
    return {"commit": commit, "changed": changed.splitlines()}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
