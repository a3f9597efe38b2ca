"""A tiny trained checkpoint."""

from pathlib import Path

import pytest
from command_line import TINY, call

import sepico_pl
from sepico_pl import SegmentationModel

HEAD = ["head.decode.width=16", "head.projection.width=16"]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Student and teacher after three steps, judged with target statistics."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        assert call(patch, folder, "train", *TINY, *HEAD, "hydra.run.dir=run") == ""
    return folder / "run" / "last.ckpt"


@pytest.fixture(scope="session")
def model(checkpoint: Path) -> SegmentationModel:
    """Its student."""
    return sepico_pl.load(checkpoint, device="cpu")
