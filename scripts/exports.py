"""Which networks can be exported for images of any size: the table of docs/using.md.

    python scripts/exports.py [--pairs BACKBONE+HEAD ...]

Random weights; each program is compared with PyTorch as `sepico_pl.export` compares it.
"""

import argparse
import logging
import tempfile
import warnings
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir

from sepico_pl.assembly import plain_config
from sepico_pl.data.classes import CITYSCAPES
from sepico_pl.serving.model import SegmentationModel
from sepico_pl.serving.programs import traced, write_onnx, write_torch
from sepico_pl.types import IMAGENET_MEAN, IMAGENET_STD, InputError

CONF = Path(__file__).resolve().parents[1] / "conf"
PAIRS = (
    "resnet10t+light",
    "resnet18+fpn",
    "resnet18_v1c+deeplabv2",
    "mit_b0+daformer",
    "pvt_v2+daformer",
    "convnext+segformer",
    "convnext+upernet",
    "dinov2_small+light",
)


def network(backbone: str, head: str) -> SegmentationModel:
    """Build a network as `conf` names it, with random weights and nineteen classes."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        choices = [f"backbone={backbone}", f"head={head}", "name=exports"]
        plain = plain_config(compose("run", choices))
    torch.manual_seed(0)
    return SegmentationModel(
        backbone=plain["backbone"],
        decode=plain["head"]["decode"],
        class_names=list(CITYSCAPES.names),
        palette=[list(colour) for colour in CITYSCAPES.palette],
        input_size=[64, 128],
        mean=list(IMAGENET_MEAN),
        std=list(IMAGENET_STD),
        provenance={},
    )


def row(pair: str, folder: Path) -> str:
    """Export one network both ways; say how far each program is from PyTorch."""
    backbone, head = pair.split("+")
    model = network(backbone, head)
    cells = []
    try:
        program = traced(model)
        for write, name in ((write_torch, "model.pt2"), (write_onnx, "model.onnx")):
            cells.append(f"{write(program, model, folder / name):.0e}")
    except InputError as error:
        cells.append(f"refused: {error}"[:120])
    return f"| `{backbone}` | `{head}` | {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", nargs="+", default=PAIRS)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    print("| backbone | head | torch.export | ONNX |\n|---|---|---|---|")
    for pair in parser.parse_args().pairs:
        with tempfile.TemporaryDirectory() as folder:
            print(row(pair, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
