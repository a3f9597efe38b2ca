"""The Python API: what a checkpoint says of an image, whatever form the image has."""

import doctest
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from photographs import save_lying, street
from PIL import Image
from safetensors.torch import load_file, save_file

import sepico_pl
from sepico_pl import SegmentationModel
from sepico_pl.checkpoints import evaluated_network
from sepico_pl.checkpoints import load as load_task
from sepico_pl.data.datasets import ImageFolder
from sepico_pl.judging import scored
from sepico_pl.serving import loading
from sepico_pl.types import InputError


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sepico_pl, sys; sys.exit('torch' in sys.modules or not sepico_pl.__version__)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = sepico_pl.nothing


LEFT_OUT = ("pytorch_lightning", "torchmetrics", "wandb", "matplotlib", "kornia", "albumentations")


@pytest.mark.slow
def test_loading_and_predicting_import_no_lightning(checkpoint: Path) -> None:
    """With the statistics of target images, too."""
    code = (
        "import sys, numpy, sepico_pl; model = sepico_pl.load(sys.argv[1]); "
        "print(model.predict(numpy.zeros((32, 64, 3), 'uint8')).shape, "
        f"model.provenance['batch_norm'], sorted(set({LEFT_OUT!r}) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(checkpoint)], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "(32, 64) target []", done.stderr


def test_the_three_lines_of_the_documentation(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("last.ckpt").symlink_to(checkpoint)
    Image.fromarray(street(0, (96, 192))).save("photo.jpg")
    (lines,) = doctest.DocTestFinder().find(loading.load, "load", globs={})
    assert doctest.DocTestRunner().run(lines) == doctest.TestResults(failed=0, attempted=4)


@pytest.mark.parametrize("policy", ["running", "target"])
@pytest.mark.parametrize("network", ["student", "teacher"])
def test_it_says_what_judging_sees(
    network: str, policy: str, checkpoint: Path, tmp_path: Path
) -> None:
    """To the bit: the same network, statistics, resizing and normalisation."""
    Image.fromarray(street(3, (90, 120))).save(tmp_path / "photo.png")
    data, task = load_task(checkpoint)
    task.batch_norm, task.student = policy, evaluated_network(task, network)
    images = ImageFolder(lambda: [tmp_path / "photo.png"])
    ((_, scores),) = scored(task, data, images, accelerator="cpu")
    model = sepico_pl.load(checkpoint, network=network, batch_norm=policy, device="cpu")
    assert np.array_equal(model.predict(tmp_path / "photo.png"), scores.argmax(dim=0))
    assert torch.equal(model.probabilities(tmp_path / "photo.png"), scores.softmax(dim=0))
    assert model.provenance["batch_norm"] == policy


def test_policies_and_networks_differ(checkpoint: Path, model: SegmentationModel) -> None:
    """The test above would pass on a model that knew neither."""
    for choice in ({"batch_norm": "running"}, {"network": "teacher"}):
        other = sepico_pl.load(checkpoint, device="cpu", **choice)
        assert not torch.equal(other.probabilities(street(0)), model.probabilities(street(0)))


def test_probabilities_and_classes(model: SegmentationModel) -> None:
    probabilities = model.probabilities(street(0))
    assert (probabilities.shape, probabilities.dtype) == ((9, 64, 128), torch.float32)
    torch.testing.assert_close(probabilities.sum(dim=0), torch.ones(64, 128))
    labels = model.predict(street(0))
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, probabilities.argmax(dim=0))
    assert model.classes.names[:2] == ("road", "sidewalk")
    assert model.classes.palette[0] == (128, 64, 128)


def test_forms_of_an_image(model: SegmentationModel, tmp_path: Path) -> None:
    image = street(0)
    expected = model.probabilities(image)
    Image.fromarray(image).save(tmp_path / "photo.png")
    with_alpha = np.dstack([image, np.full(image.shape[:2], 7, np.uint8)])
    for same in (tmp_path / "photo.png", str(tmp_path / "photo.png"), Image.fromarray(image)):
        assert torch.equal(model.probabilities(same), expected)
    assert torch.equal(model.probabilities(with_alpha), expected)
    assert torch.equal(model.probabilities(Image.fromarray(with_alpha)), expected)
    grey = image[..., 1]
    expected = model.probabilities(np.dstack([grey] * 3))
    for same in (grey, grey[..., None], Image.fromarray(grey)):
        assert torch.equal(model.probabilities(same), expected)


def test_a_lying_photograph_is_turned_upright(model: SegmentationModel, tmp_path: Path) -> None:
    save_lying(Image.fromarray(street(0)), tmp_path / "lying.png")
    with Image.open(tmp_path / "lying.png") as stored:
        assert stored.size == (64, 128)
        assert np.array_equal(model.predict(stored), model.predict(street(0)))
    assert np.array_equal(model.predict(tmp_path / "lying.png"), model.predict(street(0)))


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (500, 20), (97, 131), (70, 40)])
def test_any_size(size: tuple[int, int], model: SegmentationModel) -> None:
    image = np.random.default_rng(0).integers(256, size=(*size, 3)).astype(np.uint8)
    assert model.predict(image).shape == size


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((4, 4, 3), np.float32), "of float32; give uint8"),
        (np.zeros((4, 4, 2), np.uint8), "(4, 4, 2)"),
        (np.zeros((0, 4, 3), np.uint8), "no pixel"),
        (Image.new("I;16", (4, 4)), "16 or 32 bits"),
        (torch.zeros(3, 4, 4), "Tensor"),
        ("nowhere.jpg", "nowhere.jpg: no such image file"),
    ],
    ids=["float", "channels", "empty", "16 bits", "tensor", "missing"],
)
def test_what_is_no_image(image: object, said: str, model: SegmentationModel) -> None:
    with pytest.raises(InputError) as caught:
        model.predict(image)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_statistics_of_a_folder(checkpoint: Path, model: SegmentationModel, tmp_path: Path) -> None:
    """The target images as files give the statistics that the data set gives."""
    data, _ = load_task(checkpoint)
    for index in range(6):
        Image.fromarray(data.pair.target_train[index]).save(tmp_path / f"{index}.png")
    other = sepico_pl.load(checkpoint, statistics=tmp_path, device="cpu")
    own, found = model.state_dict(), other.state_dict()
    assert all(torch.equal(own[name], found[name]) for name in own)
    (tmp_path / "0.png").unlink()
    other = sepico_pl.load(checkpoint, statistics=tmp_path, device="cpu").state_dict()
    assert not all(torch.equal(own[name], other[name]) for name in own)


