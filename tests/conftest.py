"""The shared folder of golden numbers and photographs; no network, few threads."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

settings.register_profile("short", max_examples=30, deadline=None, derandomize=True, database=None)
settings.register_profile("long", max_examples=3000, deadline=None, database=None)
settings.load_profile("short")

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def _threads() -> None:
    """One thread, the fastest for small tensors, unless the environment asks for more."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The developers' shared folder; what needs it is skipped where it is absent."""
    folder = Path(os.environ.get("SEPICO_SHARED", ROOT.parent / "shared")).resolve()
    if not (folder / "golden").is_dir():
        pytest.skip(f"no shared folder at {folder}; set SEPICO_SHARED")
    return folder


@pytest.fixture(scope="session")
def golden(shared: Path) -> Callable[[str], np.lib.npyio.NpzFile]:
    """Load a file of golden numbers by name."""
    return lambda name: np.load(shared / "golden" / name)
