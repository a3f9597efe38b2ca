"""Exports: the same logits elsewhere, for any batch, height and width."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import call
from photographs import street
from torch import Tensor, nn
from torch.nn import functional

import sepico_pl
from sepico_pl import SegmentationModel
from sepico_pl.model.encoder import Encoder
from sepico_pl.model.heads import LightHead
from sepico_pl.model.segmentor import Segmentor
from sepico_pl.serving.programs import largest_difference, traced, write_onnx, write_torch
from sepico_pl.types import InputError

pytestmark = pytest.mark.slow

onnxruntime = pytest.importorskip("onnxruntime")

SHAPES = [(1, 3, 64, 128), (2, 3, 97, 131), (5, 3, 64, 64), (1, 3, 70, 333)]
PARTS = "sepico_pl.model"
BACKBONES = {
    "resnet18_v1c": {
        "_target_": f"{PARTS}.resnet_v1c.ResNetV1c",
        "depth": 18,
        "width": 16,
        "stem_width": 16,
        "norm": "batch",
    },
    "mit_b0": {
        "_target_": f"{PARTS}.mix_transformer.MixTransformer",
        "variant": "b0",
        "width": 16,
        "drop_path": 0.1,
    },
    "convnext_atto": {
        "_target_": f"{PARTS}.encoder.SmpEncoder",
        "name": "tu-convnext_atto",
        "norm": "batch",
        "output_stride": 32,
    },
}
WIDE = {"width": 16, "dropout": 0.1, "norm": "batch"}
HEADS = {
    "light": {"_target_": f"{PARTS}.heads.LightHead", **WIDE},
    "deeplabv2": {"_target_": f"{PARTS}.aspp.DeepLabV2Head", "dilations": [6, 12, 18, 24]},
    "daformer": {"_target_": f"{PARTS}.aspp.DAFormerHead", "dilations": [1, 6, 12], **WIDE},
    "segformer": {"_target_": f"{PARTS}.smp_heads.SegFormerHead", **WIDE},
}


def network(backbone: str, head: str) -> SegmentationModel:
    torch.manual_seed(0)
    return SegmentationModel(
        backbone=BACKBONES[backbone],
        decode=HEADS[head],
        class_names=["road", "sky"],
        palette=[[1, 2, 3], [4, 5, 6]],
        input_size=[64, 128],
        mean=[0.4, 0.5, 0.6],
        std=[0.2, 0.2, 0.3],
        provenance={},
    )


def session(path: Path) -> "onnxruntime.InferenceSession":
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def agrees(program, model: SegmentationModel) -> bool:
    """Compare on the test's own sizes, with images unlike those that were compared in writing."""
    differences = []
    for seed, shape in enumerate(SHAPES):
        image = torch.rand(shape, generator=torch.Generator().manual_seed(seed + 7)) ** 2
        with torch.no_grad():
            expected, found = model(image), program(image)
        assert found.shape == expected.shape
        differences.append(float((found - expected).abs().max()))
    return max(differences) < 1e-4


def in_onnxruntime(path: Path):
    running = session(path)
    return lambda image: torch.from_numpy(running.run(None, {"image": image.numpy()})[0])


@pytest.fixture
def exported(guided: Path) -> Path:
    return guided / "exported"


def test_every_format(exported: Path, model: SegmentationModel) -> None:
    files = {"model.onnx", "model.pt2", "model.safetensors", "config.json", "README.md"}
    assert {path.name for path in exported.iterdir()} == files
    assert not list(exported.parent.glob(".export*"))
    assert agrees(in_onnxruntime(exported / "model.onnx"), model)
    assert agrees(torch.export.load(exported / "model.pt2").module(), model)
    again = sepico_pl.load(exported, device="cpu")
    assert np.array_equal(again.predict(street(0)), model.predict(street(0)))


def test_what_the_files_say(exported: Path, model: SegmentationModel) -> None:
    running = session(exported / "model.onnx")
    assert running.get_inputs()[0].shape == ["batch", 3, "height", "width"]
    assert running.get_outputs()[0].shape == ["batch", 9, "height", "width"]
    extra = {"sepico_pl.json": ""}
    torch.export.load(exported / "model.pt2", extra_files=extra)
    for said in (running.get_modelmeta().custom_metadata_map, json.loads(extra["sepico_pl.json"])):
        assert json.loads(said["class_names"]) == list(model.classes.names)
        assert json.loads(said["palette"]) == [list(colour) for colour in model.classes.palette]
        assert json.loads(said["input_size"]) == [32, 64]
        assert json.loads(said["provenance"])["batch_norm"] == "target"
        assert "[0, 1]" in said["input"]


