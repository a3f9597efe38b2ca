"""Imports of the libraries that take seconds, announced, and no slower than they need to be."""

import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

from sepico_pl.stand_ins import compiler, stand_in, standing_in, unwanted

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
    stand_in(compiler())
    with standing_in(unwanted()), _garbage_uncollected():
        for name in names:
            import_module(name)


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
