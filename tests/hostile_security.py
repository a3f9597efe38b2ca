"""Hostile cases: what a file may ask for; see hostile_cases.py."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from hostile_cases import EVALUATE, STREETS, Case, Prepare, changed, checkpoint
from hostile_configs import ATTEMPTS, SYSTEM, put

PREDICT = ["checkpoint=bad.ckpt", "images=night", "output=out", "accelerator=cpu"]
EXPORTED = ["checkpoint=model", "images=night", "output=out", "accelerator=cpu"]
RESUME = ["resume=last", "hydra.run.dir=run"]
MAKING, HUB = "interpolation that makes a node", "hub"


def spoilt(name: str) -> Prepare:
    """Write a checkpoint whose configuration makes one of the attempts."""
    return changed(lambda content: ATTEMPTS[name](content["config"]))


def exported(key: str, value: object) -> Prepare:
    """Write a model folder with another value in its config.json."""

    def prepare(folder: Path) -> None:
        import sepico_pl

        model = sepico_pl.load(checkpoint(folder), device="cpu", batch_norm="running")
        model.save_pretrained(folder / "model")
        config = json.loads((folder / "model/config.json").read_text())
        put(key, value)(config)
        (folder / "model/config.json").write_text(json.dumps(config))

    return prepare


def recorded(key: str, value: object) -> Prepare:
    """Leave a run that ended before its first checkpoint, with another value in its record."""

    def prepare(folder: Path) -> None:
        config = torch.load(checkpoint(folder), weights_only=True)["config"]
        put(key, value)(config)
        (folder / "run").mkdir()
        (folder / "run/run.json").write_text(json.dumps({"config": config, "choices": {}}))

    return prepare


def cut_record(folder: Path) -> None:
    (folder / "run").mkdir()
    (folder / "run/run.json").write_text('{"overrides": ["contr')


def held(folder: Path) -> None:
    """Let another process hold the folder for as long as the case can take."""
    shutil.rmtree(folder / "run", ignore_errors=True)
    code = (
        "import pathlib, time; from sepico_pl.folder_lock import lock_folder; "
        "lock_folder(pathlib.Path('run')); print('held', flush=True); time.sleep(30)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"


CASES = [
    *(
        Case(f"checkpoint: {name} ({program})", words, ["bad.ckpt", said], spoilt(name), program)
        for name, said in ((MAKING, "interpolation"), ("interpolation of the environment", "interpolation"), ("val_length", "dataset.val_length"), ("target_size", "data.target_size"), ("value of bytes", "bytes where a plain value belongs"))
        for program, words in (("evaluate", EVALUATE), ("predict", PREDICT), ("export", ["checkpoint=bad.ckpt", "output=out"]))
    ),
    Case("checkpoint: hub (evaluate)", EVALUATE, ["backbone.name=tu-hf-hub", "never fetched"], spoilt(HUB), "evaluate"),
    Case("checkpoint: hub (predict)", PREDICT, ["backbone.name=tu-hf-hub", "never fetched"], spoilt(HUB), "predict"),
    Case("checkpoint: a logger that writes (predict)", PREDICT, ["CSVLogger", "not on offer"], spoilt("_target_ of a logger that writes"), "predict"),
    Case("checkpoint: an encoder inside an encoder (predict)", PREDICT, ["backbone.norm._target_", "not on offer"], spoilt("an encoder inside an encoder"), "predict"),
    Case("resume from an interpolation", [*STREETS, "resume=bad.ckpt"], ["bad.ckpt", "interpolation"], spoilt(MAKING)),
    Case("resume from a foreign target, two workers", [*STREETS, "resume=bad.ckpt", "data.workers=2"], ["os.system", "not on offer"], changed(lambda c: put("adapt.crop", SYSTEM)(c["config"]))),
    Case("start from an interpolation", [*STREETS, "start=bad.ckpt"], ["start=", "bad.ckpt", "interpolation"], spoilt(MAKING)),
    Case("export folder: a system call", EXPORTED, ["model", "os.system", "not on offer"], exported("backbone._target_", "os.system"), "predict"),
    Case("export folder: an interpolation", EXPORTED, ["model", "interpolation"], exported("decode.norm", "${oc.env:HOME}"), "predict"),
    Case("export folder: hub", EXPORTED, ["model", "never fetched"], exported("backbone.name", "tu-hf-hub:a/b"), "predict"),
    Case("export folder: input of 10^9", EXPORTED, ["model", "data.target_size"], exported("input_size", [10**9, 10**9]), "predict"),
    Case("run folder: an interpolation", RESUME, ["run.json", "interpolation"], recorded("optim.power", "${oc.env:HOME}")),
    Case("run folder: a system call", RESUME, ["os.system", "not on offer"], recorded("optim", SYSTEM)),
    Case("run folder: a logger of its own", RESUME, ["run.json", "CSVLogger", "may not choose"], recorded("logger.x", {"_target_": "pytorch_lightning.loggers.CSVLogger", "save_dir": "elsewhere"})),
    Case("run folder: sizes of 10^9", RESUME, ["run.json", "dataset.size"], recorded("dataset.size", [10**9, 10**9])),
    Case("run folder: record cut, no checkpoint", RESUME, ["resume=last", "no checkpoint"], cut_record),
    Case("run folder in use", STREETS, ["run is in use by another run (process "], held),
    Case("encoder from the hub", [*STREETS, "backbone.name=tu-hf-hub:timm/resnet18.a1_in1k"], ["backbone.name=", "never fetched"]),
]  # fmt: skip
