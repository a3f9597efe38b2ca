"""The trainer of a run, as configured."""

from pathlib import Path

import pytest
import torch
from command_line import configured
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import LearningRateMonitor

from sepico_pl.boards import Scoreboard
from sepico_pl.callbacks import SelfSufficientCheckpoint, StopOnNonFinite, Throughput
from sepico_pl.keeping import KeepCheckpoints, WholeCheckpoints
from sepico_pl.loggers import CSVMetrics
from sepico_pl.pictures import PicturePanel
from sepico_pl.training import build_trainer
from sepico_pl.types import InputError

ALWAYS = {StopOnNonFinite, SelfSufficientCheckpoint, KeepCheckpoints}
LOGGED = {LearningRateMonitor, Throughput, Scoreboard}


def trainer(folder: Path, *overrides: str) -> Trainer:
    return build_trainer(configured("trainer.enable_progress_bar=false", *overrides), folder)


def attending(built: Trainer) -> set[type]:
    return {type(callback) for callback in built.callbacks}


@pytest.mark.parametrize(("steps", "judged", "logged"), [(600, 100, 10), (50, 50, 10), (3, 3, 3)])
def test_short_runs_are_judged_and_logged_at_their_end(
    tmp_path: Path, steps: int, judged: int, logged: int
) -> None:
    built = trainer(tmp_path, f"trainer.max_steps={steps}", "logger=none")
    assert (built.max_steps, built.limit_train_batches) == (steps, steps)
    assert (built.val_check_interval, built.log_every_n_steps) == (judged, logged)


def test_what_attends_a_run(tmp_path: Path) -> None:
    built = trainer(tmp_path, "logger=csv", "pictures=5", "resume=abc")
    assert attending(built) >= ALWAYS | LOGGED | {PicturePanel}
    (logger,) = built.loggers
    assert isinstance(logger, CSVMetrics)
    assert logger.path == tmp_path / "metrics.csv"
    assert Path(built.default_root_dir) == tmp_path
    assert isinstance(built.strategy.checkpoint_io, WholeCheckpoints)
    checkpoint: dict = {}
    (writer,) = (one for one in built.callbacks if isinstance(one, SelfSufficientCheckpoint))
    writer.on_save_checkpoint(built, None, checkpoint)
    assert checkpoint["config"]["resume"] is None
    assert checkpoint["config"]["pictures"] == 5
    (panel,) = (one for one in built.callbacks if isinstance(one, PicturePanel))
    assert (panel.folder, panel.count) == (tmp_path / "pictures", 5)


def test_without_logger_and_pictures_nobody_attends_for_them(tmp_path: Path) -> None:
    built = trainer(tmp_path, "logger=none", "pictures=0")
    assert built.loggers == []
    assert attending(built) >= ALWAYS
    assert not attending(built) & (LOGGED | {PicturePanel})
    assert built.checkpoint_callback is None


def test_what_lightning_refuses_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^pytorch_lightning\.Trainer: .*devices=0"):
        trainer(tmp_path, "logger=none", "trainer.devices=0")


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("before", [True, False])
def test_a_job_is_as_deterministic_as_it_asks_whatever_the_one_before_was(
    tmp_path: Path, before: bool, asked: bool
) -> None:
    was = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(before)
    try:
        trainer(tmp_path, "logger=none", "pictures=0", f"trainer.deterministic={asked}")
        assert torch.are_deterministic_algorithms_enabled() is asked
    finally:
        torch.use_deterministic_algorithms(was)
