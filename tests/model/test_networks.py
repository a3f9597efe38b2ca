"""Every backbone with every head that `conf` names: it works, or says what to choose instead."""

import re
from itertools import product

import pytest
import timm
import torch
from paper_networks import CONF, network
from torch import nn

from sepico_pl.model.encoder import SmpEncoder
from sepico_pl.model.mix_transformer import MixTransformer
from sepico_pl.model.resnet_v1c import PLANS, ResNetV1c
from sepico_pl.model.vit import PlainViT
from sepico_pl.types import InputError

SMALLER = {
    "smp": ["backbone.name=tu-test_convnext"],
    "convnext": ["backbone.name=tu-convnext_atto"],
    "pvt_v2": ["backbone.name=tu-pvt_v2_b0"],
    "dinov2_small": ["backbone.name=vit_tiny_patch16_224"],
    **{f"mit_b{i}": ["backbone.width=8"] for i in range(6)},
    **{f"resnet{d}_v1c": ["backbone.width=8", "backbone.stem_width=8"] for d in PLANS},
}
BACKBONES = sorted(file.stem for file in (CONF / "backbone").glob("*.yaml"))
HEADS = sorted(file.stem for file in (CONF / "head").glob("*.yaml"))
IMAGE = (2, 3, 64, 96)


