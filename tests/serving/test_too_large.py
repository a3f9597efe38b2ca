"""A small file may not name a large network: a line, and the memory that the import takes."""

import json
from pathlib import Path

import pytest
import torch
from command_line import run_measured

from sepico_pl import SegmentationModel

GIANT = {
    "_target_": "sepico_pl.model.vit.PlainViT",
    "name": "vit_7b_patch16_dinov3",
    "drop_path": 0.0,
    "weights": None,
}
"""25 GiB in float32."""

ATTEMPT = """
import resource, sys
from pathlib import Path
from peak_memory import peak_memory
import sepico_pl
from sepico_pl import checkpoints
from sepico_pl.assembly import build_data
from sepico_pl.types import InputError

def resumed(path):
    plain = checkpoints.read_checkpoint(Path(path))["config"]
    checkpoints.resumed_task(Path(path), plain, build_data(plain))

ways = {
    "load": sepico_pl.load,
    "from_pretrained": sepico_pl.SegmentationModel.from_pretrained,
    "judge": lambda path: checkpoints.load(Path(path)),
    "resume": resumed,
}
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
try:
    ways[sys.argv[1]](sys.argv[2])
except InputError as error:
    print(error)
print(peak_memory() >> 20)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "name"),
    [
        ("load", "folder"),
        ("from_pretrained", "folder"),
        ("load", "bad.ckpt"),
        ("judge", "bad.ckpt"),
        ("resume", "bad.ckpt"),
    ],
)
def test_a_giant_takes_no_memory(
    way: str, name: str, checkpoint: Path, model: SegmentationModel, tmp_path: Path
) -> None:
    path = tmp_path / name
    if name == "folder":
        model.save_pretrained(path)
        config = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps(config | {"backbone": GIANT}))
    else:
        content = torch.load(checkpoint, weights_only=True)
        content["config"]["backbone"] = GIANT
        torch.save(content, path)
    done = run_measured(ATTEMPT, way, str(path))
    assert done.returncode == 0, done.stderr
    said, megabytes = done.stdout.splitlines()
    assert str(path) in said
    assert "its configuration asks for a network of more than" in said
    assert int(megabytes) < 1500
