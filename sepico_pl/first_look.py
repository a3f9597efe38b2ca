"""What is wrong with a command's files and devices at first sight, before torch is imported."""

import glob
import math
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from sepico_pl.known_keys import GROUP_WITH_KEYS, Node, plain, refused_hydra_key, refused_key
from sepico_pl.quoting import no_images, no_root
from sepico_pl.typed_paths import OWN_FOLDERS

ARCHIVE, OLD_PICKLE = b"PK\x03\x04", b"\x80"
"""How a checkpoint begins; before torch 1.6 it was a plain pickle."""
EXPORTED = "config.json"
"""What the folder of an exported model holds."""
START = "start"
FILES = ("checkpoint", START, "beside")
"""Keys of checkpoints."""
WEIGHT_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")
UNWRITTEN = {".hydra", "run.lock"}
"""What lies in a run folder before the run writes anything."""
OUTPUTS = "outputs/"
"""How the run folders begin that no user has chosen."""
GPU_TRACES = ("dev/nv*", "dev/dxg", "dev/kfd", "proc/driver/nvidia", "dev/accel*")
GPU_NAMES = ("gpu", "cuda")
MOST_DEVICES = 1024
NO_CHDIR = (
    "hydra.job.chdir=true: paths are read from the folder where the command is given; leave it out "
    "(hydra.run.dir=<folder> chooses the run folder)"
)


def refused_at_first_sight(
    config: DictConfig, root: Path = Path("/"), *, reads_data: bool = True
) -> str | None:
    """Return what is wrong; None where nothing is, or it takes more than a look.

    Args:
        config: of any command, unresolved.
        reads_data: whether the roots of data sets must be there.
        root: of the file system.
    """
    resumes = OmegaConf.select(config, "resume", default=None) is not None
    unset = () if resumes else _unset(config)
    data = () if resumes or not reads_data else (*_roots(config), *_own_folders(config))
    devices = (*_gpu(config, root), *_devices(config, root))
    files = (*_absent(config, resumes=resumes), *_checkpoint(config, resumes=resumes))
    for found in (unset, data, files, devices):
        for message in found:
            return message
    return None


def _unset(config: DictConfig) -> Iterator[str]:
    for key in sorted(OmegaConf.missing_keys(config)):
        yield f"{key} is not set: give it as {key}=<value>"


def _roots(config: DictConfig) -> Iterator[str]:
    """Look at the roots of data sets, each set by a key of `paths`."""
    paths = _value(config, "paths") or {}
    dataset = OmegaConf.to_yaml(_value(config, "dataset") or {}, resolve=False)
    for name in paths:
        where = Path(str(paths[name])).expanduser()
        if f"${{paths.{name}}}" in dataset and not where.is_dir():
            yield no_root(where.absolute(), name)


def _own_folders(config: DictConfig) -> Iterator[str]:
    """Look at the folders of one's own data."""
    for group in ("dataset", "dataset.target"):
        for key in _value(config, group) or ():
            text = _value(config, f"{group}.{key}")
            is_folder = key.endswith(OWN_FOLDERS) and isinstance(text, str)
            if is_folder and not _exists(text):
                yield f"{group}.{key}={text}: there is no such folder; name the one that holds them"


def _absent(config: DictConfig, *, resumes: bool) -> Iterator[str]:
    """Look whether what a command reads is there; a run that goes on starts from nothing else."""
    for key in FILES:
        text = _value(config, key)
        if isinstance(text, str) and not _exists(text) and not (resumes and key == START):
            yield f"{key}={text}: there is no such file"
    weights = None if resumes else _value(config, "backbone.weights")
    if isinstance(weights, str) and weights.endswith(WEIGHT_SUFFIXES) and not _exists(weights):
        yield f"backbone.weights={weights}: there is no such file"
    images = _value(config, "images")
    if isinstance(images, str) and not glob.has_magic(images) and not _exists(images):
        yield no_images(images)
    statistics = _value(config, "statistics")
    if isinstance(statistics, str) and not _exists(statistics):
        yield f"statistics={statistics}: there is no such folder"


def _exists(path: str) -> bool:
    """Whether a file or folder is there; True where that cannot be told."""
    try:
        return Path(os.path.expanduser(path)).exists()
    except (OSError, ValueError):
        return True  # what reads it says what is wrong


