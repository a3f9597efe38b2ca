import math

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from sepico_pl.model.encoder import SmpEncoder, group_norm, replace_batch_norm
from sepico_pl.types import InputError


@pytest.mark.parametrize("channels", [1, 6, 24, 32, 40, 100, 512])
def test_group_norm_fits_any_number_of_channels(channels: int) -> None:
    norm = group_norm(channels)
    assert channels % norm.num_groups == 0
    assert norm.num_groups == math.gcd(32, channels) <= 32
    assert norm(torch.randn(2, channels, 3, 3)).shape == (2, channels, 3, 3)


def test_a_fused_activation_survives_the_replacement() -> None:
    net = nn.Sequential(nn.Sequential(BatchNormAct2d(4, act_layer=nn.ReLU6)), nn.BatchNorm2d(4))
    replace_batch_norm(net)
    image = torch.randn(2, 4, 5, 5) * 9
    plain = nn.functional.group_norm(image, 4)
    torch.testing.assert_close(net[0](image), plain.clamp(0, 6))
    torch.testing.assert_close(net[1](image), plain)


@pytest.mark.parametrize("name", ["tu-resnet10t", "tu-efficientnet_lite0", "resnet18"])
def test_stages_are_a_pyramid_finest_first(name: str) -> None:
    encoder = SmpEncoder(name=name, weights=None, norm="batch", output_stride=32).eval()
    stages = encoder(torch.randn(1, 3, 64, 96))
    assert tuple(stage.shape[1] for stage in stages) == encoder.channels
    sizes = [tuple(stage.shape[-2:]) for stage in stages]
    assert sizes == [(64 // scale, 96 // scale) for scale in (2, 4, 8, 16, 32)]


@pytest.mark.parametrize(
    ("name", "weights", "key"),
    [
        ("no_such_net", None, r"backbone\.name=no_such_net"),
        ("tu-no_such_net", None, r"backbone\.name=tu-no_such_net"),
        ("resnet18", "no_such_weights", r"backbone\.weights=no_such_weights"),
    ],
)
def test_what_is_unknown_is_named_in_one_line(name: str, weights: str | None, key: str) -> None:
    with pytest.raises(InputError, match=key) as caught:
        SmpEncoder(name=name, weights=weights, norm="batch", output_stride=32)
    assert len(str(caught.value).splitlines()) == 1