def changed_copy(checkpoint: Path, path: Path, change: Callable[[dict], object]) -> Path:
    content = torch.load(checkpoint, weights_only=True)
    change(content["config"])
    torch.save(content, path)
    return path


def test_statistics_that_cannot_be_had(checkpoint: Path, tmp_path: Path) -> None:
    def lose_data(config: dict) -> None:
        config["dataset"] = {
            "_target_": "sepico_pl.data.own.folder",
            "source_images": "/lost",
            "source_labels": "/lost",
            "target_images": "/lost",
            "classes": list("abcdefghi"),
        }

    path = changed_copy(checkpoint, tmp_path / "moved.ckpt", lose_data)
    with pytest.raises(InputError, match=r"/lost.*statistics=<folder.*batch_norm=running"):
        sepico_pl.load(path, device="cpu")
    assert sepico_pl.load(path, batch_norm="running").classes.names == tuple("abcdefghi")
    with pytest.raises(InputError, match="batch_norm=running does not use them"):
        sepico_pl.load(path, batch_norm="running", statistics=tmp_path)
    with pytest.raises(InputError, match="batch_norm=both is unknown"):
        sepico_pl.load(path, batch_norm="both")
    with pytest.raises(InputError, match="network=ema: this checkpoint has no such network"):
        sepico_pl.load(path, network="ema", batch_norm="running")