@pytest.mark.parametrize(("backbone", "head"), list(product(BACKBONES, HEADS)))
def test_a_combination_works_or_lists_those_that_do(backbone: str, head: str) -> None:
    choices = [f"backbone={backbone}", *SMALLER.get(backbone, [])]
    torch.manual_seed(0)
    try:
        built = network(*choices, f"head={head}", num_classes=5)
    except InputError as error:
        assert (head, "v1c" in backbone) == ("fpn", True)
        listed = re.search(r"choose head=(.*) for it", str(error))[1]
        assert set(re.split(r", | or ", listed)) == set(HEADS) - {"fpn"}
        return
    logits = built(torch.randn(IMAGE))
    assert logits.shape == (2, 5, 64, 96)
    (embeddings,) = built.embed(built.encode(torch.randn(IMAGE)))
    assert embeddings.shape[:2] == (2, built.projection.widths[0])
    logits.square().mean().backward()
    without = [n for n, p in built.named_parameters() if p.grad is None]
    assert not [name for name in without if name.startswith("head.")]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_group_norm_reaches_every_backbone_and_head(backbone: str) -> None:
    choices = [f"backbone={backbone}", *SMALLER.get(backbone, []), "head=upernet", "norm=group"]
    built = network(*choices, "head.projection.stages=layerwise", num_classes=5)
    assert not [m for m in built.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    embeddings = built.embed(built.encode(torch.randn(IMAGE)))
    assert [e.shape[1] for e in embeddings] == built.projection.widths


@pytest.mark.parametrize("depth", list(PLANS))
def test_resnet_v1c_has_output_stride_8_at_any_width(depth: int) -> None:
    encoder = ResNetV1c(depth=depth, width=16, stem_width=8, weights=None, norm="batch")
    expansion = 4 if depth >= 50 else 1
    assert encoder.channels == tuple(16 * expansion * 2**i for i in range(4))
    assert encoder.strides == (4, 8, 8, 8)
    assert encoder.network.stem[0].out_channels == 4


def test_contracted_dilation_is_neither_timm_nor_plain() -> None:
    """The first block of a dilated stage has half its dilation."""
    network = ResNetV1c(depth=18, width=8, stem_width=8, weights=None, norm="batch").network
    dilations = [
        [block.conv1.dilation[0] for block in network.get_submodule(f"layer{stage}")]
        for stage in (1, 2, 3, 4)
    ]
    assert dilations == [[1, 1], [1, 1], [1, 2], [2, 4]]


def test_residual_branches_of_a_new_resnet_start_at_zero() -> None:
    encoder = ResNetV1c(depth=50, width=8, stem_width=8, weights=None, norm="batch")
    assert {
        block.bn3.weight.abs().max().item()
        for stage in (1, 2, 3, 4)
        for block in encoder.network.get_submodule(f"layer{stage}")
    } == {0.0}


@pytest.mark.parametrize(
    ("name", "strides"),
    [
        ("vit_tiny_patch16_224", (4, 8, 16, 32)),
        ("vit_small_patch14_dinov2", (3.5, 7, 14, 28)),
        ("vit_small_patch16_dinov3", (4, 8, 16, 32)),
    ],
)
def test_a_plain_vision_transformer_has_a_pyramid(name: str, strides: tuple) -> None:
    encoder = PlainViT(name=name, drop_path=0.0, weights=None).eval()
    assert encoder.strides == strides
    assert len(set(encoder.channels)) == 1
    image = torch.randn(1, 3, 4 * encoder.divisor, 6 * encoder.divisor)
    sizes = [tuple(stage.shape[-2:]) for stage in encoder(image)]
    assert sizes == [(16, 24), (8, 12), (4, 6), (2, 3)]
    maps = encoder.network.forward_intermediates(
        image, indices=[5], output_fmt="NCHW", norm=True, intermediates_only=True
    )
    blocks = len(encoder.network.blocks)
    torch.testing.assert_close(
        encoder.pyramid[1](maps[0]), encoder(image)[1], msg=f"block 5 of {blocks} is half way"
    )


def test_images_of_any_size_reach_a_vision_transformer() -> None:
    built = network(
        "backbone=dinov2_small", "backbone.name=vit_tiny_patch16_224", "head=fpn", num_classes=3
    ).eval()
    assert built.divisor == 32
    assert built(torch.randn(1, 3, 45, 77)).shape == (1, 3, 45, 77)


def test_drop_path_grows_with_depth() -> None:
    encoder = MixTransformer(variant="b0", width=8, drop_path=0.3, weights=None)
    rates = [m.drop_prob for m in encoder.modules() if isinstance(m, timm.layers.DropPath)]
    assert rates == pytest.approx([0.3 * i / 7 for i in range(1, 8)])
    none = MixTransformer(variant="b0", width=8, drop_path=0.0, weights=None)
    assert not [m for m in none.modules() if isinstance(m, timm.layers.DropPath)]


@pytest.mark.parametrize("name", ["resnet18", "tu-resnet10t", "tu-convnext_atto"])
def test_output_stride_is_what_was_asked_for(name: str) -> None:
    encoder = SmpEncoder(name=name, weights=None, norm="batch", output_stride=8)
    assert max(encoder.strides) == 8


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (
            lambda: SmpEncoder(name="mit_b0", weights=None, norm="batch", output_stride=8),
            r"backbone\.output_stride=8: mit_b0 has only 32",
        ),
        (
            lambda: SmpEncoder(
                name="tu-vit_tiny_patch16_224", weights=None, norm="batch", output_stride=32
            ),
            r"backbone\.name=tu-vit_tiny_patch16_224",
        ),
        (
            lambda: SmpEncoder(
                name="tu-swin_tiny_patch4_window7_224",
                weights=None,
                norm="batch",
                output_stride=32,
            ),
            r"tu-swin_tiny_patch4_window7_224 does not take images of every size",
        ),
        (
            lambda: PlainViT(name="resnet18", drop_path=0.0, weights=None),
            r"backbone\.name=resnet18",
        ),
        (
            lambda: PlainViT(name="no_such_vit", drop_path=0.0, weights=None),
            r"backbone\.name=no_such_vit",
        ),
        (
            lambda: MixTransformer(variant="b6", width=64, drop_path=0.1, weights=None),
            r"backbone\.variant=b6 is unknown; choose b0",
        ),
        (
            lambda: ResNetV1c(depth=152, width=64, stem_width=64, weights=None, norm="batch"),
            r"backbone\.depth=152 is unknown; choose 18, 34, 50, 101",
        ),
        (
            lambda: ResNetV1c(depth=18, width=64, stem_width=7, weights=None, norm="batch"),
            r"backbone\.stem_width=7 must be even",
        ),
    ],
)
def test_what_cannot_work_says_so_in_one_line(build, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        build()
    assert len(str(caught.value).splitlines()) == 1
