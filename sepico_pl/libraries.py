"""Imports of the libraries that take seconds, announced, and no slower than they need to be."""

import gc
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import cast

from sepico_pl.stand_ins import unwanted

NETWORKS = ("segmentation_models_pytorch",)
"""What a network is built with; it brings torch."""
TRAINING = ("pytorch_lightning", *NETWORKS, "kornia.enhance", "albumentations")
"""What a network is trained and evaluated with."""
RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")


def load_libraries(names: Sequence[str]) -> None:
    """Import libraries, after a line that says so; nothing where none is named.

    Args:
        names: of their packages.
    """
    if not names:
        return
    if all(os.environ.get(rank, "0") == "0" for rank in RANKS):
        print("loading ...", flush=True)
    import_quickly(names)


def import_quickly(names: Sequence[str]) -> None:
    """Import libraries without the modules they import and hardly use; see `stand_ins`."""
    if all(name in sys.modules for name in names):
        return
    with standing_in(unwanted()), _garbage_uncollected():
        for name in names:
            import_module(name)


@contextmanager
def standing_in(modules: Mapping[str, ModuleType | None]) -> Iterator[None]:
    """Let others take the place of modules that are not imported yet; None for "not there"."""
    new = {name: module for name, module in modules.items() if name not in sys.modules}
    sys.modules.update(cast(dict[str, ModuleType], new))
    try:
        yield
    finally:
        for name, module in new.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


@contextmanager
def _garbage_uncollected() -> Iterator[None]:
    """Do not look for garbage where modules are made, which all stay."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