def test_other_files_are_refused(tmp_path: Path) -> None:
    torch.save({"model": torch.ones(1)}, tmp_path / "other.ckpt")
    (tmp_path / "text.ckpt").write_text("hello")
    (tmp_path / "folder").mkdir()
    for name, said in {
        "nowhere.ckpt": "no such file",
        "other.ckpt": "not written by sepico_pl",
        "text.ckpt": "is the file whole",
        "folder": "has no config.json; give a checkpoint of sepico_pl, or a folder",
    }.items():
        with pytest.raises(InputError, match=said) as caught:
            sepico_pl.load(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_the_hugging_face_form_is_exact(model: SegmentationModel, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    model.save_pretrained(folder)
    image = torch.rand(2, 3, 70, 90)
    for again in (
        SegmentationModel.from_pretrained(folder),
        sepico_pl.load(folder, device="cpu"),
    ):
        state, own = again.state_dict(), model.state_dict()
        assert state.keys() == own.keys()
        assert all(torch.equal(state[name], own[name]) for name in own)
        with torch.no_grad():
            assert torch.equal(again(image), model(image))
        assert np.array_equal(again.predict(street(0)), model.predict(street(0)))
        assert (again.classes, again.provenance) == (model.classes, model.provenance)
    card = (folder / "README.md").read_text()
    assert "| 0 | road | 128, 64, 128 |" in card
    assert f"- sha256: {model.provenance['sha256']}" in card
    assert "/" not in json.loads((folder / "config.json").read_text())["provenance"]["checkpoint"]


def test_weights_that_are_not_whole_are_refused(model: SegmentationModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = {name: value for name, value in load_file(file).items() if ".head." not in name}
    assert len(tensors) < len(model.state_dict())
    save_file(tensors, file)
    for load in (sepico_pl.load, SegmentationModel.from_pretrained):
        with pytest.raises(InputError, match=r"not fit .*network\.head") as caught:
            load(tmp_path)
        assert "\n" not in str(caught.value)


def test_a_flipped_bit_in_an_export_is_noticed(model: SegmentationModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1000] ^= 4
    file.write_bytes(content)
    for load in (sepico_pl.load, SegmentationModel.from_pretrained):
        with pytest.raises(InputError, match="its tensors are not those that were written"):
            load(tmp_path)


def test_an_export_of_an_earlier_version_is_read(model: SegmentationModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    save_file(load_file(file), file, {"format": "pt"})
    for load in (sepico_pl.load, SegmentationModel.from_pretrained):
        assert all(
            torch.equal(value, model.state_dict()[name])
            for name, value in load(tmp_path).cpu().state_dict().items()
        )


def test_an_export_without_weights_is_one_line(model: SegmentationModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    for load in (sepico_pl.load, SegmentationModel.from_pretrained):
        with pytest.raises(InputError, match=r"model\.safetensors: there is no such file"):
            load(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"decode": "x"},
        {"backbone": ["x"]},
        {"input_size": [64]},
        {"input_size": "x"},
        {"palette": [[1, 2]]},
        {"class_names": 9},
        {"mean": None},
    ],
    ids=str,
)
def test_a_malformed_configuration_gets_one_line(
    change: dict, model: SegmentationModel, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(InputError) as caught:
        sepico_pl.load(tmp_path)
    assert str(caught.value).startswith(f"checkpoint={tmp_path}: ")
    assert "config.json" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError) as hub:
        SegmentationModel.from_pretrained(tmp_path)
    assert "config.json" in str(hub.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"backbone": {"_target_": "os.system", "command": "false"}}, "os.system is not on offer"),
        ({"decode": {"_target_": "sepico_pl.keeping.share"}}, "sepico_pl.keeping.share is not"),
        ({"decode": {"_target_": "sepico_pl.model.heads.os"}}, "is not on offer"),
        (
            {
                "decode": {
                    "_target_": "sepico_pl.model.heads.LightHead",
                    "norm": [{"_target_": "sepico_pl.ranks.any_rank"}],
                }
            },
            "any_rank is not on offer",
        ),
        ({"unheard_of": 1}, "unheard_of"),
    ],
    ids=["system call", "another file of ours", "through a module", "hidden", "unknown key"],
)
def test_a_configuration_may_name_parts_of_networks_only(
    change: dict, said: str, model: SegmentationModel, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(InputError, match=said):
        sepico_pl.load(tmp_path)


def test_a_saved_model_has_its_statistics_and_fetches_no_weights(
    model: SegmentationModel, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["backbone"]["weights"] = "imagenet"
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert sepico_pl.load(tmp_path, device="cpu").predict(street(0)).shape == (64, 128)
    with pytest.raises(InputError, match="statistics fixed"):
        sepico_pl.load(tmp_path, batch_norm="running")
    with pytest.raises(InputError, match="holds the student"):
        sepico_pl.load(tmp_path, network="teacher")
    (tmp_path / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(InputError, match="is the file whole"):
        sepico_pl.load(tmp_path)


def test_the_licence_of_the_mix_transformer_is_named(model: SegmentationModel) -> None:
    mit = {
        "_target_": "sepico_pl.model.mix_transformer.MixTransformer",
        "variant": "b0",
        "width": 8,
        "drop_path": 0.0,
        "weights": None,
    }
    other = SegmentationModel(
        backbone=mit,
        decode=model.decode,
        class_names=["road", "sky"],
        palette=[[1, 2, 3], [4, 5, 6]],
        input_size=[64, 64],
        mean=[0.0] * 3,
        std=[1.0] * 3,
        provenance={},
    )
    assert "Non-commercial" in str(other.generate_model_card())
    assert other.generate_model_card().data.license == "other"
    assert model.generate_model_card().data.license is None
    assert "Non-commercial" not in str(model.generate_model_card())
