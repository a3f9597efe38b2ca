"""torch.compile: the networks have no graph breaks, and without a compiler a run goes on."""

import re
from pathlib import Path

import pytest
import torch
from command_line import TINY, run

from sepico_pl.model.aspp import DAFormerHead, DeepLabV2Head
from sepico_pl.model.encoder import Encoder, SmpEncoder
from sepico_pl.model.projection import ProjectionHead
from sepico_pl.model.resnet_v1c import ResNetV1c


def paper_network(name: str) -> tuple[Encoder, torch.nn.Module, ProjectionHead]:
    """A small network of the paper's kinds: encoder, head, projection."""
    if name == "deeplabv2":
        encoder = ResNetV1c(depth=18, width=8, stem_width=8, weights=None, norm="batch")
        head = DeepLabV2Head(channels=encoder.channels, num_classes=4, dilations=(6, 12))
    else:
        encoder = SmpEncoder(name="mit_b0", weights=None, norm="batch", output_stride=32)
        head = DAFormerHead(
            channels=encoder.channels,
            num_classes=4,
            width=16,
            dilations=(1, 6),
            dropout=0.1,
            norm="batch",
        )
    stages = "last" if name == "deeplabv2" else "fused"
    projection = ProjectionHead(
        channels=encoder.channels, width=8, depth=2, stages=stages, norm="batch"
    )
    return encoder, head, projection


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deeplabv2", "daformer"])
def test_the_networks_have_no_graph_breaks(name: str) -> None:
    torch.manual_seed(0)
    parts = paper_network(name)
    image = torch.randn(2, 3, 64, 64)
    stages = parts[0](image)
    expected = [stages, parts[1].eval()(stages), parts[2](stages)]
    torch.compiler.reset()
    compiled = [torch.compile(part, backend="aot_eager", fullgraph=True) for part in parts]
    ours = [compiled[0](image), compiled[1](stages), compiled[2](stages)]
    if name == "deeplabv2":  # the other has drop-path
        torch.testing.assert_close(ours[0], expected[0])
    torch.testing.assert_close(ours[1:], expected[1:])
    torch.compiler.reset()


@pytest.mark.slow
def test_without_a_compiler_a_line_says_so_and_the_run_goes_on(tmp_path: Path) -> None:
    settings = {"CXX": "/nowhere/g++", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    ended = run("train", *TINY, "compile=true", "pictures=0", cwd=tmp_path, **settings)
    assert ended.returncode == 0, ended.stderr
    (said,) = re.findall(r"^compile=true: nothing is compiled.*$", ended.stdout, re.MULTILINE)
    assert "/nowhere/g++" in said
    assert "Traceback" not in ended.stdout + ended.stderr


@pytest.mark.slow
def test_a_small_gpu_s_settings_train(tmp_path: Path) -> None:
    ended = run("train", *TINY, "trainer=small_gpu", "pictures=0", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "run folder" in ended.stdout
