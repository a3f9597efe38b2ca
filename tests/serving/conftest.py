"""A tiny trained checkpoint, and all that docs/using.md does with it."""

import re
import shlex
from pathlib import Path

import pytest
from command_line import TINY, call
from photographs import street
from PIL import Image

import sepico_pl
from sepico_pl import SegmentationModel

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "using.md"
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


@pytest.fixture(scope="session")
def guided(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which every command of docs/using.md ran, but for the training."""
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("guided")
    (folder / "photos").mkdir()
    Image.fromarray(street(0, (96, 192))).save(folder / "photos/street.jpg")
    Image.fromarray(street(1)).save(folder / "photos/other.png")
    (folder / "outputs/streets").mkdir(parents=True)
    (folder / "outputs/streets/last.ckpt").symlink_to(checkpoint)
    commands = re.findall(r"^    python -m sepico_pl\.(.*)$", GUIDE.read_text(), re.MULTILINE)
    words = [shlex.split(line) for line in commands]
    assert [first for first, *_ in words] == ["train", *["predict"] * 3, "export", "predict"]
    with pytest.MonkeyPatch.context() as patch:
        for module, *arguments in words[1:]:
            assert call(patch, folder, module, *arguments) == "", arguments
    return folder
