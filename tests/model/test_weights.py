"""Weights from files: every tensor finds its place, or the file is refused with the name of it."""

import os
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from sepico_pl.model import resnet_v1c
from sepico_pl.model.encoder import SmpEncoder
from sepico_pl.model.mix_transformer import MixTransformer
from sepico_pl.model.resnet_v1c import ResNetV1c
from sepico_pl.model.vit import PlainViT
from sepico_pl.model.weights import read_tensors
from sepico_pl.types import InputError

NAME = "tu-resnet10t"


def smp_encoder(name: str, weights: str | None = None) -> SmpEncoder:
    return SmpEncoder(name=name, weights=weights, norm="batch", output_stride=32)


def small_v1c(weights: str | None = None, depth: int = 18) -> ResNetV1c:
    return ResNetV1c(depth=depth, width=8, stem_width=8, weights=weights, norm="batch")


def randomised(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return a state dict that no initialisation gives."""
    dice = torch.Generator().manual_seed(3)
    return {
        name: torch.randn(value.shape, generator=dice) if value.is_floating_point() else value + 7
        for name, value in module.state_dict().items()
    }


def assert_loaded(network: nn.Module, expected: dict[str, torch.Tensor], prefix: str = "") -> None:
    state = network.state_dict()
    assert state
    for name, value in state.items():
        torch.testing.assert_close(value, expected[name.removeprefix(prefix)])


def test_torchvision_file_into_smp(tmp_path: Path) -> None:
    donor = randomised(torchvision.models.resnet18())
    torch.save(donor, tmp_path / "resnet18-f37072fd.pth")
    assert_loaded(smp_encoder("resnet18", f"{tmp_path}/resnet18-f37072fd.pth").network, donor)


def test_a_file_older_than_the_batch_counters_loads(tmp_path: Path) -> None:
    donor = {
        name: value
        for name, value in randomised(torchvision.models.resnet18()).items()
        if not name.endswith("num_batches_tracked")
    }
    torch.save(donor, tmp_path / "old.pth")
    network = smp_encoder("resnet18", f"{tmp_path}/old.pth").network
    torch.testing.assert_close(network.bn1.running_var, donor["bn1.running_var"])
    assert network.bn1.num_batches_tracked == 0


@pytest.mark.parametrize("name", ["resnet10t", "convnext_atto"])
def test_timm_file_into_its_pyramid_as_safetensors(tmp_path: Path, name: str) -> None:
    donor = randomised(timm.create_model(name))
    save_file(donor, tmp_path / "model.safetensors")
    network = smp_encoder(f"tu-{name}", f"{tmp_path}/model.safetensors").network
    loaded = {key.replace(".", "_"): value for key, value in donor.items()}
    flat = {
        key.removeprefix("model.").replace(".", "_"): v for key, v in network.state_dict().items()
    }
    assert len(flat) > 50
    for key, value in flat.items():
        torch.testing.assert_close(value, loaded[key])


def test_segformer_file_into_the_mix_transformer(tmp_path: Path) -> None:
    donor = randomised(MixTransformer(variant="b0", width=32, drop_path=0.1, weights=None).network)
    heads = {"head.weight": torch.ones(1000, 256), "head.bias": torch.ones(1000)}
    torch.save({**donor, **heads}, tmp_path / "mit_b0.pth")
    encoder = MixTransformer(
        variant="b0", width=32, drop_path=0.1, weights=f"{tmp_path}/mit_b0.pth"
    )
    assert_loaded(encoder.network, donor)
    with pytest.raises(InputError, match=r"mit_b0\.pth does not fit .*missing: .*block1\.2\."):
        MixTransformer(variant="b2", width=64, drop_path=0.1, weights=f"{tmp_path}/mit_b0.pth")


def test_mmcv_file_into_resnet_v1c(tmp_path: Path) -> None:
    donor = randomised(small_v1c().network)
    classifier = {"fc.weight": torch.ones(10, 64), "fc.bias": torch.ones(10)}
    wrapped = {"meta": {"author": "mmcv"}, "state_dict": {**donor, **classifier}}
    torch.save(wrapped, tmp_path / "v1c.pth")
    assert_loaded(small_v1c(f"{tmp_path}/v1c.pth").network, donor)
    prefixed = {f"module.backbone.{name}": value for name, value in donor.items()}
    torch.save(prefixed, tmp_path / "parallel.pth")
    assert_loaded(small_v1c(f"{tmp_path}/parallel.pth").network, donor)


def test_timm_file_into_a_plain_vision_transformer(tmp_path: Path) -> None:
    name = "vit_tiny_patch16_224"
    donor = randomised(timm.create_model(name))
    torch.save(donor, tmp_path / "vit.bin")
    encoder = PlainViT(name=name, drop_path=0.0, weights=f"{tmp_path}/vit.bin")
    assert_loaded(encoder.network, donor)


def test_what_became_of_the_tensors_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    torch.save(randomised(torchvision.models.resnet18()), tmp_path / "w.pth")
    smp_encoder("resnet18", f"{tmp_path}/w.pth")
    said = capsys.readouterr().out
    assert said.startswith(f"backbone.weights={tmp_path}/w.pth: 120 tensors loaded; dropped: ")
    assert "fc.weight, fc.bias (a classifier's, not an encoder's)" in said


def renamed(state: dict) -> None:
    state["layer2.0.conv1.wieght"] = state.pop("layer2.0.conv1.weight")


def misshapen(state: dict) -> None:
    state["layer1.0.bn1.weight"] = torch.ones(3)


def more(state: dict) -> None:
    state["attention.weight"] = torch.ones(3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (renamed, r"missing: layer2\.0\.conv1\.weight; unknown: layer2\.0\.conv1\.wieght"),
        (misshapen, r"of another shape: layer1\.0\.bn1\.weight \(3,\) instead of \(8,\)"),
        (more, r"unknown: attention\.weight"),
    ],
)
def test_a_tensor_without_a_place_is_named(tmp_path: Path, change, said: str) -> None:
    state = small_v1c().network.to(memory_format=torch.contiguous_format).state_dict()
    change(state)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(InputError, match=rf"backbone\.weights=.*w\.pth.*{said}"):
        small_v1c(f"{tmp_path}/w.pth")


class Payload:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple:
        return os.system, (self.command,)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_refused_and_never_run(tmp_path: Path, zipped: bool) -> None:
    trap = tmp_path / "executed"
    content = {**small_v1c().network.state_dict(), "extra": Payload(f"touch {trap}")}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match="was not opened, as loading them would run code"):
        small_v1c(f"{tmp_path}/w.pth")
    assert not trap.exists()
    torch.load(tmp_path / "w.pth", weights_only=False)
    assert trap.exists(), "the trap works"


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_named(tmp_path: Path, name: str, share: float) -> None:
    state = small_v1c().network.to(memory_format=torch.contiguous_format).state_dict()
    path = tmp_path / name
    save_file(state, path) if name.endswith("safetensors") else torch.save(state, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=rf"{name}: .*is the file whole\?") as caught:
        small_v1c(str(path))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "holds no state dict"),
        ({}, "holds no state dict"),
        ({"epoch": 3, "lr": 0.1}, "epoch, lr no tensors"),
    ],
)
def test_a_file_without_a_state_dict(tmp_path: Path, content: object, said: str) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(InputError, match=said):
        read_tensors(tmp_path / "w.pth", "backbone.weights")


def test_absent_files_and_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"backbone\.weights=.*none\.pth: there is no such file"):
        small_v1c(f"{tmp_path}/none.pth")
    with pytest.raises(InputError, match=r"backbone\.weights=imagenet: .* depth 34.* 18, 50, 101"):
        small_v1c("imagenet", depth=34)
    with pytest.raises(InputError, match=r"backbone\.weights=cityscapes"):
        small_v1c("cityscapes")


def test_weights_of_the_zoo_are_fetched_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real loading code, on a zoo of files."""
    import hashlib

    donor = randomised(small_v1c().network)
    torch.save({**donor, "fc.weight": torch.ones(2, 64)}, tmp_path / "w.pth")
    digest = hashlib.sha256((tmp_path / "w.pth").read_bytes()).hexdigest()[:8]
    (tmp_path / "w.pth").rename(tmp_path / f"v1c-{digest}.pth")
    monkeypatch.setattr(resnet_v1c, "ZOO", f"file://{tmp_path}/")
    monkeypatch.setitem(resnet_v1c.FILES, 18, f"v1c-{digest}.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    assert_loaded(small_v1c("imagenet").network, donor)
    monkeypatch.setitem(resnet_v1c.FILES, 18, "absent-00000000.pth")
    with pytest.raises(InputError, match=r"could not be fetched .*, or set backbone"):
        small_v1c("imagenet")


@pytest.mark.parametrize(
    ("build", "file"),
    [
        (lambda w: smp_encoder("resnet18", w), "smp-hub/resnet18.imagenet"),
        (lambda w: smp_encoder(NAME, w), r"timm/resnet10t\.\w+"),
        (
            lambda w: MixTransformer(variant="b0", width=32, drop_path=0.1, weights=w),
            "smp-hub/mit_b0.imagenet",
        ),
        (
            lambda w: PlainViT(name="vit_small_patch14_dinov2", drop_path=0.1, weights=w),
            r"timm/vit_small_patch14_dinov2\.\w+",
        ),
    ],
)
def test_without_network_the_error_says_what_to_do(build, file: str) -> None:
    said = rf"backbone\.weights=imagenet.*model\.safetensors of {file} .*, or set backbone"
    with pytest.raises(InputError, match=said):
        build("imagenet")