def _checkpoint(config: DictConfig, *, resumes: bool) -> Iterator[str]:
    for key in FILES:
        text = _value(config, key)
        if not isinstance(text, str) or (resumes and key == START):
            continue
        path = Path(os.path.expanduser(text))
        if (path / "run.json").is_file() or (path / "checkpoints").is_dir():
            yield f"{key}={text}: a run folder; give one of its checkpoints: {path / 'last.ckpt'}"
        elif path.is_dir() and not (path / EXPORTED).is_file():
            yield f"{key}={text}: a folder without {EXPORTED}, and no exported model; name a file"
        elif path.is_file() and not _begins_like_a_checkpoint(path):
            yield f"{key}={text}: cannot be read as a checkpoint; give a run's last.ckpt"


def _begins_like_a_checkpoint(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            first = file.read(len(ARCHIVE))
    except OSError:
        return True  # what reads the file says why it cannot
    return not first or first == ARCHIVE or first.startswith(OLD_PICKLE)


def _gpu(config: DictConfig, root: Path) -> Iterator[str]:
    for key in ("accelerator", "trainer.accelerator"):
        wanted = _value(config, key)
        if wanted in GPU_NAMES and not may_have_gpu(root):
            yield f"{key}={wanted}: there is no GPU here; choose auto or cpu"


def _devices(config: DictConfig, root: Path) -> Iterator[str]:
    wanted = _value(config, "devices")
    if wanted is None:
        return
    if type(wanted) is not int or not 1 <= wanted <= MOST_DEVICES:
        yield f"devices={wanted} must be a positive integer <= {MOST_DEVICES}"
    elif _value(config, "accelerator") in GPU_NAMES and wanted > most_gpus(root):
        yield f"devices={wanted}: GPUs here: {most_gpus(root):.0f}; choose as many or fewer"


def most_gpus(root: Path = Path("/")) -> float:
    """Return how many GPUs there are at most; infinity where that takes more than a look."""
    files = len(list(root.glob("dev/nvidia[0-9]*"))) or math.inf
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return files if visible is None else min(files, len(visible.split(",")))


def may_have_gpu(root: Path = Path("/")) -> bool:
    """Whether there may be a GPU; False only where there is surely none.

    Args:
        root: of the file system.
    """
    if platform.system() != "Linux":
        return True
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return any(True for trace in GPU_TRACES for _ in root.glob(trace))


def _value(config: DictConfig, key: str) -> Any:  # noqa: ANN401
    return OmegaConf.select(config, key, default=None, throw_on_missing=False)


def look_at(config: DictConfig, config_name: str, *, reads_data: bool) -> None:
    """Refuse what is wrong at first sight, before torch is imported.

    Args:
        config: of the command, unresolved.
        config_name: the file in conf/.
        reads_data: whether the roots of data sets must be there.

    Raises:
        SystemExit: naming the key, the nearest one or the remedy.
    """
    if HydraConfig.get().job.chdir:
        sys.exit(f"error: {NO_CHDIR}")
    hydra = plain(cast(DictConfig, HydraConfig.get()))
    known, known_hydra = known_keys(config_name, HydraConfig.get().overrides.task)
    message = refused_key(plain(config), known, hydra)
    message = message or refused_hydra_key(hydra, known_hydra)
    message = message or refused_at_first_sight(config, reads_data=reads_data)
    if message is not None:
        sys.exit(f"error: {message}")


def known_keys(config_name: str, words: Sequence[str]) -> tuple[Node, Node]:
    """Return a command's configuration and Hydra's own when nothing is typed, unresolved.

    With what `target=` brings into it, where data is no part of it otherwise.
    """
    known = dict(plain(compose(config_name, return_hydra_config=True)))
    hydra = known.pop("hydra")
    bringing = [word for word in words if word.startswith(f"{GROUP_WITH_KEYS}=")]
    if "dataset" not in known and bringing:
        known = dict(plain(compose(config_name, bringing)))
    return known, hydra


@contextmanager
def nothing_left_of_a_refusal() -> Iterator[None]:
    """Remove the folder that Hydra made for a run, where it was refused before it wrote anything.

    One that the user chose stays: it may be another run's, too.
    """
    try:
        yield
    except BaseException:
        hydra_config = HydraConfig.get()
        chosen = any(word.startswith("hydra.run.dir=") for word in hydra_config.overrides.hydra)
        is_ours = not chosen and str(hydra_config.run.dir).startswith(OUTPUTS)
        if hydra_config.mode == RunMode.RUN and is_ours:
            remove_unwritten(Path(hydra_config.runtime.output_dir))
        raise


def remove_unwritten(folder: Path) -> None:
    """Remove a run folder that holds nothing but what Hydra and the lock put there."""
    with suppress(OSError):
        if {path.name for path in folder.iterdir()} <= UNWRITTEN:
            shutil.rmtree(folder)
            folder.parent.rmdir()
            folder.parent.parent.rmdir()
