"""Makes a model to use of a checkpoint, or of a folder that `save_pretrained` wrote."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import nn

from sepico_pl import __version__
from sepico_pl.adapt.batch_norm import (
    BatchNormPolicy,
    batch_norm_policy,
    target_statistics,
)
from sepico_pl.assembly import REFUSALS, Config, build_images, without_downloads
from sepico_pl.checkpoints import built_from_file, read_checkpoint
from sepico_pl.data.adaptation import AdaptationImages
from sepico_pl.data.datasets import ImageFolder
from sepico_pl.data.listing import all_images
from sepico_pl.json_files import load_json
from sepico_pl.model.allocation import bounded_by
from sepico_pl.model.weights import Tensors, read_file, take_over
from sepico_pl.quoting import first_line
from sepico_pl.serving.model import SegmentationModel
from sepico_pl.types import IMAGENET_MEAN, IMAGENET_STD, InputError

CONFIG, WEIGHTS = "config.json", "model.safetensors"
REMEDY = "give a checkpoint of sepico_pl, or a folder that export wrote"
PREFIXES = {"student": "student.", "teacher": "teacher.network."}


def load(
    path: str | Path,
    *,
    network: str = "student",
    batch_norm: str | None = None,
    statistics: str | Path | None = None,
    device: str | torch.device | None = None,
) -> SegmentationModel:
    """Return a trained network, ready to use.

    Under the batch-norm policy "target" the statistics are set here, once, from unlabelled target
    images: what comes out needs no data any more.

    >>> import sepico_pl
    >>> model = sepico_pl.load("last.ckpt")
    >>> labels = model.predict("photo.jpg")
    >>> labels.shape, labels.dtype
    ((96, 192), dtype('uint8'))

    Args:
        path: a checkpoint of ours, or a folder that `save_pretrained` (or `export`) wrote.
        network: "student" or "teacher" of a checkpoint.
        batch_norm: statistics of a checkpoint's batch norm, "running" or "target"; None for those
            that the run was configured with.
        statistics: folder of target images to take them from; None for those of the checkpoint's
            data set.
        device: to load onto; None for CUDA where there is a GPU, otherwise the CPU.

    Raises:
        InputError: for a file that is neither, or statistics that cannot be had.
    """
    path = Path(path).expanduser()
    chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if path.is_dir():
        if batch_norm is not None or statistics is not None:
            message = (
                f"checkpoint={path}: an exported model has its statistics fixed; leave out "
                "batch_norm and statistics, or load the checkpoint"
            )
            raise InputError(message)
        return _of_folder(path, network).to(chosen)
    return _of_checkpoint(path, network, batch_norm, statistics, chosen)


def _of_folder(folder: Path, network: str) -> SegmentationModel:
    """Load what `save_pretrained` wrote, tensors and plain types only."""
    if not (folder / CONFIG).exists():
        message = f"checkpoint={folder}: has no {CONFIG}; {REMEDY}"
        raise InputError(message)
    parts = load_json(folder / CONFIG, REMEDY)
    weights = read_file(folder / WEIGHTS, "checkpoint")
    with _built_from_folder(folder), bounded_by(weights, CONFIG):
        model = SegmentationModel(**parts)
    if network == "teacher" and model.provenance.get("network") != network:
        message = f"network={network}: {folder} holds the student; load the checkpoint for it"
        raise InputError(message)
    take_over(model, weights, f"checkpoint={folder / WEIGHTS}")
    return model


@contextmanager
def _built_from_folder(folder: Path) -> Iterator[None]:
    """Explain what cannot be built of a folder's configuration.

    Raises:
        InputError: naming the folder.
    """
    try:
        yield
    except InputError as error:
        raise InputError(f"checkpoint={folder}: {error}") from error
    except (OSError, RecursionError, *REFUSALS) as error:
        message = f"checkpoint={folder}: {CONFIG} fits no model ({first_line(error)}); {REMEDY}"
        raise InputError(message) from error


def _of_checkpoint(
    path: Path,
    network: str,
    batch_norm: str | None,
    statistics: str | Path | None,
    device: torch.device,
) -> SegmentationModel:
    """Load a network of a checkpoint, and fix its batch-norm statistics; see `load`."""
    checkpoint = read_checkpoint(path)
    with built_from_file(f"checkpoint={path}"):
        policy = _policy_of(checkpoint["config"], batch_norm, statistics)
        data = build_images(checkpoint["config"])
    provenance = {
        "checkpoint": path.name,
        "sha256": content_digest(path),
        "steps": str(checkpoint.get("global_step", "unknown")),
        "network": network,
        "batch_norm": policy,
        "sepico_pl": __version__,
    }
    with built_from_file(f"checkpoint={path}"):
        with bounded_by(checkpoint["state_dict"], f"checkpoint={path}"):
            model = _built(checkpoint["config"], data, provenance)
        tensors = tensors_of(checkpoint["state_dict"], network)
        take_over(model.network, tensors, f"checkpoint={path}")
    model.to(device)
    if policy == "target":
        if statistics is not None:
            data.images_for_statistics = _images_in(Path(statistics).expanduser())
        fix_statistics(model.network, data, f"checkpoint={path}")
    return model


def _policy_of(
    plain: Config, batch_norm: str | None, statistics: str | Path | None
) -> BatchNormPolicy:
    """Return the batch-norm policy: the one that is asked for, else that of the training.

    Raises:
        InputError: for an unknown one, or statistics that it does not use.
    """
    own = plain["adapt"]["batch_norm"] if statistics is None else "target"
    policy = batch_norm_policy(batch_norm or own, key="batch_norm")
    if policy == "running" and statistics is not None:
        message = f"statistics={statistics}: batch_norm=running does not use them; leave one out"
        raise InputError(message)
    return policy


def _built(plain: Config, data: AdaptationImages, provenance: dict[str, str]) -> SegmentationModel:
    """Build the model of a checkpoint's configuration and data, with random weights."""
    classes = data.pair.classes
    return SegmentationModel(
        backbone=without_downloads(plain)["backbone"],
        decode=plain["head"]["decode"],
        class_names=list(classes.names),
        palette=[list(colour) for colour in classes.palette],
        input_size=list(data.target_size),
        mean=list(IMAGENET_MEAN),
        std=list(IMAGENET_STD),
        provenance=provenance,
    )


