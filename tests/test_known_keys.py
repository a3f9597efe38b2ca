"""Keys and options that do not exist, and what is wrong at first sight, before any import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from sepico_pl.cli import find_conf
from sepico_pl.first_look import MOST_DEVICES, known_keys, may_have_gpu, refused_at_first_sight
from sepico_pl.known_keys import default_keys, nearest_key, plain, refused_key
from sepico_pl.limits import DEVICE_COUNT

HAS_NO_GPU = not may_have_gpu()


@pytest.fixture(scope="module")
def known() -> dict:
    return default_keys(find_conf(), "config")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("lr", "optim.learning_rate"),
        ("optim.lr", "optim.learning_rate"),
        ("learning_rat", "optim.learning_rate"),
        ("trainer.max_step", "trainer.max_steps"),
        ("model.dropout", "head.decode.dropout"),
        ("batchsize", "data.batch_size"),
        ("data.worker", "data.workers"),
        ("zzz", None),
    ],
)
def test_the_nearest_key(known: dict, typed: str, meant: str | None) -> None:
    assert nearest_key(typed, known) == meant


def test_what_nothing_reads_is_refused(known: dict) -> None:
    assert refused_key(known, known) is None
    assert refused_key({**known, "lr": 0.1}, known) == (
        "lr: there is no such key; did you mean optim.learning_rate?"
    )
    assert "model.dropout" in str(refused_key({**known, "model": {"dropout": 0.5}}, known))
    paths = {**known["paths"], "mine": "/data"}
    said = str(refused_key({**known, "paths": paths}, known))
    assert said.startswith("paths.mine: there is no such key; there are paths.gta, paths.")


def test_what_is_read_is_not_refused(known: dict) -> None:
    """A key that another one refers to; a logger's name; arguments that a `_target_` takes."""
    referred = {**known, "root": "/data", "name": "${root}/x"}
    assert refused_key(referred, known) is None
    assert refused_key({**known, "logger": {"mine": {"_target_": "a.b"}}}, known) is None
    assert (
        refused_key({**known, "trainer": {**known["trainer"], "detect_anomaly": True}}, known)
        is None
    )


def test_references_from_hydras_keys_and_to_groups_count(known: dict) -> None:
    tagged = {**known, "tag": "abc"}
    assert refused_key(tagged, known, {"run": {"dir": "outputs/${tag}"}}) is None
    assert "tag: there is no such key" in str(refused_key(tagged, known, {"run": {"dir": "tag"}}))
    whole = {**known, "mine": {"a": 1}, "name": "${mine}"}
    assert refused_key(whole, known) is None


def look(**config: object) -> str | None:
    return refused_at_first_sight(OmegaConf.create(config))


def test_a_checkpoint_at_first_sight(tmp_path: Path) -> None:
    run, text, archive = tmp_path / "run", tmp_path / "a.ckpt", tmp_path / "b.ckpt"
    (run / "checkpoints").mkdir(parents=True)
    text.write_text("hello")
    archive.write_bytes(b"PK\x03\x04...")
    for key in ("checkpoint", "start"):
        assert look(**{key: str(run)}) == (
            f"{key}={run}: a run folder; give one of its checkpoints: {run / 'last.ckpt'}"
        )
        assert "cannot be read" in str(look(**{key: str(text)}))
        assert look(**{key: str(archive)}) is None
        assert look(**{key: "gone.ckpt"}) == f"{key}=gone.ckpt: there is no such file"
        assert look(**{key: None}) is None
    empty, exported = tmp_path / "empty", tmp_path / "exported"
    empty.mkdir()
    assert "a folder without config.json" in str(look(checkpoint=str(empty)))
    exported.mkdir()
    (exported / "config.json").write_text("{}")
    assert look(checkpoint=str(exported)) is None


def test_paths_at_first_sight(tmp_path: Path) -> None:
    assert "images=gone: there is no such file or folder" in str(look(images="gone"))
    assert look(images=str(tmp_path / "*.png")) is None  # a pattern is looked through later
    assert look(images=str(tmp_path)) is None
    assert look(statistics="gone") == "statistics=gone: there is no such folder"
    assert look(backbone={"weights": "a.pth"}) == "backbone.weights=a.pth: there is no such file"
    assert look(backbone={"weights": "imagenet"}) is None
    folders = {"source_images": str(tmp_path), "source_labels": "gone", "classes": ["a"]}
    said = "dataset.source_labels=gone: there is no such folder; name the one that holds them"
    assert look(dataset=folders) == said
    assert look(dataset=folders, resume="last") is None  # the record says where they are
    goes_on = {"resume": "auto", "start": "gone.ckpt", "backbone": {"weights": "gone.pth"}}
    assert look(**goes_on) is None  # it reads neither
    assert look(checkpoint="~nobody_of_this_name/a.ckpt") is not None
    prepared = OmegaConf.create({"dataset": folders})
    assert refused_at_first_sight(prepared, reads_data=False) is None


