"""Every benchmark through the real command lines: two steps of training, judging, exporting."""

import json
import zipfile
from pathlib import Path

import miniatures
import numpy as np
import pytest
from command_line import call
from PIL import Image

from sepico_pl.data.benchmarks import cityscapes, gta
from sepico_pl.data.pair import domain_pair
from sepico_pl.types import InputError

pytestmark = pytest.mark.slow

SMALL = [
    "data.source_size=[48,96]",
    "data.target_size=[48,96]",
    "data.crop_size=[32,32]",
    "data.workers=0",
    "data.batch_size=2",
    "trainer.max_steps=2",
    "trainer.enable_progress_bar=false",
    "adapt.contrast_start=1",
    "head.decode.width=16",
    "hydra.run.dir=run",
]


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for name, make in miniatures.ALL.items():
        make(root / name)
    return root


@pytest.fixture
def folder(data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEPICO_DATA", str(data_root))
    return tmp_path


@pytest.mark.parametrize(
    "choice",
    [
        ["dataset=gta"],
        ["dataset=synthia"],
        ["dataset=dark_zurich"],
        ["dataset=acdc"],
        ["dataset=bdd100k"],
        ["dataset=benchmark", "source=acdc", "target=dark_zurich", "vote=day_night"],
    ],
    ids=" ".join,
)
def test_a_pair_trains_is_judged_and_predicts(
    choice: list[str], folder: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(monkeypatch, folder, "train", *choice, *SMALL) == ""
    scores = json.loads((folder / "run/scores.json").read_text())["target"]
    assert {"mIoU", "mIoU19", "mIoU16", "mIoU13", "IoU/road"} <= scores.keys()
    checked = (folder / "outputs/checked_files.jsonl").read_text().splitlines()
    assert any("counts" in line for line in checked)
    checkpoint = f"checkpoint={folder / 'run/last.ckpt'}"
    assert call(monkeypatch, folder, "evaluate", checkpoint, "network=teacher") == ""
    judged = json.loads((folder / "run/last.scores.json").read_text())
    assert judged["target"].keys() >= {"mIoU19", "mIoU16", "mIoU13"}
    assert ("source" in judged) == ("gta" not in choice[0] and "synthia" not in choice[0])
    images = data_root / "bdd100k/images/10k/val"
    written = ["output=predictions", f"images={images}"]
    assert call(monkeypatch, folder, "predict", checkpoint, *written) == ""
    predictions = sorted((folder / "predictions/ids").iterdir())
    assert [path.stem for path in predictions] == sorted(path.stem for path in images.iterdir())
    with Image.open(predictions[0]) as picture:
        assert (picture.mode, picture.size) == ("P", (96, 48))
        assert np.asarray(picture).max() < 19


@pytest.fixture(scope="module")
def checkpoint(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    patch = pytest.MonkeyPatch()
    patch.setenv("SEPICO_DATA", str(data_root))
    run = tmp_path_factory.mktemp("trained")
    assert call(patch, run, "train", "dataset=dark_zurich", *SMALL) == ""
    patch.undo()
    return run / "run/last.ckpt"


@pytest.mark.parametrize(
    ("target", "extra"),
    [
        ("cityscapes", []),
        ("acdc", ["dataset.target.conditions=[night]"]),
        ("nighttime_driving", ["batch_norm=running"]),
        ("bdd100k_night", ["batch_norm=running", "dataset.target.listed=night.txt"]),
        (
            "folder",
            [
                "dataset.target.train_images=${data_root}/bdd100k/images/10k/train",
                "dataset.target.val_images=${data_root}/bdd100k/images/10k/val",
                "dataset.target.val_labels=${data_root}/bdd100k/labels/sem_seg/masks/val",
            ],
        ),
    ],
)
def test_a_checkpoint_is_judged_elsewhere(
    target: str, extra: list[str], checkpoint: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "night.txt").write_text(
        "seg/images/val/val0001-ab.jpg\nseg/images/train/train0002-ab.jpg\n"
    )
    arguments = [f"checkpoint={checkpoint}", f"target={target}", "data.target_size=[48,96]", *extra]
    more = ["flip=true", "scales=[1.0,0.5]", "window=[32,64]", "class_weights_deviation=0.16"]
    for protocol, output in ((["flip=false"], "plain.json"), (more, "more.json")):
        arguments_of_one = [*arguments, *protocol, f"output={output}"]
        assert call(monkeypatch, folder, "evaluate", *arguments_of_one) == ""
    plain, other = (json.loads((folder / f"{name}.json").read_text()) for name in ("plain", "more"))
    assert plain["judged_on"].split()[0] == target.removesuffix("_night")
    assert (other["flip"], other["scales"], other["window"]) == (True, [1.0, 0.5], [32, 64])
    assert plain["target"] != other["target"]
    assert "source" not in plain


def test_judging_elsewhere_says_what_it_lacks(
    checkpoint: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def error(*arguments: str) -> str:
        return call(monkeypatch, folder, "evaluate", f"checkpoint={checkpoint}", *arguments)

    assert "batch_norm=running" in error("target=nighttime_driving")
    assert "paths.cityscapes=<folder>" in error("target=cityscapes", "paths.cityscapes=/nowhere")
    assert "target=<name>" in error("dataset_root=/nowhere")
    assert "stride=[99, 99]" in error("window=[32,32]", "stride=[99,99]")
    assert "scales=[0.0]" in error("scales=[0.0]")
    assert "below 0.5" in error("class_weights_deviation=0.6")


@pytest.mark.parametrize("target", ["dark_zurich", "acdc"])
def test_an_archive_for_the_server(
    target: str,
    checkpoint: Path,
    data_root: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All test images under their published number of names."""
    own = folder / target
    miniatures.ALL[target](own)
    if target == "dark_zurich":
        names = [f"test/night/GOPR0364/GOPR0364_frame_{n:06}_rgb_anon.png" for n in range(151)]
        own_size = ["data.target_size=[24,48]"]
    else:
        names = [
            f"{condition}/test/GP{n % 7:04}/{condition}{n % 7}_frame_{n:06}_rgb_anon.png"
            for condition in ("fog", "night", "rain", "snow")
            for n in range(500)
        ]
        own_size = ["data.target_size=[24,48]"]
    miniatures.archive_of_images(own / "rgb_anon", names)
    if target == "acdc":
        fog = [f"paths.acdc={own}", "dataset.target.conditions=[fog]", "output=fog.zip"]
        assert "expects 2000" in call(monkeypatch, folder, "submit", "target=acdc", *fog)
    base = [f"target={target}", f"paths.{target}={own}", *own_size, "output=archive.zip"]
    arguments = [f"checkpoint={checkpoint}", *base]
    assert call(monkeypatch, folder, "submit", *arguments) == ""
    with zipfile.ZipFile(folder / "archive.zip") as archive:
        held = archive.namelist()
    folders = {"labelTrainIds"}
    if target == "dark_zurich":
        folders |= {"labelTrainIds_invalid", "confidence"}
    assert {name.split("/")[0] for name in held} == folders
    assert len(held) == len(names) * len(folders)
    assert {name.split("/")[1] for name in held} == {Path(name).name for name in names}
    assert "exists already" in call(monkeypatch, folder, "submit", *arguments)
    assert call(monkeypatch, folder, "submit", *base) == ""  # validates alone
    (own / "rgb_anon" / names[3]).unlink()
    assert f"{len(names) - 1} test images" in call(monkeypatch, folder, "submit", *base)


def test_a_pair_is_looked_for_when_it_is_first_needed() -> None:
    """So that a checkpoint can be imported, or judged elsewhere, without the data it is for."""
    pair = domain_pair(gta("/nowhere"), cityscapes("/nowhere"))
    assert len(pair.classes) == 19
    with pytest.raises(InputError, match=r"/nowhere: there is no such folder for gta"):
        len(pair.source_train)
