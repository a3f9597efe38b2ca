"""Weight files: read as tensors only, and taken over key by key with nothing left unexplained."""

import pickle
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from sepico_pl.types import InputError

Tensors = dict[str, Tensor]

# Scores that training programs leave in a checkpoint; plain numbers.
_SCALAR = np.float64(0).__reduce__()[0]
NUMPY_SCALARS: list[Any] = [
    _SCALAR,
    (_SCALAR, "numpy.core.multiarray.scalar"),  # as numpy 1 wrote it
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
    np.dtypes.Int64DType,
]
WRAPPERS = ("state_dict", "model")
PREFIXES = ("module.", "backbone.")
SHOWN_KEYS = 5


def read_file(path: Path, key: str) -> Any:  # noqa: ANN401
    """Read a file of tensors and plain types; nothing in it is executed.

    Args:
        path: a `.safetensors` file, or one that `torch.save` wrote.
        key: the option that names the file, for the message.

    Raises:
        InputError: if the file is absent, broken, or holds Python objects.
    """
    if not path.is_file():
        message = f"{key}={path}: there is no such file"
        raise InputError(message)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with safe_globals(NUMPY_SCALARS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error) or "instantiate" in str(error):  # torch's words for an object
            raise InputError(_refusal(path, key)) from error
        raise InputError(_broken(path, key, error)) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, SafetensorError) as error:
        raise InputError(_broken(path, key, error)) from error


def _refusal(path: Path, key: str) -> str:
    try:
        found = f" ({', '.join(sorted(get_unsafe_globals_in_checkpoint(path))[:SHOWN_KEYS])})"
    except (RuntimeError, ValueError):  # the old, unzipped form
        found = ""
    return (
        f"{key}={path}: holds Python objects besides tensors{found} and was not opened, as loading "
        "them would run code; save the state dict alone where the file comes from"
    )


def _broken(path: Path, key: str, error: Exception) -> str:
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return f"{key}={path}: cannot be read as tensors ({reason}); is the file whole?"


def read_tensors(path: Path, key: str) -> Tensors:
    """Read a state dict, alone or below "state_dict" or "model", without its common prefix.

    Args:
        path: the file.
        key: the option that names it, for the message.

    Raises:
        InputError: see `read_file`, and if the file holds no state dict.
    """
    content = read_file(path, key)
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content:
        message = f"{key}={path}: holds no state dict (a mapping from names to tensors)"
        raise InputError(message)
    strange = [name for name, value in content.items() if not isinstance(value, Tensor)]
    if strange:
        message = f"{key}={path}: {list_keys(strange)} no tensors; a state dict is expected"
        raise InputError(message)
    tensors = {str(name): value for name, value in content.items()}
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def list_keys(keys: Collection[str], separator: str = ", ") -> str:
    """Name the first keys of a collection, and say how many more there are."""
    named = separator.join(list(keys)[:SHOWN_KEYS])
    more = len(keys) - SHOWN_KEYS
    return f"{named} and {more} more" if more > 0 else named


def take_over(
    module: nn.Module, tensors: Tensors, what: str, names: Mapping[str, str] | None = None
) -> None:
    """Load every key of `module`, with no key missing, left over or misshapen.

    `num_batches_tracked` may be missing: files from before torch 0.4.1 have none. The weight of a
    linear layer is taken for that of a 1x1 convolution.

    Args:
        module: receives the tensors.
        tensors: by their names in the file.
        what: the option and file they come from, for the message.
        names: name in the file of each key of the module's state dict; None if they are the same.

    Raises:
        InputError: naming the tensors that do not fit, by their names in the file.
    """
    own = module.state_dict()
    names = names or {key: key for key in own}
    shapes = {name: own[key].shape for key, name in names.items()}
    faults = {
        "missing": [
            name
            for name in shapes
            if name not in tensors and not name.endswith("num_batches_tracked")
        ],
        "unknown": [name for name in tensors if name not in shapes],
        "of another shape": [
            f"{name} {tuple(tensors[name].shape)} instead of {tuple(shape)}"
            for name, shape in shapes.items()
            if name in tensors and shape not in (tensors[name].shape, (*tensors[name].shape, 1, 1))
        ],
    }
    described = "; ".join(
        f"{fault}: {list_keys(found)}" for fault, found in faults.items() if found
    )
    if described:
        message = f"{what} does not fit this network ({described}); is it of another architecture?"
        raise InputError(message)
    found = {
        key: tensors[name].reshape(own[key].shape) for key, name in names.items() if name in tensors
    }
    module.load_state_dict({**own, **found})


def is_classifier(name: str) -> bool:
    """Whether a tensor is of a classifier, by the names that torchvision, timm and mmcv use."""
    return re.match(r"(fc|head|classifier|last_linear)\.", name) is not None


def adopt_file(
    network: nn.Module, path: Path, unneeded: Callable[[str], bool] = is_classifier
) -> None:
    """Load the file of `backbone.weights` into an encoder's network; see `read_tensors`, `adopt`.

    Raises:
        InputError: if the file cannot be read or does not fit.
    """
    key = "backbone.weights"
    adopt(network, read_tensors(path, key), f"{key}={path}", unneeded)


def adopt(
    network: nn.Module,
    tensors: Tensors,
    what: str,
    unneeded: Callable[[str], bool] = is_classifier,
) -> None:
    """Load pretrained weights into an encoder's network, and print what became of them.

    Names are compared without the "model." of smp's wrapper and with "_" for "." (timm flattens the
    modules of a feature pyramid).

    Args:
        network: the encoder's network.
        tensors: by name.
        what: the option and source they come from, for messages.
        unneeded: whether a name belongs to what a classifier has and an encoder has not.

    Raises:
        InputError: if they do not fit.
    """
    found = {_plain(name): name for name in tensors}
    names = {own: found.get(_plain(own), own) for own in network.state_dict()}
    needed = set(names.values())
    dropped = [name for name in tensors if name not in needed and unneeded(name)]
    kept = {name: value for name, value in tensors.items() if name not in dropped}
    take_over(network, kept, what, names)
    left = f"; dropped: {list_keys(dropped)} (a classifier's, not an encoder's)" if dropped else ""
    print(f"{what}: {len(kept)} tensors loaded{left}")


def _plain(name: str) -> str:
    return name.removeprefix("model.").replace(".", "_")
