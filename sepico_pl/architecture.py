"""Reads off an official network's names and shapes which of our networks it is."""

import re
from pathlib import Path

import segmentation_models_pytorch as smp

from sepico_pl.model.resnet_v1c import PLANS, DilatedBottleneck
from sepico_pl.model.weights import Tensors, list_keys
from sepico_pl.types import InputError

CLASSIFIERS = (
    "decode_head.aspp_modules.0.conv.weight",
    "decode_head.linear_pred.weight",
    "decode_head.conv_seg.weight",
)
HEADS = {
    "deeplabv2": "decode_head.aspp_modules.",
    "daformer": "decode_head.embed_layers.",
    "segformer": "decode_head.linear_c1.",
}
STAGES = (1, 2, 3, 4)
WIDEST = 4096
"""Channels; the widest layer that is known has 2048, and a network grows with their square."""


class Architecture:
    """What the tensors of an official network say about it.

    Args:
        tensors: of one network, by official name.
        path: of the file, for messages.
    """

    def __init__(self, tensors: Tensors, path: Path) -> None:
        """Hold the tensors."""
        self.tensors = tensors
        self.path = path

    def overrides(self) -> list[str]:
        """Return the choices on the command line that build this network.

        Raises:
            InputError: if it is none that we have, or lacks a tensor that tells.
        """
        return [*self._backbone(), *self._head(), *self._projection()]

    @property
    def num_classes(self) -> int:
        """C, from the classifier."""
        found = [name for name in CLASSIFIERS if name in self.tensors]
        return self._width(found[0] if found else CLASSIFIERS[0])

    @property
    def has_projection(self) -> bool:
        """Whether there is a projection head: SePiCo's have one, DAFormer's and SegFormer's not."""
        return self._has("auxiliary_head.")

    def _backbone(self) -> list[str]:
        if self._has("backbone.stem."):
            return [
                f"backbone=resnet{self._resnet_depth()}_v1c",
                f"backbone.width={self._width('backbone.layer1.0.conv1.weight')}",
                f"backbone.stem_width={self._width('backbone.stem.6.weight')}",
            ]
        if self._has("backbone.patch_embed1."):
            width = self._width("backbone.patch_embed1.proj.weight")
            return [f"backbone=mit_{self._mit_variant(width)}", f"backbone.width={width}"]
        raise self._unknown("backbone.", "a ResNet-v1c or a Mix Transformer")

    def _resnet_depth(self) -> int:
        blocks = tuple(self._count(rf"backbone\.layer{stage}\.(\d+)\.") for stage in STAGES)
        bottleneck = self._has("backbone.layer1.0.conv3.")
        for depth, (block, counts) in PLANS.items():
            if blocks == counts and bottleneck == issubclass(block, DilatedBottleneck):
                return depth
        raise self._unknown("backbone.", f"a ResNet-v1c of depth {', '.join(map(str, PLANS))}")

    def _mit_variant(self, width: int) -> str:
        blocks = [self._count(rf"backbone\.block{stage}\.(\d+)\.") for stage in STAGES]
        for variant in ("b0", "b1", "b2", "b3", "b4", "b5"):
            published = smp.encoders.encoders[f"mit_{variant}"]["params"]
            same_width = published["embed_dims"][0] == width or variant != "b0"
            if list(published["depths"]) == blocks and same_width:
                return variant
        raise self._unknown("backbone.", "a Mix Transformer b0 to b5")

    def _head(self) -> list[str]:
        for head, prefix in HEADS.items():
            if self._has(prefix):
                first = f"{prefix}proj.weight" if head == "segformer" else f"{prefix}0.proj.weight"
                width = [] if head == "deeplabv2" else [f"head.decode.width={self._width(first)}"]
                return [f"head={head}", *width]
        raise self._unknown("decode_head.", f"a {', '.join(HEADS)} head")

    def _projection(self) -> list[str]:
        if not self.has_projection:
            return ["contrast=none"]
        last = "auxiliary_head.convs.{}.conv.weight"
        depth = self._count(r"auxiliary_head\.convs\.(\d+)\.conv\.")
        stages = "fused"
        if not depth:
            stages, last = "layerwise", "auxiliary_head.convs.0.{}.conv.weight"
            depth = self._count(r"auxiliary_head\.convs\.0\.(\d+)\.conv\.")
        elif self._width(last.format(0), axis=1) == self._last_channels():
            stages = "last"
        return [
            f"head.projection.width={self._width(last.format(depth - 1))}",
            f"head.projection.depth={depth}",
            f"head.projection.stages={stages}",
        ]

    def _last_channels(self) -> int:
        if self._has("backbone.norm4."):
            return self._width("backbone.norm4.weight")
        return self._width("backbone.layer4.0.downsample.1.weight")

    def _has(self, prefix: str) -> bool:
        return any(name.startswith(prefix) for name in self.tensors)

    def _count(self, pattern: str) -> int:
        """Count the distinct numbers that the group of a pattern finds in the names."""
        return len({found[1] for name in self.tensors if (found := re.match(pattern, name))})

    def _width(self, name: str, axis: int = 0) -> int:
        if name not in self.tensors:
            message = f"checkpoint={self.path}: missing: {name}"
            raise InputError(message)
        shape = self.tensors[name].shape
        if len(shape) <= axis or not 0 < shape[axis] <= WIDEST:
            message = (
                f"checkpoint={self.path}: {name} {tuple(shape)} tells no width (1 to {WIDEST}); "
                "is it an official checkpoint, and whole?"
            )
            raise InputError(message)
        return shape[axis]

    def _unknown(self, prefix: str, known: str) -> InputError:
        names = [name for name in self.tensors if name.startswith(prefix)] or list(self.tensors)
        return InputError(
            f"checkpoint={self.path}: {prefix}* is not {known} (its keys: {list_keys(names)})"
        )
