"""The order of the house: which file of the package may import which."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "sepico_pl"
SOURCE = Path(__file__).resolve().parents[1] / PACKAGE

FOUNDATION = {
    "",
    "types",
    "ranks",
    "quoting",
    "json_files",
}  # "" is the package itself: __init__.py
ROOMS = {"data", "augment", "model", "contrast", "adapt", "metrics"}
MODULES = {"task", "module"}
SURROUNDINGS = {"optim", "loggers", "tables", "cli", "limits", "constructors"}
PROGRAMS = {"train", "evaluate", "import_official", "prepare", "predict", "submit"}
PROGRAMS |= {"ablate", "report", "compare", "embeddings", "export", "demo"}

MAY_IMPORT = {
    "": {"libraries", "serving"},
    "types": set(),
    "ranks": set(),
    "quoting": set(),
    "json_files": {"types"},
    "libraries": {"stand_ins"},
    "stand_ins": set(),
    **dict.fromkeys(ROOMS, FOUNDATION),
    **dict.fromkeys(SURROUNDINGS, FOUNDATION),
    "loggers": FOUNDATION | {"tables"},
    **dict.fromkeys(MODULES, FOUNDATION | ROOMS | MODULES | {"optim"}),
    "auxiliary": FOUNDATION | ROOMS | MODULES,
    "job_signals": {"data"},
    "multirun": {"job_signals"},
    "tensor_files": {"quoting", "tables", "types"},
    "protocol": FOUNDATION | ROOMS | {"limits"},
    "folder_lock": set(),
    "signatures": set(),
    "known_keys": {"signatures"},
    "typed_paths": {"quoting"},
    "first_look": {"known_keys", "quoting", "typed_paths"},
    "cli": FOUNDATION | {"first_look", "known_keys", "libraries", "multirun"},
    "resuming": {"cli", "folder_lock", "json_files", "quoting", "types"},
    "plain_data": FOUNDATION | {"constructors", "limits"},
    "resumed_config": FOUNDATION
    | {"assembly", "checkpoints", "constructors", "plain_data", "resuming"},
    "record": {"json_files", "resuming", "tables", "types"},
    "signal_handling": FOUNDATION | {"data", "job_signals", "resuming"},
    "processes": FOUNDATION | {"data", "resuming", "signal_handling"},
    "keeping": FOUNDATION | {"processes", "signal_handling", "tables", "tensor_files"},
    "callbacks": FOUNDATION | ROOMS | MODULES,
    "official": FOUNDATION | {"model"},
    "architecture": FOUNDATION | {"model"},
    "trainer_rules": {"limits"},
    "assembly": FOUNDATION | ROOMS | MODULES | SURROUNDINGS | {"trainer_rules", "typed_paths"},
    "training": FOUNDATION
    | ROOMS
    | MODULES
    | {"assembly", "boards", "callbacks", "diagnosis", "keeping", "optim", "pictures"},
    "checkpoints": FOUNDATION
    | ROOMS
    | MODULES
    | {"assembly", "plain_data", "resuming", "tensor_files", "typed_paths"},
    "devices": {"data", "types"},
    "scores_files": FOUNDATION | {"assembly", "data", "task"},
    "judging": FOUNDATION
    | ROOMS
    | MODULES
    | SURROUNDINGS
    | {"assembly", "checkpoints", "protocol"},
    "evaluating": FOUNDATION
    | ROOMS
    | MODULES
    | SURROUNDINGS
    | {"assembly", "devices", "judging", "protocol", "scores_files"},
    "compiling": {"quoting", "task"},
    "contrast_start": set(),
    "preparing": FOUNDATION | {"data", "assembly", "tables"},
    "boards": FOUNDATION | ROOMS | MODULES,
    "pictures": FOUNDATION | ROOMS | MODULES | {"boards", "tables"},
    "diagnosis": FOUNDATION | ROOMS | MODULES | {"pictures", "tables"},
    "reporting": FOUNDATION
    | ROOMS
    | {
        "diagnosis",
        "task",
        "contrast_start",
        "loggers",
        "multirun",
        "tables",
        "limits",
        "resuming",
        "assembly",
        "checkpoints",
        "judging",
        "protocol",
    },
    "ablation": FOUNDATION
    | {
        "cli",
        "first_look",
        "folder_lock",
        "job_signals",
        "limits",
        "reporting",
        "resuming",
        "signal_handling",
        "tables",
    },
    "serving": FOUNDATION
    | ROOMS
    | {"tables", "limits", "assembly", "checkpoints", "devices", "plain_data", "protocol"},
    "official_import": FOUNDATION
    | MODULES
    | {"architecture", "assembly", "checkpoints", "official"},
    "runner": FOUNDATION
    | ROOMS
    | MODULES
    | SURROUNDINGS
    | {
        "official",
        "architecture",
        "assembly",
        "boards",
        "checkpoints",
        "compiling",
        "contrast_start",
        "judging",
        "keeping",
        "processes",
        "record",
        "reporting",
        "folder_lock",
        "resumed_config",
        "resuming",
        "signal_handling",
        "job_signals",
        "multirun",
        "training",
    },
    **dict.fromkeys(
        PROGRAMS,
        FOUNDATION
        | {
            "runner",
            "official_import",
            "evaluating",
            "judging",
            "preparing",
            "cli",
            "libraries",
            "typed_paths",
            "resuming",
            "ablation",
            "reporting",
            "serving",
        },
    ),
}
FORBIDDEN_OUTSIDERS = {"contrast": {"pytorch_lightning", "lightning", "hydra", "omegaconf"}}


def violations(source: Path) -> list[str]:
    """Return one line per import in the package folder `source` that the order does not allow."""
    return [
        f"{file.relative_to(source.parent)}:{line}: imports {name}"
        for file in sorted(source.rglob("*.py"))
        for line, name in imports(file, source)
        if not is_allowed(room_of(file, source), name, source)
    ]


def is_allowed(room: str, name: str, source: Path) -> bool:
    top, _, inside = name.partition(".")
    if top != PACKAGE:
        return top not in FORBIDDEN_OUTSIDERS.get(room, set())
    imported = inside.split(".")[0]
    is_module = (source / imported).is_dir() or (source / f"{imported}.py").is_file()
    imported = imported if is_module else ""  # a name that __init__.py defines
    return imported == room or imported in MAY_IMPORT.get(room, set())


def room_of(file: Path, source: Path) -> str:
    """Return the folder or module directly under the package that `file` belongs to."""
    first = file.relative_to(source).parts[0]
    return first.removesuffix(".py").replace("__init__", "")


def imports(file: Path, source: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of every import in `file`, at any depth, relative ones resolved."""
    folder = [PACKAGE, *file.relative_to(source).parts[:-1]]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = folder[: len(folder) + 1 - node.level] if node.level else []
            stem = [*base, *([node.module] if node.module else [])]
            yield from ((node.lineno, ".".join([*stem, alias.name])) for alias in node.names)


