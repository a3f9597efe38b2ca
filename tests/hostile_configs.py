"""What a configuration in a file may try: changes to an honest one, by name."""

from collections.abc import Callable

import torch

from sepico_pl.plain_data import MOST_LEVELS

TOUCH = "touch pwned"
SYSTEM = {"_target_": "os.system", "command": TOUCH}
MAKING = "${oc.create:{_target_:os.system,command:touch pwned}}"
Change = Callable[[dict], object]


def put(path: str, value: object) -> Change:
    """Set a dotted key of a configuration."""

    def change(config: dict) -> None:
        *way, last = path.split(".")
        for key in way:
            config = config.setdefault(key, {})
        config[last] = value

    return change


ATTEMPTS: dict[str, Change] = {
    "_target_ of a part": put("optim", SYSTEM),
    "_target_ of the encoder": put("backbone", SYSTEM),
    "_target_ of the data": put("dataset", SYSTEM),
    "_target_ that is a path into a module": put("backbone._target_", "sepico_pl.record.subprocess.run"),
    "_target_ that is private": put("dataset._target_", "sepico_pl.record._git"),
    "_target_ that is a method": put("dataset._target_", "sepico_pl.keeping.WholeCheckpoints.save_checkpoint"),
    "_target_ of Hydra's": put("backbone._target_", "hydra.utils.call"),
    "_target_ of a logger that writes": put("data._target_", "pytorch_lightning.loggers.CSVLogger"),
    "_target_ of our loggers": put("dataset", {"_target_": "sepico_pl.loggers.CSVMetrics", "save_dir": "."}),
    "_target_ in upper case": put("backbone._TARGET_", "os.system"),
    "_target_ that is a list": put("backbone._target_", ["os", "system"]),
    "_target_ with a space": put("backbone._target_", " sepico_pl.model.encoder.SmpEncoder"),
    "nested": put("backbone.norm", SYSTEM),
    "nested in a list": put("data.crop_size", [SYSTEM, 32]),
    "nested where parts are": put("adapt.crop", SYSTEM),
    "nested twice": put("adapt.vote", {"_target_": "sepico_pl.adapt.pseudo_labels.teacher_vote", "_partial_": True, "x": SYSTEM}),
    "an encoder inside an encoder": put("backbone.norm", {"_target_": "sepico_pl.model.encoder.SmpEncoder", "name": "resnet18", "weights": "imagenet"}),
    "partial": put("optim", {**SYSTEM, "_partial_": True}),
    "positional": put("optim._args_", [TOUCH]),
    "convert": put("optim._convert_", "object"),
    "recursive": put("optim._recursive_", True),
    "interpolation that makes a node": put("backbone", MAKING),
    "interpolation as a value": put("backbone.norm", MAKING),
    "interpolation in a list": put("data.crop_size", ["${oc.create:1}", 32]),
    "interpolation as a key": put("backbone", {"_target_": "sepico_pl.model.encoder.SmpEncoder", "${x}": 1}),
    "interpolation of a target": put("backbone._target_", "${oc.env:HOME}"),
    "interpolation inside a word": put("name", "run ${oc.env:PATH}"),
    "interpolation that is escaped": put("name", "\\${oc.env:PATH}"),
    "interpolation of the environment": put("dataset.classes", "${oc.env:HOME}"),
    "interpolation of Hydra's": put("optim.power", "${hydra:runtime.cwd}"),
    "interpolation that is decoded": put("optim.power", "${oc.decode:'1'}"),
    "node reference": put("optim", "${adapt}"),
    "legacy target": put("optim", {"target": "os.system", "params": {"command": TOUCH}}),
    "legacy class": put("optim", {"class": "os.system", "params": {"command": TOUCH}}),
    "legacy cls": put("optim", {"cls": "os.system", "command": TOUCH}),
    "no target": put("optim", {"command": TOUCH}),
    "part is a text": put("optim", "os.system"),
    "part is a number": put("backbone", 5),
    "part is a list": put("head", [SYSTEM]),
    "hub": put("backbone.name", "tu-hf-hub:timm/resnet18.a1_in1k"),
    "local folder": put("backbone.name", "tu-local-dir:/tmp"),
    "key of bytes": lambda config: config["optim"].update({b"x": 1}),
    "value of bytes": put("optim.power", b"1"),
    "value that is a tensor": put("optim.power", torch.ones(2)),
    "value that is a set": put("optim.power", {1}),
    "val_length": put("dataset.val_length", 10**7),
    "target_size": put("data.target_size", [10**9, 10**9]),
    "size": put("dataset.size", [10**9, 32]),
    "width": put("head.decode.width", 10**9),
    "bank": put("contrast", {"_target_": "sepico_pl.contrast.modes.BankContrast", "length": 10**9}),
    "text of a megabyte": put("name", "x" * 10**6),
    "too many levels": lambda config: config.update(name=deep(MOST_LEVELS + 1)),
    "a million values": put("name", [0] * 10**6),
}  # fmt: skip


def deep(levels: int) -> dict:
    return {"x": deep(levels - 1)} if levels else {}
