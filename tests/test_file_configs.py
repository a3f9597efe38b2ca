"""Configurations in files: whatever they hold, nothing off the list is called, read or fetched."""

import contextlib
import copy
import json
from pathlib import Path

import pytest
import torch
from command_line import TINY, call
from hostile_cases import checkpoint
from hostile_configs import ATTEMPTS, SYSTEM, Change, put
from PIL import Image

import sepico_pl
from sepico_pl import SegmentationModel, checkpoints
from sepico_pl.plain_data import check_file_config, check_recorded_targets
from sepico_pl.types import InputError


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Return the content of a good checkpoint."""
    return torch.load(checkpoint(tmp_path_factory.mktemp("trained")), weights_only=True)


@pytest.fixture
def spoilt(
    trained: dict, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Return a checkpoint after a change to its configuration, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    content = {**trained, "config": copy.deepcopy(trained["config"])}
    request.param(content["config"])
    torch.save(content, tmp_path / "bad.ckpt")
    return tmp_path / "bad.ckpt"


@pytest.mark.parametrize("spoilt", ATTEMPTS.values(), ids=ATTEMPTS.keys(), indirect=True)
def test_a_checkpoint_calls_nothing_off_the_list(spoilt: Path) -> None:
    with pytest.raises(InputError, match=r"bad\.ckpt|is not on offer|never fetched") as whole:
        checkpoints.load(spoilt)
    assert "\n" not in str(whole.value)
    with contextlib.suppress(InputError):  # optimizer and method are no parts of a network
        sepico_pl.load(spoilt, device="cpu", batch_norm="running")
    assert [path.name for path in spoilt.parent.iterdir()] == ["bad.ckpt"]


@pytest.mark.parametrize("program", ["evaluate", "predict", "export", "embeddings", "resume"])
@pytest.mark.slow
@pytest.mark.parametrize("name", ["interpolation that makes a node", "nested", "hub"])
def test_no_program_does(
    trained: dict, program: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = {**trained, "config": copy.deepcopy(trained["config"])}
    ATTEMPTS[name](content["config"])
    torch.save(content, tmp_path / "bad.ckpt")
    (tmp_path / "photographs").mkdir()
    Image.new("RGB", (64, 32)).save(tmp_path / "photographs/a.png")
    words = {
        "evaluate": ["checkpoint=bad.ckpt", "accelerator=cpu"],
        "predict": ["checkpoint=bad.ckpt", "images=photographs", "output=out"],
        "export": ["checkpoint=bad.ckpt", "output=out"],
        "embeddings": ["checkpoint=bad.ckpt"],
        "resume": ["resume=bad.ckpt", "hydra.run.dir=run", *TINY],
    }[program]
    error = call(monkeypatch, tmp_path, "train" if program == "resume" else program, *words)
    assert error.startswith("error: "), error
    assert len(error.splitlines()) == 1
    assert not list(tmp_path.rglob("pwned"))


def test_a_secret_of_the_environment_does_not_leave(
    trained: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    model = sepico_pl.load(_saved(trained, tmp_path), device="cpu", batch_norm="running")
    model.save_pretrained(tmp_path / "model")
    path = tmp_path / "model/config.json"
    config = json.loads(path.read_text())
    config["class_names"][0] = "${oc.env:SECRET_TOKEN}"
    path.write_text(json.dumps(config))
    for load in (sepico_pl.load, SegmentationModel.from_pretrained):
        with pytest.raises(InputError, match="interpolation") as caught:
            load(tmp_path / "model")
        assert "hunter2" not in str(caught.value)


def _saved(content: dict, folder: Path) -> Path:
    torch.save(content, folder / "good.ckpt")
    return folder / "good.ckpt"


@pytest.mark.parametrize(
    "config",
    ["{", "[]", "null", "5", '{"backbone": 5}', "[" * 5000 + "]" * 5000, '{"backbone": {}}', ""],
    ids=lambda text: text[:20],
)
def test_a_hostile_config_json_is_one_line(trained: dict, config: str, tmp_path: Path) -> None:
    model = sepico_pl.load(_saved(trained, tmp_path), device="cpu", batch_norm="running")
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "model/config.json").write_text(config)
    for load in (sepico_pl.load, SegmentationModel.from_pretrained):
        with pytest.raises(InputError) as caught:
            load(tmp_path / "model")
        assert "\n" not in str(caught.value)
        assert "config.json" in str(caught.value)


def test_an_honest_configuration_passes(trained: dict) -> None:
    config = trained["config"]
    assert check_file_config(config, "x") is config
    check_recorded_targets(config, config["trainer"].keys(), "x")
    check_file_config({"dataset": {"ids": {0: "road", 255: "sky"}, "x": (1, 2.5, None, True)}}, "x")


@pytest.mark.parametrize(
    "change",
    [
        put("logger", {"x": {"_target_": "pytorch_lightning.loggers.CSVLogger", "save_dir": "/"}}),
        put("logger", {"x": SYSTEM}),
        put("logger", {"x": "csv"}),
        put("trainer", SYSTEM),
        put("trainer", "x"),
    ],
)
def test_a_record_may_choose_our_own_loggers_alone(trained: dict, change: Change) -> None:
    config = copy.deepcopy(trained["config"])
    change(config)
    with pytest.raises(InputError, match="which a file may not choose"):
        check_recorded_targets(config, {"_target_"}, "run.json")
