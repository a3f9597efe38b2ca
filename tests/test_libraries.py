"""How the libraries that take seconds are imported: announced, and whole afterwards."""

import gc
import subprocess
import sys

import pytest

from sepico_pl.libraries import NETWORKS, TRAINING, load_libraries

LEFT_OUT = (
    "torch._dynamo",
    "pytorch_lightning",
    "torchmetrics",
    "wandb",
    "matplotlib",
    "scipy",
    "sklearn",
)
WHOLE = """
import gc, sys
from sepico_pl.libraries import TRAINING, import_quickly
import_quickly(TRAINING)
loaded = {"wandb", "scipy.signal"} & set(sys.modules)
import scipy.signal, wandb
print(loaded, gc.isenabled(), callable(scipy.signal.butter), callable(wandb.Table))
"""
FALLEN_THROUGH = """
import sys
from importlib.util import find_spec
from sepico_pl.libraries import standing_in
from sepico_pl.stand_ins import unwanted
with standing_in(unwanted()):
    found = [find_spec(name).name for name in ("scipy.signal", "torch._dynamo")]
    from scipy.signal import resample_poly
    from torch._dynamo import OptimizedModule
    import torch._dynamo.config
kinds = {type(sys.modules[name]).__name__ for name in (*found, "torch._dynamo.utils")}
print(found, callable(resample_poly), OptimizedModule.__name__, kinds)
"""
DRAWN = """
import sys
import torch
from sepico_pl.libraries import TRAINING, import_quickly
import_quickly(TRAINING)
before = "matplotlib" in sys.modules
from torchmetrics.classification import MulticlassConfusionMatrix
from torchmetrics.utilities.plot import _AX_TYPE
matrix = MulticlassConfusionMatrix(2)
matrix.update(torch.tensor([0, 1]), torch.tensor([0, 0]))
figure, axes = matrix.plot()
import matplotlib.axes
import matplotlib.figure
print(
    before,
    isinstance(figure, matplotlib.figure.Figure),
    isinstance(axes, _AX_TYPE),
    isinstance(3, _AX_TYPE),
    matplotlib.__file__.endswith("__init__.py"),
)
"""
COMPILED = """
import sys, torch
from sepico_pl.libraries import NETWORKS, import_quickly
import_quickly(NETWORKS)
from torchvision.ops import roi_align
deferred = "torch._dynamo" not in sys.modules
torch.use_deterministic_algorithms(True)
image, boxes = torch.arange(16.0).view(1, 1, 4, 4), torch.tensor([[0.0, 0, 0, 2, 2]])
pooled = roi_align(image, boxes, 1, aligned=True)
graphs = []
def counted(graph, _):
    graphs.append(graph)
    return graph.forward
doubled = torch.compile(lambda x: 2 * x, backend=counted)(torch.ones(2))
print(deferred, pooled.item(), doubled.tolist(), len(graphs))
"""
EXEMPTED = """
import torch
from sepico_pl.libraries import import_quickly, standing_in
from sepico_pl.stand_ins import unwanted
with standing_in(unwanted()):
    @torch.compiler.disable
    def eager(x):
        return (x, torch.compiler.is_compiling())
    @torch.compiler.disable(recursive=False)
    def alone(x):
        return x + 1
def function(x):
    return eager(2 * x)
compiled = torch.compile(function, backend="eager")(torch.ones(1))
print(eager(1), alone(1), compiled[1], eager.__name__)
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


@pytest.mark.slow
def test_what_was_left_out_of_an_import_is_whole_when_it_is_wanted() -> None:
    assert printed(WHOLE) == "set() True True True"


@pytest.mark.slow
def test_who_wants_more_of_a_module_gets_the_module() -> None:
    whole = "['scipy.signal', 'torch._dynamo'] True OptimizedModule {'module'}"
    assert printed(FALLEN_THROUGH) == whole


@pytest.mark.slow
def test_metrics_draw_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    assert printed(DRAWN) == "False True True False True"


@pytest.mark.slow
def test_torchs_compiler_comes_when_it_is_wanted() -> None:
    assert printed(COMPILED) == "True 2.5 [2.0, 2.0] 1"


@pytest.mark.slow
def test_what_is_exempted_from_being_compiled_is() -> None:
    assert printed(EXEMPTED) == "(1, False) 2 False eager"


@pytest.mark.slow
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
    load_libraries(names)
    assert capsys.readouterr().out == line
    assert gc.isenabled()


def test_nothing_is_said_where_nothing_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    load_libraries(())
    assert capsys.readouterr().out == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("sepico_pl.serving.predicting", LEFT_OUT),
        ("sepico_pl.serving.loading", LEFT_OUT),
        ("sepico_pl.runner", ("matplotlib", "wandb", "jinja2", "tensorboard", "sklearn")),
        ("sepico_pl.contrast.modes", (*LEFT_OUT, "timm", "hydra", "omegaconf", "torchvision")),
    ],
)
def test_an_import_brings_no_more_than_it_needs(module: str, absent: tuple[str, ...]) -> None:
    needed = "()" if "contrast" in module else "TRAINING" if "runner" in module else "NETWORKS"
    code = (
        "import sys; from importlib import import_module; "
        "from sepico_pl.libraries import NETWORKS, TRAINING, import_quickly; "
        f"import_quickly({needed}); import_module({module!r}); "
        f"print(sorted(set({absent!r}) & set(sys.modules)))"
    )
    assert printed(code) == "[]"
