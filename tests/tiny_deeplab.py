"""The tiny DeepLab-v2 of the recorded trace: ResNet-18-v1c of width 16, output stride 8."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def conv_bn(
    before: int, after: int, kernel: int, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    conv = nn.Conv2d(before, after, kernel, stride, dilation * (kernel // 2), dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after))


class Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.first = conv_bn(before, after, 3, stride, dilation)
        self.second = conv_bn(after, after, 3)
        self.shortcut = (
            conv_bn(before, after, 1, stride) if stride > 1 or before != after else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(torch.relu(self.first(x))) + self.shortcut(x))


class TinyResNet(nn.Module):
    channels = (16, 32, 64, 128)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            conv_bn(3, 8, 3, stride=2),
            nn.ReLU(),
            conv_bn(8, 8, 3),
            nn.ReLU(),
            conv_bn(8, 16, 3),
            nn.ReLU(),
        )
        self.pool = nn.MaxPool2d(3, 2, 1)
        plans = [
            (16, 16, 1, (1, 1)),
            (16, 32, 2, (1, 1)),
            (32, 64, 1, (1, 2)),
            (64, 128, 1, (2, 4)),
        ]
        self.stages = nn.ModuleList(
            nn.Sequential(
                Block(before, after, stride, dilations[0]), Block(after, after, 1, dilations[1])
            )
            for before, after, stride, dilations in plans
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.pool(self.stem(image))
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs


class TinyDeepLabHead(nn.Module):
    divisor = 1

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(128, 19, 3, padding=rate, dilation=rate) for rate in (6, 12, 18, 24)
        )

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        return sum(branch(stages[-1]) for branch in self.branches)
