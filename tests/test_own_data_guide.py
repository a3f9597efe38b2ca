"""docs/own_data.md, followed to the letter but for the number of steps."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import call
from PIL import Image

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
GUIDE = (ROOT / "docs" / "own_data.md").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The raw folders of step 1, and the YAML of step 2 in a folder of one's own."""
    folder = tmp_path_factory.mktemp("own data")
    script = ROOT / "scripts" / "example_data.py"
    subprocess.run([sys.executable, script, "--output", "raw"], cwd=folder, check=True)
    (folder / "conf" / "dataset").mkdir(parents=True)
    yaml = re.search(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)[1]
    (folder / "conf" / "dataset" / "mine.yaml").write_text(yaml)
    return folder


def test_every_command_of_the_guide(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = re.findall(r"^    python -m sepico_pl\.(.*)$", GUIDE, re.MULTILINE)
    assert [line.split()[0] for line in commands] == [
        "prepare",
        "train",
        "train",
        "evaluate",
        "predict",
    ]
    for line in commands:
        module, *arguments = shlex.split(line)
        arguments = [re.sub("max_steps=300", "max_steps=3", argument) for argument in arguments]
        if module == "train":
            arguments += ["trainer.enable_progress_bar=false"]
        if "dataset=mine" in arguments:
            arguments += ["--config-dir", str(folder / "conf")]
        assert call(monkeypatch, folder, module, *arguments) == "", line
    report = json.loads((folder / "outputs/prepare.json").read_text())
    sizes = {"96x192": 30, "120x160": 15, "160x120": 15}
    assert report["parts"][0]["sizes"] == sizes
    assert report["problems"] == 0
    for image in (folder / "raw/night/images").iterdir():
        with Image.open(image) as night:
            size = night.size
        with Image.open(folder / "outputs/predictions/ids" / f"{image.stem}.png") as prediction:
            assert (prediction.mode, prediction.size) == ("P", size)
            assert np.asarray(prediction).max() < 5
            assert prediction.getpalette()[:3] == [128, 64, 128]
    assert {path.name for path in (folder / "raw").iterdir()} == {"day", "night", "night_labelled"}


def test_a_colour_that_was_forgotten(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["dataset=mine", "dataset.ignore=[]", "--config-dir", str(folder / "conf")]
    error = call(monkeypatch, folder, "train", *arguments)
    assert "frame 000.png: 1 colours of no class" in error
    assert "[[0, 0, 0]]" in error
    assert "dataset.ignore" in error


def test_without_validation_labels(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = ["dataset.target_val_images=null", "dataset.target_val_labels=null"]
    base = ["dataset=mine", *nothing, "hydra.run.dir=blind", "trainer.max_steps=2"]
    quiet = ["trainer.enable_progress_bar=false", "--config-dir", str(folder / "conf")]
    assert call(monkeypatch, folder, "train", *base, *quiet) == ""
    assert (folder / "blind/last.ckpt").is_file()
    error = call(monkeypatch, folder, "evaluate", "checkpoint=blind/last.ckpt")
    assert "no validation labels" in error
    predicted = ["checkpoint=blind/last.ckpt", "images=raw/night/images", "output=outputs/blind"]
    assert call(monkeypatch, folder, "predict", *predicted) == ""
    assert "network was student" in call(
        monkeypatch, folder, "predict", *predicted, "network=teacher"
    )
