"""The ResNet-v1c of DeepLab-v2 in SePiCo: deep stem, output stride 8, contracted dilation.

ResNet: He et al. 2016; the stem of three 3x3 convolutions: He et al. 2019 ("bag of tricks", C).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.hub import load_state_dict_from_url
from torchvision.models.resnet import BasicBlock, Bottleneck, conv1x1, conv3x3

from sepico_pl.model.encoder import (
    Encoder,
    Norm,
    fetching,
    replace_batch_norm,
    weights_source,
)
from sepico_pl.model.weights import adopt, adopt_file
from sepico_pl.types import InputError

STRIDES = (1, 2, 1, 1)
DILATIONS = (1, 1, 2, 4)
# mmcv's model zoo; the weights were converted there from third parties.
ZOO = "https://download.openmmlab.com/pretrain/third_party/"
FILES = {
    18: "resnet18_v1c-b5776b93.pth",
    50: "resnet50_v1c-2cccc1ad.pth",
    101: "resnet101_v1c-e67eebb6.pth",
}


class DilatedBasicBlock(BasicBlock):  # type: ignore[misc]
    """Two 3x3 convolutions; only the first is dilated."""

    def __init__(
        self, before: int, planes: int, stride: int, downsample: nn.Module | None, dilation: int
    ) -> None:
        """Build the block."""
        super().__init__(before, planes, stride, downsample)
        self.conv1 = conv3x3(before, planes, stride, dilation=dilation)


class DilatedBottleneck(Bottleneck):  # type: ignore[misc]
    """1x1, 3x3 and 1x1 convolution; stride and dilation are those of the 3x3."""

    def __init__(
        self, before: int, planes: int, stride: int, downsample: nn.Module | None, dilation: int
    ) -> None:
        """Build the block."""
        super().__init__(before, planes, stride, downsample, dilation=dilation)


Block = type[DilatedBasicBlock] | type[DilatedBottleneck]

PLANS: dict[int, tuple[Block, tuple[int, ...]]] = {
    18: (DilatedBasicBlock, (2, 2, 2, 2)),
    34: (DilatedBasicBlock, (3, 4, 6, 3)),
    50: (DilatedBottleneck, (3, 4, 6, 3)),
    101: (DilatedBottleneck, (3, 4, 23, 3)),
}


class ResNetV1cNetwork(nn.Module):
    """Stem and four stages, with the parameter names of mmcv's.

    Args:
        block: of every stage.
        blocks: how many in each.
        width: of the first stage's 3x3 convolutions; each further stage has twice the last.
        stem_width: of the stem's output; half of it inside.
    """

    def __init__(self, block: Block, blocks: Sequence[int], width: int, stem_width: int) -> None:
        """Build the network."""
        super().__init__()
        half = stem_width // 2
        self.stem = nn.Sequential(
            conv3x3(3, half, stride=2),
            nn.BatchNorm2d(half),
            nn.ReLU(inplace=True),
            conv3x3(half, half),
            nn.BatchNorm2d(half),
            nn.ReLU(inplace=True),
            conv3x3(half, stem_width),
            nn.BatchNorm2d(stem_width),
            nn.ReLU(inplace=True),
        )
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        before = stem_width
        for index, (count, stride, dilation) in enumerate(
            zip(blocks, STRIDES, DILATIONS, strict=True)
        ):
            planes = width * 2**index
            self.add_module(
                f"layer{index + 1}", _stage(block, before, planes, count, stride, dilation)
            )
            before = planes * block.expansion
        self.apply(_initialise)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the four stages at strides 4, 8, 8, 8."""
        stages = [self.maxpool(self.stem(image))]
        for index in range(1, 5):
            stages.append(self.get_submodule(f"layer{index}")(stages[-1]))
        return stages[1:]


def _stage(
    block: Block, before: int, planes: int, count: int, stride: int, dilation: int
) -> nn.Sequential:
    after = planes * block.expansion
    downsample = None
    if stride > 1 or before != after:
        downsample = nn.Sequential(conv1x1(before, after, stride), nn.BatchNorm2d(after))
    contracted = max(dilation // 2, 1)
    first = block(before, planes, stride, downsample, contracted)
    return nn.Sequential(
        first, *(block(after, planes, 1, None, dilation) for _ in range(count - 1))
    )


def _initialise(module: nn.Module) -> None:
    """He et al. 2015 for convolutions; residual branches start at zero (Goyal et al. 2017)."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, BasicBlock):
        nn.init.zeros_(module.bn2.weight)
    elif isinstance(module, Bottleneck):
        nn.init.zeros_(module.bn3.weight)


class ResNetV1c(Encoder):
    """The encoder of DeepLab-v2 in the paper: stages at strides 4, 8, 8, 8.

    Args:
        depth: 18, 34, 50 or 101.
        width: of the first stage's 3x3 convolutions; 64 in the paper.
        stem_width: of the stem's output, even; 64 in the paper.
        weights: "imagenet" (mmcv's model zoo), a file, or None to start from scratch.
        norm: "batch", or "group" for a network without batch norm.
    """

    def __init__(
        self, *, depth: int, width: int, stem_width: int, weights: str | None, norm: Norm
    ) -> None:
        """Build the encoder.

        Raises:
            InputError: for another depth, an odd stem, or weights that cannot be had or do not fit.
        """
        if depth not in PLANS:
            message = f"backbone.depth={depth} is unknown; choose {', '.join(map(str, PLANS))}"
            raise InputError(message)
        if stem_width < 2 or stem_width % 2:
            message = f"backbone.stem_width={stem_width} must be even"
            raise InputError(message)
        network = ResNetV1cNetwork(*PLANS[depth], width, stem_width)
        name, file = weights_source(weights)
        if name is not None:
            _fetch(network, depth, name)
        elif file is not None:
            adopt_file(network, file)
        if norm == "group":
            replace_batch_norm(network)
        # No slower on a CPU, and what a GPU's tensor cores are made for (docs/performance.md).
        super().__init__(network.to(memory_format=torch.channels_last))
        self.measure()

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the four stages."""
        stages: list[Tensor] = self.network(image)
        return stages


def _fetch(network: nn.Module, depth: int, name: str) -> None:
    if name != "imagenet" or depth not in FILES:
        message = (
            f"backbone.weights={name}: there are none for a ResNet-v1c of depth {depth}; imagenet "
            f"ones exist for depth {', '.join(map(str, FILES))}; or give a file, or null"
        )
        raise InputError(message)
    url = ZOO + FILES[depth]
    with fetching(f"ResNet-v1c-{depth} ({url})", name):
        content = load_state_dict_from_url(url, map_location="cpu", check_hash=True)
    adopt(network, content.get("state_dict", content), f"backbone.weights={name} ({url})")