def test_a_program_that_differs_is_refused(model: SegmentationModel) -> None:
    def off_by(difference: float):
        return lambda image: model(image) + difference

    assert largest_difference("onnx", off_by(5e-5), model) == pytest.approx(5e-5, rel=0.1)
    with pytest.raises(InputError, match=r"onnx differs from PyTorch by 2\.0e-04"):
        largest_difference("onnx", off_by(2e-4), model)
    with pytest.raises(InputError, match="differs from PyTorch by nan"):
        largest_difference("onnx", off_by(float("nan")), model)


def test_a_program_of_one_size_is_refused(model: SegmentationModel) -> None:
    def of_one_size(image: Tensor) -> Tensor:
        assert image.shape[-1] == 128, "width must be 128"
        return model(image)

    with pytest.raises(InputError, match=r"images of any size \(width must be 128"):
        largest_difference("torch", of_one_size, model)


def test_what_export_refuses(
    checkpoint: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def error(*arguments: str) -> str:
        given = [f"checkpoint={checkpoint}", "output=new"]
        said = call(monkeypatch, tmp_path, "export", *given, *arguments)
        assert len(said.splitlines()) == 1
        assert not (tmp_path / "new").exists()
        return said

    torch.save({"model": torch.ones(1)}, tmp_path / "foreign.ckpt")
    assert "exists already" in error(f"output={exported}")
    assert "formats=['tflite']: choose" in error("formats=[tflite]")
    assert "formats=[]: choose" in error("formats=[]")
    assert "formats=['tflite']: choose" in error("formats=tflite")
    assert "formats=['3']: choose" in error("formats=3")
    assert "checkpoint=2024: there is no such file" in error("checkpoint=2024")
    assert "checkpoint=gone.ckpt" in error("checkpoint=gone.ckpt")
    assert "not written by sepico_pl" in error("checkpoint=foreign.ckpt")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert 'onnx needs onnxscript; install with pip install "sepico_pl[export]"' in error()


def test_an_exported_model_is_exported_again(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [f"checkpoint={exported}", "output=2024", "formats=safetensors"]
    assert call(monkeypatch, tmp_path, "export", *given) == ""
    for name in ("config.json", "model.safetensors", "README.md"):
        assert (tmp_path / "2024" / name).read_bytes() == (exported / name).read_bytes()


class TinyEncoder(Encoder):
    """Two strided convolutions."""

    def __init__(self, divisor: int) -> None:
        super().__init__(nn.ModuleList([nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 8, 3, 2, 1)]))
        self.divisor = divisor
        self.measure()

    def forward(self, image: Tensor) -> list[Tensor]:
        fine = self.network[0](image)
        return [fine, self.network[1](fine)]


class PooledHead(nn.Module):
    """Asks for a fixed number of cells whatever the size, as UPerNet's pooling does."""

    halves = False

    def forward(self, stages: list[Tensor]) -> Tensor:
        return functional.adaptive_avg_pool2d(stages[-1], 3)


def tiny(divisor: int, head: nn.Module | None = None) -> SegmentationModel:
    model = network("resnet18_v1c", "light")
    encoder = TinyEncoder(divisor)
    light = LightHead(channels=encoder.channels, num_classes=2, **WIDE)
    model.network = Segmentor(encoder, head or light, None).eval()
    return model


def test_padding_is_followed_at_any_size(tmp_path: Path) -> None:
    """A program must not remember whether the image that it was traced with was padded."""
    model = tiny(divisor=14)
    program = traced(model)
    assert write_torch(program, model, tmp_path / "model.pt2") == 0
    assert agrees(program.module(), model)


def test_a_network_that_onnx_gets_wrong(tmp_path: Path) -> None:
    """The exporter does not say so: the comparison finds it."""
    model = tiny(1, PooledHead())
    program = traced(model)
    assert write_torch(program, model, tmp_path / "model.pt2") < 1e-4
    with pytest.raises(InputError, match="onnx differs from PyTorch") as caught:
        write_onnx(program, model, tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "pair", ["resnet18_v1c+deeplabv2", "mit_b0+daformer", "convnext_atto+segformer"]
)
def test_networks_that_export(pair: str, tmp_path: Path) -> None:
    model = network(*pair.split("+"))
    program = traced(model)
    assert write_torch(program, model, tmp_path / "model.pt2") < 1e-4
    assert write_onnx(program, model, tmp_path / "model.onnx") < 1e-4
    assert agrees(torch.export.load(tmp_path / "model.pt2").module(), model)
    assert agrees(in_onnxruntime(tmp_path / "model.onnx"), model)
