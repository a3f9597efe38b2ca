"""The configuration of a resumed run: what was recorded, and what is typed now."""

import json
from pathlib import Path

import pytest
import torch
from command_line import TINY, call

from sepico_pl.resumed_config import recorded_and_typed, untyped, with_typed

CSV, WANDB = {"csv": {"_target_": "c"}}, {"wandb": {"_target_": "w", "tags": ["a"]}}
RECORDED = {"a": {"x": 1, "y": 2}, "data": {"workers": 4}, "logger": WANDB, "checked": "/evil"}


def composed(**keys: object) -> dict:
    base = {"a": {"x": 1, "y": 0}, "data": {"workers": 0}, "logger": WANDB}
    return {**base, "checked": "mine", "resume": None, **keys}


def test_what_is_not_typed_stays_as_recorded() -> None:
    merged = with_typed(RECORDED, composed(), composed(resume="x"), [])
    assert merged == {**RECORDED, "checked": "mine", "resume": "x"}
    assert RECORDED["checked"] == "/evil"


def test_what_is_typed_counts_also_where_it_is_the_default() -> None:
    merged = with_typed(RECORDED, composed(), composed(), ["data.workers=0"])
    assert merged["data"] == {"workers": 0}
    assert merged["a"] == {"x": 1, "y": 2}


def test_what_depends_on_what_is_typed_follows() -> None:
    now = composed(root="/new", dataset={"root": "/new/gta"})
    before = composed(root="data", dataset={"root": "data/gta"})
    recorded = {**RECORDED, "root": "data", "dataset": {"root": "/old/data/gta"}}
    merged = with_typed(recorded, before, now, ["root=/new"])
    assert (merged["root"], merged["dataset"]) == ("/new", {"root": "/new/gta"})


def test_another_option_takes_the_place_of_the_recorded_one() -> None:
    merged = with_typed(RECORDED, composed(), composed(logger=CSV), [])
    assert merged["logger"] == CSV
    assert (
        with_typed({**RECORDED, "logger": CSV}, composed(logger=CSV), composed(), [])["logger"]
        == WANDB
    )
    assert with_typed(RECORDED, composed(), composed(logger={}), [])["logger"] == {}
    assert with_typed(RECORDED, composed(), composed(a=None), ["a=null"])["a"] is None


def test_words_before_resume_were_recorded() -> None:
    words = ["contrast=bank", "resume='x'", "data.workers=2"]
    assert recorded_and_typed(words) == (["contrast=bank"], ["data.workers=2"])


def test_what_was_typed_need_not_be_offered_to_a_file() -> None:
    merged = {"trainer": {}, "logger": {**CSV, **WANDB}}
    assert untyped(merged, {"logger": CSV})["logger"] == WANDB


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
    record["choices"] |= {"contrast": "../../evil", "hydra.callbacks": "x"}
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
