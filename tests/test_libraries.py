"""How the libraries that take seconds are imported: announced, and whole afterwards."""

import gc
import subprocess
import sys

import pytest

from sepico_pl.libraries import NETWORKS, TRAINING, load_libraries

LEFT_OUT = (
    "torch._dynamo.eval_frame",
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
from sepico_pl.stand_ins import compiler, standing_in, unwanted
with standing_in({**unwanted(), **compiler()}):
    found = [find_spec(name).name for name in ("scipy.signal", "torch._dynamo")]
    from scipy.signal import resample_poly
    from torch._dynamo import allow_in_graph
kinds = {type(sys.modules[name]).__name__ for name in (*found, "torch._dynamo.utils")}
print(found, callable(resample_poly), callable(allow_in_graph), kinds)
"""
A_PART = """
import sys
import torch
from sepico_pl.stand_ins import compiler, standing_in, unwanted
with standing_in({**unwanted(), **compiler()}):
    import matplotlib.figure, scipy.signal.windows, torch._dynamo.config
    if "absent" in sys.argv:
        import matplotlib.absent
config = torch._dynamo.config
config.cache_size_limit = 3
print(
    config is torch._dynamo.eval_frame.config,
    torch._dynamo.eval_frame.config.cache_size_limit,
    config.__spec__.origin == config.__file__,
    matplotlib.figure.__spec__.name,
    scipy.signal.windows.hann(3).tolist(),
)
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
from sepico_pl.libraries import TRAINING, import_quickly
import_quickly(TRAINING)
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.compile import _maybe_unwrap_optimized
from torchvision.ops import roi_align
image, boxes = torch.arange(16.0).view(1, 1, 4, 4), torch.tensor([[0.0, 0, 0, 2, 2]])
pooled = roi_align(image, boxes, 1, aligned=True)
weight = torch.nn.Parameter(torch.ones(1))
optimizer = torch.optim.SGD([weight], lr=0.5)
weight.grad = torch.ones(1)
optimizer.step()
deferred = "torch._dynamo.eval_frame" not in sys.modules
graphs = []
def counted(graph, _):
    graphs.append(graph)
    return graph.forward
def stepped(x):
    optimizer.step()
    return 2 * x
doubled = torch.compile(stepped, backend=counted)(torch.ones(2))
class Doubling(LightningModule):
    def forward(self, x):
        return 2 * x
unwrapped = _maybe_unwrap_optimized(torch.compile(Doubling()))
torch.use_deterministic_algorithms(True)
roi_align(image, boxes, 1, aligned=True)
print(deferred, pooled.item(), weight.item(), doubled.tolist(), len(graphs) > 0, type(unwrapped))
"""
EXEMPTED = """
import torch
from sepico_pl.stand_ins import compiler, standing_in
with standing_in(compiler()):
    @torch.compiler.disable
    def eager(x):
        return (x, torch.compiler.is_compiling())
    @torch.compiler.disable(recursive=False)
    def alone(x):
        return x + 1
    before = eager(0), alone(1)
def function(x):
    return eager(2 * x)
compiled = torch.compile(function, backend="eager")(torch.ones(1))
print(before, eager(1), alone(1), compiled[1], eager.__name__)
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
    assert printed(FALLEN_THROUGH) == "['scipy.signal', 'torch._dynamo'] True True {'module'}"


@pytest.mark.slow
def test_a_part_of_a_module_is_imported_once() -> None:
    assert printed(A_PART) == "True 3 True matplotlib.figure [0.0, 1.0, 0.0]"


@pytest.mark.slow
def test_a_part_that_is_not_there_is_not() -> None:
    words = [sys.executable, "-c", A_PART, "absent"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "No module named 'matplotlib.absent'" in done.stderr


@pytest.mark.slow
def test_metrics_draw_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    assert printed(DRAWN) == "False True True False True"


@pytest.mark.slow
def test_torchs_compiler_comes_when_it_is_wanted() -> None:
    assert printed(COMPILED) == "True 2.5 0.0 [2.0, 2.0] True <class '__main__.Doubling'>"


@pytest.mark.slow
def test_what_is_exempted_from_being_compiled_is() -> None:
    assert printed(EXEMPTED) == "((0, False), 2) (1, False) 2 False eager"


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
        (
            "sepico_pl.runner",
            (
                "torch._dynamo.eval_frame",
                "sympy",
                "matplotlib",
                "wandb",
                "jinja2",
                "tensorboard",
                "sklearn",
            ),
        ),
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