def test_every_import_keeps_the_order() -> None:
    assert violations(SOURCE) == []


def test_every_file_has_its_place() -> None:
    found = {room_of(file, SOURCE) for file in SOURCE.rglob("*.py")}
    assert found >= {"types", "data", "augment", "model", "contrast", "adapt"}
    assert found <= MAY_IMPORT.keys(), "say in MAY_IMPORT what the new file may import"


@pytest.mark.parametrize(
    ("file", "statement"),
    [
        ("contrast/modes.py", "from sepico_pl.model.heads import ProjectionHead"),
        ("contrast/modes.py", "from sepico_pl import model"),
        ("contrast/modes.py", "import sepico_pl.model.heads"),
        ("contrast/modes.py", "from ..model import heads"),
        ("contrast/modes.py", "from .. import model"),
        ("contrast/modes.py", "def late():\n    import pytorch_lightning as pl"),
        ("contrast/modes.py", "from omegaconf import DictConfig"),
        ("contrast/modes.py", "from hydra.utils import instantiate"),
        ("types.py", "from sepico_pl.contrast.modes import PixelContrast"),
        ("metrics.py", "from sepico_pl.data.classes import STREETS"),
        ("optim.py", "from sepico_pl.model.heads import ProjectionHead"),
        ("module.py", "from sepico_pl.runner import run"),
        ("callbacks.py", "from sepico_pl.runner import train"),
        ("train.py", "from sepico_pl.module import SePiCo"),
        ("unheard_of.py", "from sepico_pl.module import SePiCo"),
    ],
)
def test_a_forbidden_import_is_found(tmp_path: Path, file: str, statement: str) -> None:
    source = fake_package(tmp_path, file, statement)
    assert [line.split(":")[0] for line in violations(source)] == [f"{PACKAGE}/{file}"]


@pytest.mark.parametrize(
    ("file", "statement"),
    [
        ("contrast/modes.py", "from sepico_pl.contrast.losses import bank_loss"),
        ("contrast/modes.py", "from . import losses"),
        ("contrast/modes.py", "from sepico_pl.types import IGNORE_INDEX"),
        ("contrast/modes.py", "from ..types import IGNORE_INDEX"),
        ("contrast/modes.py", "from sepico_pl import __version__"),
        ("contrast/modes.py", "from torch.nn import functional"),
        ("model/heads.py", "import pytorch_lightning as pl"),
        ("module.py", "from sepico_pl.contrast import modes"),
        ("module.py", "from sepico_pl.task import Segmentation"),
        ("training.py", "from sepico_pl.callbacks import Pictures"),
        ("train.py", "from sepico_pl.runner import run"),
    ],
)
def test_an_allowed_import_passes(tmp_path: Path, file: str, statement: str) -> None:
    assert violations(fake_package(tmp_path, file, statement)) == []


def fake_package(folder: Path, file: str, statement: str) -> Path:
    """Write a package with the rooms of the real one, all empty but `file`; return its folder."""
    source = folder / PACKAGE
    modules = [
        "types",
        "metrics",
        "optim",
        "task",
        "module",
        "callbacks",
        "assembly",
        "training",
        "runner",
        "train",
    ]
    rooms = ["data/classes", "augment/geometry", "model/heads", "contrast/losses", "adapt/teacher"]
    for name in [*modules, *rooms]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / f"{name}.py").touch()
    (source / file).write_text(statement + "\n")
    return source
