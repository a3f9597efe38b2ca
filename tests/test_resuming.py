"""What a command line with resume= stands for."""

import json
import os
from pathlib import Path

import pytest
from command_line import CONF
from hydra import compose, initialize_config_dir

from sepico_pl.resuming import launched_as, newest_checkpoint, value_of, whole_command


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a run with two checkpoints, one of them of more steps."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RANK", raising=False)
    folder = tmp_path / "outputs/it's a run/1"
    (folder / "checkpoints").mkdir(parents=True)
    for step in (900, 1000):
        (folder / f"checkpoints/step_{step:08}.ckpt").touch()
    (folder / "checkpoints/step_00001100.ckpt.partial").touch()
    record = {
        "overrides": ["contrast=bank", "+x=1", "+hydra.callbacks.x._target_=os.system"],
        "options": ["--config-dir", "/mine", "hydra.sweep.dir=/elsewhere"],
        "choices": {
            "contrast": "bank",
            "logger": ["csv", "wandb"],
            "adapt": "../../mine",
            "experiment": None,
            "hydra/launcher": "joblib",
            "hydra.callbacks.x._target_": "os",
            "elsewhere": "x",
            "--experimental-rerun=x": [],
            "dataset": [],
            "": "evaluate",
            "head": ["light", "../evil"],
            "hydra": "launcher",
        },
    }
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def test_of_a_record_only_the_options_that_conf_has_become_words(run: Path) -> None:
    words = whole_command(["resume=last", "x=2", "data.workers=4"])
    assert words[:2] == ["contrast=bank", "logger=[csv,wandb]"]
    assert words[2].startswith("resume='")
    assert words[2].endswith("it\\'s a run/1/checkpoints/step_00001000.ckpt'")
    assert words[3] == f"hydra.run.dir='{str(run).replace(chr(39), chr(92) + chr(39))}'"
    assert words[4:] == ["x=2", "data.workers=4"]


def test_a_record_of_an_earlier_version_names_its_options_among_its_words(run: Path) -> None:
    record = {
        "overrides": ["contrast=bank", "+x=1", "logger=[wandb,csv]", "adapt=mine", "hydra.mode=RUN"]
    }
    (run / "run.json").write_text(json.dumps(record))
    assert whole_command(["resume=last"])[:2] == ["contrast=bank", "logger=[wandb,csv]"]
    assert len(whole_command(["resume=last"])) == 4


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"choices": 5, "overrides": 7}'])
def test_a_damaged_record_does_not_keep_a_checkpoint_from_going_on(run: Path, content: str) -> None:
    (run / "run.json").write_text(content)
    words = whole_command(["resume=last"])
    assert [word.partition("=")[0] for word in words] == ["resume", "hydra.run.dir"]


def test_a_run_that_ended_before_its_first_checkpoint_begins_again(run: Path) -> None:
    for path in (run / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(SystemExit, match="there is no checkpoint"):
        whole_command(["resume=last"])
    (run / "run.json").write_text(json.dumps({"config": {}, "choices": {"contrast": "bank"}}))
    assert whole_command(["resume=last"])[:2] == ["contrast=bank", "resume='auto'"]


def test_a_younger_run_without_a_checkpoint_is_named_and_not_taken(
    run: Path, capsys: pytest.CaptureFixture
) -> None:
    """It may have been refused, by a word that nothing takes."""
    newer = run.parent / "2"
    newer.mkdir()
    (newer / "run.json").write_text(json.dumps({"config": {}}))
    later = (run / "run.json").stat().st_mtime + 9
    os.utime(newer / "run.json", (later, later))
    assert "step_00001000.ckpt" in "".join(whole_command(["resume=last"]))
    assert f"{newer} began later and has no checkpoint" in capsys.readouterr().out
    for path in (run / "checkpoints").iterdir():
        path.unlink()
    assert "/2'" in "".join(whole_command(["resume=last"]))


def test_a_folder_in_place_of_a_checkpoint(run: Path) -> None:
    with pytest.raises(SystemExit, match=r"give resume=last hydra\.run\.dir="):
        whole_command([f"resume='{run.parent}'"])


def test_the_end_is_newer_than_any_step(run: Path) -> None:
    assert newest_checkpoint(run).name == "step_00001000.ckpt"
    (run / "last.ckpt").touch()
    assert newest_checkpoint(run).name == "last.ckpt"


def test_a_file_names_its_run_and_best_is_not_the_newest(run: Path) -> None:
    (run / "checkpoints/best.ckpt").touch()
    words = whole_command([f"resume={run}/checkpoints/best.ckpt"])
    assert words[2].endswith("best.ckpt'")
    assert newest_checkpoint(run).name == "step_00001000.ckpt"


def test_auto_begins_where_nothing_is(run: Path) -> None:
    words = ["resume=auto", "hydra.run.dir=elsewhere", "seed=2"]
    assert whole_command(words) == words


def test_what_is_not_resumed_stays_as_typed(run: Path) -> None:
    for words in (["seed=2"], ["resume=null", "seed=2"], ["-m", "resume=auto", "seed=1,2"]):
        assert whole_command(words) == words
    with pytest.raises(SystemExit, match="holds a run already"):
        whole_command([f"hydra.run.dir={run}"])


def test_a_name_that_would_be_resolved_is_refused(run: Path) -> None:
    odd = run.parent / "${oc.env:HOME}"
    run.rename(odd)
    with pytest.raises(SystemExit, match="rename it"):
        whole_command(["resume=last"])


def test_what_shows_something_takes_no_folder(run: Path) -> None:
    for word in ("--cfg=job", "--help", "-c"):
        whole_command([word, "hydra.run.dir=elsewhere"])
    whole_command(["seed=1", "hydra.run.dir='outputs/x_${seed}'"])
    assert not list(run.parents[2].rglob("run.lock"))


def test_each_of_several_processes_needs_the_same_folder(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit, match=r"hydra\.run\.dir=<folder>"):
        whole_command(["seed=2"])
    words = ["seed=2", f"hydra.run.dir={run}"]
    assert whole_command(words) == words  # the first rank looks whether it is taken
    assert launched_as({"SLURM_PROCID": "3", "SLURM_NTASKS": "8"}) == (3, 8)


def test_values_are_found_as_hydra_reads_them() -> None:
    assert value_of(["+resume='a b.ckpt'"], "resume") == "a b.ckpt"
    assert value_of(["resume=a", "resume=b"], "resume") == "b"
    assert value_of(["resume=", "x=1"], "resume") is None


def test_what_does_not_shape_a_run_does_not_name_its_folder() -> None:
    """So that resume=auto finds the folders of a multirun that was begun without it."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        words = ["seed=3", "logger=wandb", "resume=auto", "pictures=0", "contrast=bank"]
        config = compose("config", words, return_hydra_config=True)
    assert config.hydra.job.override_dirname == "contrast-bank_seed-3"
