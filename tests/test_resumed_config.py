"""The configuration of a resumed run: what was recorded, and what is typed now."""

import json
import os
import platform
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from command_line import TINY, call
from hydra.core.hydra_config import HydraConfig

from sepico_pl.plain_data import check_recorded_targets
from sepico_pl.resumed_config import (
    leaves,
    merged,
    overridden_by,
    recorded_and_typed,
    refuse_requests,
    resolved,
)
from sepico_pl.types import InputError

CSV, WANDB = {"csv": {"_target_": "c"}}, {"wandb": {"_target_": "w", "name": "${name}_${seed}"}}
RECORDED = {
    "name": "mine",
    "seed": 5,
    "data_root": "/m1",
    "paths": {"gta": "/m1/gta", "other": "/own"},
    "dataset": {"root": "/m1/gta"},
    "data": {"workers": 4},
    "logger": {"csv": {"_target_": "c"}},
    "checked": "/evil",
    "resume": None,
}
CONF = {
    "name": "${seed}_default",
    "seed": 1,
    "data_root": "/elsewhere",
    "paths": {"gta": "${data_root}/gta", "other": "${data_root}/other"},
    "dataset": {"root": "${paths.gta}"},
    "data": {"workers": 0},
    "logger": CSV,
    "checked": "/mine",
    "resume": "x",
}


def going_on(typed: list[str], now: dict | None = None) -> dict:
    """Merge RECORDED with words, where conf/ is CONF, and with them `now`."""
    now = CONF | (now or {})
    with pytest.MonkeyPatch.context() as patch:
        choices = SimpleNamespace(
            runtime=SimpleNamespace(choices={"logger": "csv", "trainer": "x"})
        )
        patch.setattr(HydraConfig, "get", lambda: choices)
        overridden = overridden_by(typed, CONF, now)
    return resolved(merged(leaves(RECORDED), CONF, now, overridden))


def test_what_is_not_typed_stays_as_recorded() -> None:
    assert going_on([]) == {**RECORDED, "checked": "/mine", "resume": "x"}


def test_what_is_typed_counts_also_where_it_is_the_default() -> None:
    merged = going_on(["data.workers=0"])
    assert merged["data"] == {"workers": 0}
    assert merged["seed"] == 5


def test_what_follows_from_what_is_typed_follows() -> None:
    merged = going_on(["data_root=/m2"], {"data_root": "/m2"})
    assert merged["paths"] == {"gta": "/m2/gta", "other": "/own"}
    assert merged["dataset"] == {"root": "/m2/gta"}
    paths = CONF["paths"] | {"gta": "/new"}
    merged = going_on(["paths.gta=/new"], {"paths": paths})
    assert (merged["dataset"], merged["data_root"]) == ({"root": "/new"}, "/m1")
    assert going_on(["seed=6"], {"seed": 6})["name"] == "mine"


def test_a_typed_logger_takes_the_place_of_all_and_knows_the_recorded_name() -> None:
    merged = going_on(["logger=wandb"], {"logger": WANDB})
    assert merged["logger"] == {"wandb": {"_target_": "w", "name": "mine_5"}}
    assert going_on(["logger=none"], {"logger": {}})["logger"] == {}
    assert going_on(["logger=csv"])["logger"] == CSV


def test_words_before_resume_were_recorded() -> None:
    words = ["contrast=bank", "resume='x'", "data.workers=2"]
    assert recorded_and_typed(words) == (["contrast=bank"], ["data.workers=2"])


@pytest.mark.parametrize(
    ("trainer", "said"),
    [
        ({"profiler": "simple"}, "sets trainer.profiler"),
        ({"devices": 10**3}, "asks for 1000 processes"),
        ({"devices": "1000"}, "asks for 1000 processes"),
        ({"devices": list(range(10**3))}, "asks for 1000 processes"),
    ],
)
def test_a_recorded_trainer_is_no_more_than_a_trainer(trainer: dict, said: str) -> None:
    config = {"trainer": {"_target_": "pytorch_lightning.Trainer", **trainer}, "logger": {}}
    with pytest.raises(InputError, match=said):
        check_recorded_targets(config, {"_target_", "devices"}, "run.json")


