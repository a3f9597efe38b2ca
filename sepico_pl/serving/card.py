"""The model card: the README of a model in the Hugging Face form."""

import copy
from collections.abc import Mapping
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from sepico_pl.quoting import in_markdown
from sepico_pl.types import ClassSet

NON_COMMERCIAL = (
    "**Non-commercial.** The Mix Transformer (`mit_b*`) is under NVIDIA's non-commercial licence: "
    "its implementation, and weights that were trained from SegFormer's."
)
MIX_TRANSFORMER = {
    "license": "other",
    "license_name": "nvidia-source-code-license",
    "license_link": "https://github.com/NVlabs/SegFormer/blob/master/LICENSE",
}
META = "DINOv3's weights, and what is trained from them, are under Meta's DINOv3 licence."
OTHERS = "The encoder's pretrained weights, if the training began with them, keep their licence."

TEXT = """---
{metadata}
---

# Semantic segmentation: {encoder} with {head}

Trained with [sepico_pl](https://arxiv.org/abs/2204.08808) (SePiCo, Xie et al., TPAMI 2023).

## Use
```python
import sepico_pl

model = sepico_pl.load("<this folder>")
labels = model.predict("photo.jpg")
```

`labels` is (H, W) uint8, class ids at the photograph's own size, and
`model.probabilities("photo.jpg")` is (C, H, W) float32. From the hub:
`sepico_pl.SegmentationModel.from_pretrained("<user>/<name>")`.

As a PyTorch module it takes RGB images (B, 3, H, W) in [0, 1], which it normalises itself, and
returns logits (B, C, H, W). Photographs are resized to fit in {height}x{width} (height x width)
before.

## Classes
| id | name | colour (RGB) |
|---|---|---|
{rows}

## Origin
{origin}

## Licence
{licence}
The code of sepico_pl is under the MIT licence. The training images have terms of their own.
"""


def model_card(
    metadata: ModelCardData,
    *,
    backbone: Mapping[str, Any],
    decode: Mapping[str, Any],
    classes: ClassSet,
    input_size: tuple[int, int],
    provenance: Mapping[str, str],
) -> ModelCard:
    """Write the card of a model.

    Args:
        metadata: for the hub; receives the licence where it is a special one.
        backbone: the encoder's `_target_` and keywords.
        decode: the decode head's.
        classes: their names and colours.
        input_size: height and width.
        provenance: what the weights come from.
    """
    name = str(backbone.get("name", backbone.get("variant", backbone.get("depth", ""))))
    kind = _kind(backbone)
    special, licence = _licence(kind, name)
    known = copy.deepcopy(metadata)
    for key, value in special.items():
        setattr(known, key, value)
    content = TEXT.format(
        metadata=known.to_yaml(),
        encoder=f"{in_markdown(kind)} {in_markdown(name)}".strip(),
        head=in_markdown(_kind(decode)),
        height=input_size[0],
        width=input_size[1],
        rows=_rows(classes),
        origin="\n".join(
            f"- {in_markdown(key)}: {in_markdown(str(value))}"
            for key, value in sorted(provenance.items())
        ),
        licence=licence,
    )
    return ModelCard(content)


def _licence(kind: str, name: str) -> tuple[dict[str, str], str]:
    """Return what the hub is told of an encoder's licence, and what people are.

    Args:
        kind: the encoder's class.
        name: its name or variant.
    """
    if kind == "MixTransformer" or name.startswith("mit_"):
        return MIX_TRANSFORMER, NON_COMMERCIAL
    if "dinov3" in name:
        return {"license": "other", "license_name": "dinov3-license"}, META
    return {}, OTHERS


def _rows(classes: ClassSet) -> str:
    """Return a row of the table of classes for each."""
    colours = zip(classes.names, classes.palette, strict=True)
    return "\n".join(
        f"| {index} | {in_markdown(name)} | {', '.join(str(int(level)) for level in colour)} |"
        for index, (name, colour) in enumerate(colours)
    )


def _kind(part: Mapping[str, Any]) -> str:
    return str(part["_target_"]).rpartition(".")[2]
