import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from sepico_pl.model.encoder import SmpEncoder
from sepico_pl.model.heads import LightHead
from sepico_pl.model.projection import ProjectionHead
from sepico_pl.model.segmentor import Segmentor
from sepico_pl.model.smp_heads import FPNHead
from sepico_pl.types import InputError


def segmentor(kind: str, norm: str = "batch", name: str = "tu-resnet10t") -> Segmentor:
    torch.manual_seed(0)
    encoder = SmpEncoder(name=name, weights=None, norm=norm, output_stride=32)
    of = {"channels": encoder.channels, "num_classes": 5}
    head = (
        FPNHead(**of, width=64, dropout=0.0)
        if kind == "fpn"
        else LightHead(**of, width=16, dropout=0.0, norm=norm)
    )
    projection = ProjectionHead(
        channels=encoder.channels, width=8, depth=2, stages="fused", norm=norm
    )
    return Segmentor(encoder, head, projection)


@pytest.mark.parametrize("kind", ["light", "fpn"])
@pytest.mark.parametrize("size", [(64, 96), (45, 77)])
def test_logits_have_the_image_size(kind: str, size: tuple[int, int]) -> None:
    network = segmentor(kind).eval()
    image = torch.randn(2, 3, *size)
    assert network(image).shape == (2, 5, *size)
    (embeddings,) = network.embed(network.encode(image))
    norms = embeddings.norm(dim=1)
    assert norms.max().item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("name", ["tu-resnet10t", "tu-efficientnet_lite0", "mobilenet_v2"])
def test_group_norm_leaves_no_batch_norm(name: str) -> None:
    network = segmentor("light", norm="group", name=name)
    assert not [m for m in network.modules() if isinstance(m, _BatchNorm)]
    image = torch.randn(3, 3, 64, 64)
    network.train()
    torch.testing.assert_close(network(image)[0], network(image[:1])[0], rtol=1e-3, atol=1e-4)


def test_empty_stages_are_dropped() -> None:
    encoder = SmpEncoder(name="mit_b0", weights=None, norm="batch", output_stride=32)
    assert encoder.channels == (32, 64, 160, 256)
    shapes = [stage.shape[1:] for stage in encoder(torch.randn(1, 3, 64, 64))]
    assert shapes == [(32, 16, 16), (64, 8, 8), (160, 4, 4), (256, 2, 2)]


def test_unknown_encoder_and_no_projection() -> None:
    with pytest.raises(InputError, match=r"backbone\.name=resnet1"):
        SmpEncoder(name="resnet1", weights=None, norm="batch", output_stride=32)
    network = segmentor("light")
    network.projection = None
    with pytest.raises(RuntimeError, match="no projection head"):
        network.embed([])


def test_odd_images_are_padded_by_zeros_and_the_logits_cropped() -> None:
    network = segmentor("fpn").eval()
    image = torch.randn(1, 3, 45, 77)
    padded = torch.zeros(1, 3, 64, 96)
    padded[..., :45, :77] = image
    torch.testing.assert_close(network(image), network(padded)[..., :45, :77])
    stages = network.encode(image)
    assert stages[-1].shape[-2:] == (2, 3)
    torch.testing.assert_close(network.decode(stages, (45, 77)), network(image))