def test_a_run_of_another_machine_asks_the_network_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    weights = {"backbone": {"weights": "imagenet"}, "logger": {}}
    wandb = {"logger": {"wandb": {"_target_": "sepico_pl.loggers.wandb_logger"}}}
    (tmp_path / "run.json").write_text(json.dumps({"host": platform.node()}))
    refuse_requests(weights | wandb, tmp_path)
    assert "WANDB_MODE" not in os.environ
    (tmp_path / "run.json").write_text(json.dumps({"host": "another"}))
    with pytest.raises(InputError, match=r"type backbone\.weights=imagenet again"):
        refuse_requests(weights, tmp_path)
    refuse_requests(wandb, tmp_path)
    assert os.environ["WANDB_MODE"] == "offline"
    assert "logger=wandb goes online" in capsys.readouterr().out
    refuse_requests({}, tmp_path)


@pytest.mark.slow
def test_a_run_folder_of_a_stranger_runs_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its words are not read, its configuration is data, and its files are written nowhere else."""
    words = [*TINY, "hydra.run.dir=run", "keep.every=1"]
    assert call(monkeypatch, tmp_path, "train", *words) == ""
    (tmp_path / "run/last.ckpt").unlink()
    path = tmp_path / "run/run.json"
    record = json.loads(path.read_text())
    assert "hydra.run.dir=run" in record["options"]
    evil = "+hydra.callbacks.x={_target_:os.system,command:'touch pwned'}"
    record["overrides"] += [evil, "checked=stolen.jsonl"]
    record["options"] += [evil, "--config-dir", "/evil"]
    record["choices"] |= {"contrast": "../../evil", "--experimental-rerun=x": [], "hydra": "x"}
    record["config"] |= {
        "checked": str(tmp_path / "stolen.jsonl"),
        "optim": {"_target_": "os.system"},
    }
    path.write_text(json.dumps(record))
    assert call(monkeypatch, tmp_path, "train", "resume=last", "hydra.run.dir=run") == ""
    assert not list(tmp_path.rglob("pwned"))
    assert not list(tmp_path.rglob("stolen*"))
    assert (tmp_path / "run/last.ckpt").is_file()


@pytest.mark.slow
def test_without_a_checkpoint_a_run_begins_again_as_recorded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From another working directory, with what is typed now; a hostile record is one line."""
    words = [*TINY, "seed=3", "contrast=bank", "contrast.length=7", "hydra.run.dir=run"]
    assert call(monkeypatch, tmp_path, "train", *words) == ""
    first = torch.load(tmp_path / "run/last.ckpt", weights_only=True)
    for name in ("run/last.ckpt", "run/scores.json", "run/checkpoints/best.ckpt"):
        (tmp_path / name).unlink(missing_ok=True)
    record = (tmp_path / "run/run.json").read_text()
    (tmp_path / "elsewhere").mkdir()
    again = ["resume=last", "hydra.run.dir=../run", "keep.last=1"]
    assert call(monkeypatch, tmp_path / "elsewhere", "train", *again) == ""
    second = torch.load(tmp_path / "run/last.ckpt", weights_only=True)
    assert all(
        torch.equal(value, second["state_dict"][name])
        for name, value in first["state_dict"].items()
    )
    assert second["config"]["keep"]["last"] == 1
    assert (
        json.loads((tmp_path / "run/run.json").read_text())["overrides"]
        == json.loads(record)["overrides"]
    )

    (tmp_path / "run/last.ckpt").unlink()
    hostile = json.loads(record)
    hostile["config"]["optim"]["power"] = "${oc.env:HOME}"
    (tmp_path / "run/run.json").write_text(json.dumps(hostile))
    error = call(monkeypatch, tmp_path, "train", "resume=last", "hydra.run.dir=run")
    assert error.startswith("error: ")
    assert "run/run.json: config.optim.power: the interpolation" in error


@pytest.mark.slow
def test_a_damaged_record_is_kept_aside_and_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = [*TINY, "keep.every=1", "logger=none", "hydra.run.dir=run"]
    assert call(monkeypatch, tmp_path, "train", *words) == ""
    (tmp_path / "run/last.ckpt").unlink()
    (tmp_path / "run/run.json").write_text('{"overrides": ["contra')
    assert call(monkeypatch, tmp_path, "train", "resume=last", "hydra.run.dir=run") == ""
    assert (tmp_path / "run/run.damaged.json").read_text() == '{"overrides": ["contra'
    assert json.loads((tmp_path / "run/run.json").read_text())["seed"] == 1
