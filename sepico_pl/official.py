"""Checkpoints of the official code and of its relatives: what each key is.

SePiCo, DAFormer and MIC checkpoints (mmsegmentation 0.x) hold `model.*`, the student, and
`ema_model.*`, the teacher; SegFormer's hold the bare network. Inside each are `backbone`,
`decode_head` and, in SePiCo, `auxiliary_head`, the projection head.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sepico_pl.model.aspp import DAFormerHead, DeepLabV2Head
from sepico_pl.model.segmentor import Segmentor
from sepico_pl.model.smp_heads import SegFormerHead
from sepico_pl.model.weights import Tensors, list_keys, read_file, take_over
from sepico_pl.types import InputError

Renames = tuple[tuple[str, str], ...]

# Our name of a part to the official one; of several that match, the first holds.
ASPP = r"decode_head.fuse_layer.aspp_modules.\1"
HEADS: dict[type[nn.Module], Renames] = {
    DeepLabV2Head: ((r"head\.branches\.(\d+)\.", r"decode_head.aspp_modules.\1.conv."),),
    DAFormerHead: (
        (r"head\.classifier\.", r"decode_head.conv_seg."),
        (r"head\.laterals\.(\d+)\.", r"decode_head.embed_layers.\1.proj."),
        (r"head\.fusion\.branches\.(\d+)\.0\.(\d)\.", rf"{ASPP}.depthwise_conv.\2."),
        (r"head\.fusion\.branches\.(\d+)\.1\.(\d)\.", rf"{ASPP}.pointwise_conv.\2."),
        (r"head\.fusion\.branches\.(\d+)\.", rf"{ASPP}."),
        (r"head\.fusion\.bottleneck\.", r"decode_head.fuse_layer.bottleneck."),
    ),
    SegFormerHead: (
        (r"head\.classifier\.", r"decode_head.linear_pred."),
        (r"head\.decoder\.mlp_stage\.0\.linear\.", r"decode_head.linear_c4.proj."),
        (r"head\.decoder\.mlp_stage\.1\.linear\.", r"decode_head.linear_c3.proj."),
        (r"head\.decoder\.mlp_stage\.2\.linear\.", r"decode_head.linear_c2.proj."),
        (r"head\.decoder\.mlp_stage\.3\.linear\.", r"decode_head.linear_c1.proj."),
        (r"head\.decoder\.fuse_stage\.", r"decode_head.linear_fuse."),
    ),
}
ONE_MAP: Renames = ((r"projection\.branches\.0\.", r"auxiliary_head.convs."),)
LAYERWISE: Renames = ((r"projection\.branches\.", r"auxiliary_head.convs."),)
# Items 0 and 1 of our blocks.
CONV_AND_NORM: Renames = ((r"\.0\.(\w+)$", r".conv.\1"), (r"\.1\.(\w+)$", r".bn.\1"))

NO_TENSORS = {
    "meta": "texts, versions and counters of the training program",
    "optimizer": "moments of that run's optimizer; a new run begins its own",
}
IMAGENET_TWIN = "DAFormer's frozen ImageNet encoder, for its feature distance alone"
UNUSED_CLASSIFIER = "SegFormer's head classifies with linear_pred; this one was never used"


def official_name(name: str, network: Segmentor) -> str:
    """Return what the official code calls the parameter or buffer `name` of a network.

    Raises:
        InputError: if the official code has no such decode head.
    """
    if name.startswith("encoder.network."):
        return name.replace("encoder.network.", "backbone.", 1)
    if name.startswith("projection."):
        assert network.projection is not None
        renames = LAYERWISE if network.projection.stages == "layerwise" else ONE_MAP
    else:
        renames = HEADS.get(type(network.head), ())
    for pattern, replacement in renames:
        renamed, matches = re.subn(f"^{pattern}", replacement, name)
        if matches:
            for ours, theirs in CONV_AND_NORM:
                renamed = re.sub(ours, theirs, renamed)
            return renamed
    message = (
        f"{name}: {type(network.head).__name__} has no official counterpart; "
        "choose head=deeplabv2, daformer or segformer"
    )
    raise InputError(message)


def official_names(network: Segmentor) -> dict[str, str]:
    """Return the official name of each key of a network's state dict."""
    return {name: official_name(name, network) for name in network.state_dict()}


