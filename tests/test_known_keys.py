"""Keys, options and files that cannot be meant are refused in one line before torch is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from sepico_pl.cli import find_conf
from sepico_pl.first_look import may_have_gpu
from sepico_pl.known_keys import default_keys, nearest_key

WITHOUT_TORCH = """
import runpy, sys
sys.modules["torch"] = None
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def refusal(folder: Path, *words: str) -> str:
    """Run a command where torch cannot be imported, and return the one line that it ends with."""
    command = [sys.executable, "-c", WITHOUT_TORCH, *words]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    return ended.stderr.strip()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("train +lr=0.1", "lr: there is no such key; did you mean optim.learning_rate?"),
        ("train optim.learning_rat=1", "did you mean optim.learning_rate?"),
        ("train contrast=prototyp", "did you mean prototype?"),
        ("predict checkpoint=a images=b output=c +tta=true", "tta: there is no such key"),
        ("evaluate checkpoint=text", "checkpoint=text: no checkpoint"),
        ("evaluate checkpoint=run", "a run folder; give one of its checkpoints: run/last.ckpt"),
        ("train hydra.job.chdir=true", "hydra.job.chdir=true: paths are read from the folder"),
        ("export checkpoint=a output=b hydra.job.chdir=true", "hydra.job.chdir=true: paths"),
    ],
)
def test_refused_before_torch_and_nothing_is_left(tmp_path: Path, words: str, said: str) -> None:
    (tmp_path / "text").write_text("no checkpoint")
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    name, *typed = words.split()
    line = refusal(tmp_path, f"sepico_pl.{name}", *typed)
    assert said in line
    assert "To append" not in line
    assert {path.name for path in tmp_path.iterdir()} == {"text", "run"}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("lr", "optim.learning_rate"), ("sed", "seed"), ("optim.weight_decy", "optim.weight_decay")],
)
def test_nearest_key(typed: str, meant: str) -> None:
    assert nearest_key(typed, default_keys(find_conf(), "config")) == meant


def test_a_gpu_is_denied_only_where_nothing_shows_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert not may_have_gpu(tmp_path)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "kfd").touch()
    assert may_have_gpu(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert not may_have_gpu(tmp_path)
