"""The filling rule of the golden files, loaded from where they lie."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from sepico_pl.model.segmentor import Segmentor
from sepico_pl.official import official_names


def load(path: Path) -> ModuleType:
    """Import a Python file by its path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def tensor(fill: Callable, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.from_numpy(np.asarray(fill(name, shape)))


def filled_like_official(network: Segmentor, fill: Callable) -> Segmentor:
    """Fill every parameter and buffer by the rule, under its official name."""
    state = network.state_dict()
    for ours, theirs in official_names(network).items():
        state[ours] = tensor(fill, theirs, state[ours].shape)
    network.load_state_dict(state)
    return network
