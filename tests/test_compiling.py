"""torch.compile: no graph breaks; on a CPU, or without a compiler, a line instead."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from command_line import TINY, call, run

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
def test_on_a_cpu_a_line_says_so_and_the_run_goes_on_uncompiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def weights(*words: str) -> dict[str, torch.Tensor]:
        settings = ["trainer.accelerator=cpu", "pictures=0", "logger=none", *words]
        assert call(monkeypatch, tmp_path, "train", *TINY, *settings) == ""
        folder = tmp_path / words[0].removeprefix("hydra.run.dir=")
        return torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]

    eager = weights("hydra.run.dir=eager")
    torch._dynamo.utils.counters.clear()
    capsys.readouterr()
    asked = weights("hydra.run.dir=asked", "compile=true")
    said = [line for line in capsys.readouterr().out.splitlines() if "compile" in line]
    assert said == ["compile=true is for GPUs: on this CPU the run goes on without it"]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 0
    assert all(torch.equal(eager[name], asked[name]) for name in eager)


@pytest.mark.slow
def test_without_a_compiler_a_line_says_so(tmp_path: Path) -> None:
    code = (
        "import torch; from sepico_pl.compiling import without_compiler; "
        "print(without_compiler(torch.device('cpu')))"
    )
    settings = {"CXX": "/nowhere/g++", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[1],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    (said,) = re.findall(r"^compile=true: nothing is compiled.*$", ended.stdout, re.MULTILINE)
    assert "/nowhere/g++" in said


@pytest.mark.slow
def test_a_small_gpu_s_settings_train(tmp_path: Path) -> None:
    ended = run("train", *TINY, "trainer=small_gpu", "pictures=0", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "run folder" in ended.stdout
