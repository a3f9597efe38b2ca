"""The configured experiments: each composes, and builds what its name says."""

from pathlib import Path

import pytest
import torch
from command_line import CONF, call, configured
from hydra import compose, initialize_config_dir

from sepico_pl.assembly import (
    build_data,
    build_task,
    check_config,
    without_downloads,
)
from sepico_pl.contrast.modes import BankContrast, DistributionContrast, PrototypeContrast
from sepico_pl.module import SePiCo, SourceOnly

METHODS = {
    "prototype": PrototypeContrast,
    "bank": BankContrast,
    "distribution": DistributionContrast,
    "self_training": None,
    "source_only": None,
}
# METHOD.md and docs/experiments.md: single runs of the official code.
PUBLISHED = {
    "gta_deeplabv2": (58.8, 59.8, 61.0),
    "gta_daformer": (68.5, 68.7, 70.3),
    "synthia_deeplabv2": (56.8, 57.4, 58.1),
    "synthia_daformer": (62.9, 63.3, 64.3),
    "dark_zurich_deeplabv2": (42.6, 44.1, 45.4),
    "dark_zurich_daformer": (52.7, 53.3, 54.2),
}
EXPERIMENTS = [f"{row}_{method}" for row in PUBLISHED for method in METHODS]


def test_there_are_eighteen_and_their_baselines() -> None:
    files = {path.stem for path in (CONF / "experiment").glob("*.yaml")} - {"paper"}
    assert files == set(EXPERIMENTS)
    assert len(EXPERIMENTS) == 18 + 12


@pytest.fixture
def _no_random_filling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Filling the large networks takes most of the time; what is in them does not matter here."""
    for name in ("uniform_", "normal_", "erfinv_"):
        monkeypatch.setattr(torch.Tensor, name, lambda self, *args, **settings: self)


@pytest.mark.usefixtures("_no_random_filling")
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_is_what_its_name_says(name: str) -> None:
    plain = configured(f"experiment={name}")
    check_config(plain)
    night = name.startswith("dark_zurich")
    data = build_data(plain)
    task = build_task(without_downloads(plain), data.pair)
    method = name.removeprefix("dark_").split("_", 2)[2]
    assert type(task) is (SourceOnly if method == "source_only" else SePiCo)
    contrast = getattr(task, "contrast", None)
    if METHODS[method] is None:
        assert contrast is None
    else:
        assert [type(stage) for stage in contrast.stages] == [METHODS[method]]
        assert contrast.stages[0].temperature == 100
        assert contrast.stages[0].diversity_weight == 1
    assert plain["name"] == name
    assert plain["seed"] == (42 if night else 76)
    assert plain["trainer"]["max_steps"] == (60_000 if night else 40_000)
    assert plain["keep"]["every"] == 1000
    assert (plain["optim"]["learning_rate"], plain["optim"]["warmup_steps"]) == (6e-5, 1500)
    assert plain["backbone"]["weights"] == "imagenet"
    assert data.crop_size == [640, 640]
    assert data.source_size == [{"g": 720, "s": 760, "d": 640}[name[0]], 1280]
    assert data.target_size == [720 if night else 640, 1280]
    assert (data.batch_size, data.rare_class_temperature, data.rare_class_pixels) == (2, 0.01, 3000)
    assert (task.class_weights is not None) == night
    if method != "source_only":
        rows = task.ignored_rows
        assert (rows.top, rows.bottom) == ((0, 0) if night else (15, 120))
        assert plain["adapt"]["teacher_decay"] == 0.999
        assert plain["adapt"]["confidence_threshold"] == 0.968
        assert ("DayNightVote" in plain["vote"]["_target_"]) == night


def test_the_table_says_what_each_stands_for() -> None:
    lines = (CONF.parent / "docs" / "experiments.md").read_text().splitlines()
    rows = {line.split("`")[1]: line for line in lines if line.startswith(("| `g", "| `s", "| `d"))}
    assert set(rows) == set(EXPERIMENTS)
    for row, numbers in PUBLISHED.items():
        for method, number in zip(METHODS, numbers, strict=False):
            assert f"| {number:.1f} |" in rows[f"{row}_{method}"]
    assert all(line.endswith("| not measured by us |") for line in rows.values())


def test_an_experiment_without_its_data_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = call(monkeypatch, tmp_path, "train", "experiment=gta_deeplabv2_bank")
    assert "data/gta" in error
    assert "SEPICO_DATA" in error
    assert error.count("\n") == 0


def test_the_cluster_launcher_composes() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", ["hydra/launcher=cluster"], return_hydra_config=True)
    launcher = config.hydra.launcher
    assert launcher._target_.endswith("SlurmLauncher")
    assert launcher.max_num_timeout == 20