def test_devices_have_one_limit() -> None:
    assert DEVICE_COUNT.high == MOST_DEVICES
    assert look(devices=MOST_DEVICES) is None
    assert f"<= {MOST_DEVICES}" in str(look(devices=MOST_DEVICES + 1))


def test_a_gpu_at_first_sight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    asked = OmegaConf.create({"trainer": {"accelerator": "gpu"}})
    assert refused_at_first_sight(asked, tmp_path) == (
        "trainer.accelerator=gpu: there is no GPU here; choose auto or cpu"
    )
    assert refused_at_first_sight(OmegaConf.create({"accelerator": "auto"}), tmp_path) is None
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidia0").touch()
    assert refused_at_first_sight(asked, tmp_path) is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "no GPU" in str(refused_at_first_sight(asked, tmp_path))


@pytest.mark.parametrize("number", [0, -1, "two", 1.5, True, "", 1025])
def test_a_number_of_devices_that_cannot_be(number: object) -> None:
    assert look(devices=number) == f"devices={number} must be a positive integer <= 1024"


def test_more_gpus_than_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def said(number: int) -> str | None:
        asked = OmegaConf.create({"accelerator": "gpu", "devices": number})
        return refused_at_first_sight(asked, tmp_path)

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "dev").mkdir()
    for name in ("nvidia0", "nvidia1", "nvidiactl"):
        (tmp_path / "dev" / name).touch()
    assert said(2) is None
    assert said(3) == "devices=3: GPUs here: 2; choose as many or fewer"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert said(1) is None
    assert said(2) == "devices=2: GPUs here: 1; choose as many or fewer"
    assert look(accelerator="cpu", devices=3) is None


def test_what_must_be_set(tmp_path: Path) -> None:
    config = OmegaConf.create({"output": "???", "resume": None})
    assert refused_at_first_sight(config) == "output is not set: give it as output=<value>"
    config.resume = "last"  # the record says it
    assert refused_at_first_sight(config) is None
    paths = {"gta": str(tmp_path / "gta"), "acdc": str(tmp_path / "acdc")}
    config = OmegaConf.create({"paths": paths, "dataset": {"source": {"root": "${paths.gta}"}}})
    assert f"{tmp_path}/gta: there is no such folder for gta" in str(refused_at_first_sight(config))
    (tmp_path / "gta").mkdir()
    assert refused_at_first_sight(config) is None


ENDINGS = [
    ("train", ["lr=0.1"], "lr: there is no such key; did you mean optim.learning_rate?"),
    ("train", ["+lr=0.1"], "lr: there is no such key; did you mean optim.learning_rate?"),
    ("predict", ["checkpoint=a", "images=b", "output=c", "+tta=true"], "tta: there is no such key"),
    (
        "evaluate",
        ["checkpoint=a", "+dataset.target_val_images=x"],
        "dataset.target_val_images: there is no such key",
    ),
    ("train", ["contrast=prototyp"], "did you mean prototype? There are: bank, distribution, none"),
    ("train", ["dataset=gta"], "gta: there is no such folder for gta; set paths.gta=<folder>"),
    ("evaluate", ["checkpoint=text.ckpt"], "checkpoint=text.ckpt: cannot be read as a checkpoint"),
    ("evaluate", ["checkpoint=run"], "checkpoint=run: a run folder; give one of its checkpoints"),
]
if HAS_NO_GPU:
    ENDINGS.append(("train", ["trainer.accelerator=gpu"], "there is no GPU here"))


TARGETS = [
    ("config", ["dataset=benchmark", "source=gta", "target=acdc"]),
    ("config", ["dataset=gta", "target=acdc"]),
    ("prepare", ["dataset=benchmark", "source=gta", "target=acdc"]),
    ("evaluate", ["checkpoint=a", "target=acdc"]),
    ("submit", ["checkpoint=a", "output=b", "target=acdc"]),
]


@pytest.mark.parametrize(("name", "words"), TARGETS)
def test_a_target_that_is_typed_is_known(name: str, words: list[str]) -> None:
    with initialize_config_dir(find_conf(), version_base="1.3"):
        config = plain(compose(name, words))
        untyped, _ = known_keys(name, words)
        assert refused_key(config, untyped) is None
        assert "lr: there" in str(refused_key({**config, "lr": 1}, untyped))


@pytest.mark.parametrize(("module", "words", "said"), ENDINGS)
def test_it_ends_before_torch_is_imported(
    tmp_path: Path, module: str, words: list[str], said: str
) -> None:
    (tmp_path / "text.ckpt").write_text("hello")
    (tmp_path / "run/checkpoints").mkdir(parents=True)
    before = set(tmp_path.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", f"sepico_pl.{module}", *words],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "SEPICO_DATA"},
        capture_output=True,
        text=True,
        check=False,
    )
    imports = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    others = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert done.returncode == 1
    assert len(others) == 1
    assert others[0].startswith("error: ")
    assert said in others[0]
    assert "+lr" not in others[0]
    names = {line.rpartition("|")[2].strip() for line in imports}
    assert "hydra" in names
    assert not names & {"torch", "pytorch_lightning", "albumentations"}
    assert set(tmp_path.rglob("*")) == before
