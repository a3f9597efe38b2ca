"""How the libraries that take seconds are imported: announced, and whole afterwards."""

import gc
import subprocess
import sys

import pytest

from sepico_pl.libraries import NETWORKS, TRAINING, load_libraries

LEFT_OUT = ("pytorch_lightning", "torchmetrics", "wandb", "matplotlib", "scipy", "sklearn")
WHOLE = """
import gc, sys
from sepico_pl.libraries import TRAINING, import_quickly
import_quickly(TRAINING)
loaded = {"wandb", "scipy.signal"} & set(sys.modules)
import scipy.signal, wandb
print(loaded, gc.isenabled(), callable(scipy.signal.butter), callable(wandb.Table))
"""
TAKEN_AS_IT_IS = """
import wandb, scipy.signal
signals = scipy.signal
from sepico_pl.libraries import NETWORKS, import_quickly
import_quickly(NETWORKS)
import sys, timm.utils.summary
print(sys.modules["scipy.signal"] is signals, timm.utils.summary.wandb is wandb)
"""


def printed(code: str, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_was_left_out_of_an_import_is_whole_when_it_is_wanted() -> None:
    assert printed(WHOLE) == "set() True True True"


def test_what_was_imported_before_stays() -> None:
    assert printed(TAKEN_AS_IT_IS) == "True True"


@pytest.mark.parametrize(("rank", "line"), [({}, "loading ...\n"), ({"RANK": "1"}, "")])
@pytest.mark.parametrize("names", [NETWORKS, TRAINING])
def test_the_first_rank_says_what_takes_so_long(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    rank: dict[str, str],
    line: str,
    names: tuple[str, ...],
) -> None:
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in rank.items():
        monkeypatch.setenv(name, value)
    before = gc.get_freeze_count()
    load_libraries(names)
    assert capsys.readouterr().out == line
    assert gc.get_freeze_count() <= before  # a job of a multirun leaves no garbage behind for good


def test_nothing_is_said_where_nothing_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    load_libraries(())
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("sepico_pl.serving.predicting", LEFT_OUT),
        ("sepico_pl.serving.loading", LEFT_OUT),
        ("sepico_pl.runner", ("wandb", "jinja2", "tensorboard", "sklearn")),
        ("sepico_pl.contrast.modes", (*LEFT_OUT, "timm", "hydra", "omegaconf", "torchvision")),
    ],
)
def test_an_import_brings_no_more_than_it_needs(module: str, absent: tuple[str, ...]) -> None:
    code = (
        "import sys; from importlib import import_module; "
        "from sepico_pl.libraries import NETWORKS, import_quickly; "
        f"import_quickly(NETWORKS) if 'contrast' not in {module!r} else None; "
        f"import_module({module!r}); print(sorted(set({absent!r}) & set(sys.modules)))"
    )
    assert printed(code) == "[]"
