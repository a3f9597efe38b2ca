"""Weight files: read as tensors only, and taken over key by key with nothing left unexplained."""

import re
import warnings
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.serialization import safe_globals

from sepico_pl.model.pickles import ForeignObjects
from sepico_pl.model.weight_files import check_digest, check_file, check_tensors
from sepico_pl.quoting import first_line, printable
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
SHOWN_CHARACTERS = 200


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
        return _read(path)
    except ForeignObjects as error:
        raise InputError(_refusal(path, key, error.names)) from error
    except Exception as error:  # a damaged file makes the readers raise anything at all
        raise InputError(_broken(path, key, error)) from error


def _read(path: Path) -> Any:  # noqa: ANN401
    """Read a file that was looked through; raise an error of any kind for what is wrong with it."""
    check_file(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if path.suffix == ".safetensors":
            content = load_file(path)
            check_digest(path, content)
        else:
            with safe_globals(NUMPY_SCALARS):
                content = torch.load(path, map_location="cpu", weights_only=True)
    check_tensors(content)
    return content


def _refusal(path: Path, key: str, names: Collection[str]) -> str:
    return (
        f"{key}={path}: holds Python objects besides tensors ({list_keys(names)}) and was not "
        "opened, as loading them would run code; save the state dict alone where the file comes "
        "from"
    )


def _broken(path: Path, key: str, error: Exception) -> str:
    return f"{key}={path}: cannot be read as tensors ({first_line(error)}); is the file whole?"


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
    shown = [printable(str(key)[:SHOWN_CHARACTERS]) for key in list(keys)[:SHOWN_KEYS]]
    named = separator.join(shown)
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
    _check_names(tensors, what)
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
        "of another type": [
            f"{name} {tensors[name].dtype} instead of {own[key].dtype}"
            for key, name in names.items()
            if name in tensors and tensors[name].is_floating_point() != own[key].is_floating_point()
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


def _check_names(tensors: Mapping[Any, Any], what: str) -> None:
    """Check that a state dict is one: a file may hold anything in its place.

    Raises:
        InputError: naming what is no tensor, or has no name.
    """
    strange = [
        name
        for name, value in tensors.items()
        if not isinstance(name, str) or not isinstance(value, Tensor)
    ]
    if strange:
        message = f"{what}: {list_keys(strange)}: no named tensors; is the file whole?"
        raise InputError(message)


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