@dataclass(frozen=True)
class OfficialCheckpoint:
    """An official checkpoint's tensors by official name, and why the rest of it was left.

    Attributes:
        path: of the file.
        student: its tensors.
        teacher: those of the EMA teacher; None if the file has none.
        dropped: reason by name, of everything that is not taken over.
    """

    path: Path
    student: Tensors
    teacher: Tensors | None
    dropped: dict[str, str]

    def load_into(self, student: Segmentor, teacher: Segmentor | None) -> None:
        """Give both networks their tensors; every key finds its place.

        Args:
            student: of the checkpoint's architecture.
            teacher: the same; it becomes the student if the file has no teacher.

        Raises:
            InputError: naming what is missing, unknown or of another shape.
        """
        what = f"checkpoint={self.path}"
        take_over(student, self.student, f"{what}: the student", official_names(student))
        if teacher is not None:
            tensors = self.student if self.teacher is None else self.teacher
            take_over(teacher, tensors, f"{what}: the teacher", official_names(teacher))


def read_official(path: Path) -> OfficialCheckpoint:
    """Read an official checkpoint and sort its keys.

    Raises:
        InputError: if the file cannot be used, or a key belongs to nothing that is known.
    """
    content = read_file(path, "checkpoint")
    if not isinstance(content, Mapping):
        message = f"checkpoint={path}: holds no mapping from names to tensors"
        raise InputError(message)
    tensors, dropped = _unwrap(content, path)
    networks: dict[str, Tensors] = {"model": {}, "ema_model": {}}
    if not any(name.split(".")[0] in networks for name in tensors):
        networks["model"], tensors = tensors, {}
    for name, tensor in tensors.items():
        prefix, _, rest = name.partition(".")
        if prefix == "imnet_model":
            dropped[name] = IMAGENET_TWIN
        elif prefix in networks:
            networks[prefix][rest] = tensor
        else:
            message = (
                f"checkpoint={path}: {name} is not of an official network; "
                "known are model.*, ema_model.* and imnet_model.*"
            )
            raise InputError(message)
    for prefix, network in networks.items():
        for name in _unused(network):
            del network[name]
            dropped[f"{prefix}.{name}"] = UNUSED_CLASSIFIER
    return OfficialCheckpoint(path, networks["model"], networks["ema_model"] or None, dropped)


def _unused(network: Tensors) -> list[str]:
    if "decode_head.linear_pred.weight" not in network:
        return []
    return [name for name in network if name.startswith("decode_head.conv_seg.")]


def _unwrap(content: Mapping[str, Any], path: Path) -> tuple[Tensors, dict[str, str]]:
    """Return the state dict and the reasons for leaving what lies beside it."""
    tensors, dropped = content, {}
    if isinstance(content.get("state_dict"), Mapping):
        tensors = content["state_dict"]
        dropped = {name: NO_TENSORS.get(name, "") for name in content if name != "state_dict"}
    strange = [name for name, reason in dropped.items() if not reason]
    strange += [
        name
        for name, value in tensors.items()
        if not isinstance(name, str) or not isinstance(value, Tensor)
    ]
    if strange or not tensors:
        held = f"besides its tensors {list_keys(strange)}" if strange else "no tensor"
        message = (
            f"checkpoint={path}: holds {held}; an official checkpoint has state_dict, meta and "
            "optimizer"
        )
        raise InputError(message)
    return dict(tensors), dropped


def account(official: OfficialCheckpoint) -> list[str]:
    """Say in lines what became of every key of a checkpoint."""
    teacher = official.teacher
    lines = [
        f"student: {len(official.student)} tensors loaded",
        "teacher: none in the file, it starts as the student"
        if teacher is None
        else f"teacher: {len(teacher)} tensors loaded",
    ]
    reasons: dict[str, list[str]] = defaultdict(list)
    for name, reason in official.dropped.items():
        reasons[reason].append(name)
    lines += [f"dropped: {list_keys(names)} ({reason})" for reason, names in reasons.items()]
    return lines
