"""The command lines: in this process, or as a process of their own."""

import contextlib
import importlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict

from sepico_pl.assembly import plain_config

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"

TINY = [
    "dataset.size=[32,64]",
    "dataset.train_length=6",
    "dataset.val_length=2",
    "data.crop_size=[32,32]",
    "data.batch_size=2",
    "trainer.max_steps=3",
    "adapt.contrast_start=1",
    "trainer.enable_progress_bar=false",
]
SOURCE_ONLY = [argument for argument in TINY if "contrast_start" not in argument]


def call(monkeypatch: pytest.MonkeyPatch, folder: Path, module: str, *arguments: str) -> str:
    """Run a command in this process (a start takes seconds); return its error, or ""."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [f"sepico_pl.{module}", *arguments])
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr):
            importlib.import_module(f"sepico_pl.{module}").main()
    except SystemExit as ending:
        printed = stderr.getvalue().strip()
        return f"{printed}\n{ending.code}".strip() if isinstance(ending.code, str) else printed
    finally:
        GlobalHydra.instance().clear()
    return ""


def run(module: str, *arguments: str, cwd: Path, **environment: str):
    return subprocess.run(
        [sys.executable, "-m", f"sepico_pl.{module}", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={"OMP_NUM_THREADS": "1", **os.environ, "COLUMNS": "200", **environment},
        check=False,
    )


def configured(*overrides: str) -> dict:
    """Return the configuration of a `train` with these overrides, as plain types."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", list(overrides), return_hydra_config=True)
        HydraConfig.instance().set_config(config)
        with open_dict(config):
            del config["hydra"]
        return plain_config(config)


def run_measured(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python code, which can import `peak_memory`, as a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "scripts", ROOT)))},
        capture_output=True,
        text=True,
        check=False,
    )