def content_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensors_of(state: Tensors, network: str) -> Tensors:
    """Return encoder and decode head of a checkpoint's student or teacher.

    Raises:
        InputError: for another network, or one that is not in the checkpoint.
    """
    prefix = PREFIXES.get(network, "?")
    found = {
        name.removeprefix(prefix): value
        for name, value in state.items()
        if name.startswith((f"{prefix}encoder.", f"{prefix}head."))
    }
    if not found:
        message = f"network={network}: this checkpoint has no such network; choose network=student"
        raise InputError(message)
    return found


def _images_in(folder: Path) -> ImageFolder:
    return ImageFolder(partial(all_images, folder))


def fix_statistics(network: nn.Module, data: AdaptationImages, what: str) -> None:
    """Give batch norm the statistics of the data's target images for good.

    Args:
        network: takes normalised images (B, 3, H, W).
        data: chooses the images, as judging does.
        what: the checkpoint, for messages.

    Raises:
        InputError: if the images cannot be had.
    """
    device = next(network.parameters()).device
    try:
        with target_statistics(network, data.statistics_images(device)):
            state = {name: value.clone() for name, value in network.state_dict().items()}
    except InputError as error:
        message = (
            f"{what}: its batch norm takes the statistics of target images, and {error}; give "
            "statistics=<folder of target images>, or choose batch_norm=running"
        )
        raise InputError(message) from error
    network.load_state_dict(state)
