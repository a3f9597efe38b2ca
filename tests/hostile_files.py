"""Hostile cases: files, sizes and damage; see hostile_cases.py."""

import json
import subprocess
from pathlib import Path

import numpy as np
import torch
from hostile_cases import EVALUATE, FILES, STREETS, Case, Prepare, changed, checkpoint
from hostile_configs import put
from hostile_images import BOMBS as IMAGE_BOMBS
from hostile_images import pixels, png
from hostile_weights import BOMBS, unusual
from PIL import Image

PREDICT = ["checkpoint=exported", "images=night", "output=out"]
IMPORT = ["checkpoint=bad.ckpt", "output=new.ckpt"]
BACKBONE = [*STREETS, "backbone.weights=bad.ckpt"]
GIANT = {"_target_": "sepico_pl.model.vit.PlainViT", "name": "vit_7b_patch16_dinov3", "drop_path": 0.0, "weights": None}  # fmt: skip
ASKS = "its configuration asks for a network of more than"


def bomb(name: str) -> Prepare:
    return lambda folder: BOMBS[name](folder / "bad.ckpt")


def image(name: str, bomb: str) -> Prepare:
    def prepare(folder: Path) -> None:
        (folder / name).unlink()
        IMAGE_BOMBS[bomb](folder / name)

    return prepare


def flipped(folder: Path) -> None:
    """Change one bit in the middle of the largest tensor."""
    content = bytearray(checkpoint(folder).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "bad.ckpt").write_bytes(content)


def first_weight(content: dict, value: object) -> None:
    name = next(name for name in content["state_dict"] if name.endswith("weight"))
    content["state_dict"][name] = value


def expand(content: dict) -> None:
    name = next(name for name in content["state_dict"] if name.endswith("weight"))
    content["state_dict"][name] = torch.ones(1).expand(content["state_dict"][name].shape)


def number_as_name(content: dict) -> None:
    content["state_dict"][7] = torch.ones(1)


def name_of_two_lines(content: dict) -> None:
    content["state_dict"]["a\nerror: b\x1b[2J"] = torch.ones(1)


def exported(change: str) -> Prepare:
    """Write a folder of an export, and damage its weights, or let it name a giant."""

    def prepare(folder: Path) -> None:
        from sepico_pl.serving.loading import load

        load(checkpoint(folder), device="cpu", batch_norm="running").save_pretrained(
            folder / "exported"
        )
        file = folder / "exported/model.safetensors"
        content = bytearray(file.read_bytes())
        if change == "flip":
            content[-5000] ^= 1
        elif change == "cut":
            content = content[:-5000]
        elif change == "header":
            content[:8] = (1 << 40).to_bytes(8, "little")
        file.write_bytes(content)
        if change == "absent":
            file.unlink()
        elif change == "giant":
            config = json.loads((folder / "exported/config.json").read_text())
            (folder / "exported/config.json").write_text(json.dumps({**config, "backbone": GIANT}))

    return prepare


def official(state: dict) -> Prepare:
    return lambda folder: torch.save({"state_dict": state}, folder / "bad.ckpt")


def large(name: str, width: int = 9000, height: int = 9000) -> Prepare:
    return lambda folder: (folder / name).write_bytes(png(width, height, pixels(99)))


def sixteen(folder: Path) -> None:
    (folder / "labels/1.png").write_bytes(png(60000, 20000, pixels(99), bits=16, colours=2))


def postscript(folder: Path) -> None:
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(folder / "a.eps")
    (folder / "a.eps").rename(folder / "day/1.png")


def fifo(folder: Path) -> None:
    subprocess.run(["mkfifo", str(folder / "bad.ckpt")], check=True)


WIDE = {"backbone.patch_embed1.proj.weight": torch.ones(100_000, 1, 1, 1)}
ODD = unusual()

WEIGHTS = [
    *(Case(f"checkpoint: {name}", EVALUATE, ["bad.ckpt"], bomb(name), "evaluate") for name in BOMBS),
    Case("checkpoint with a flipped bit", EVALUATE, ["bad.ckpt", "checksum", "whole"], flipped, "evaluate"),
    Case("resume from a flipped bit", [*STREETS, "resume=bad.ckpt"], ["bad.ckpt", "checksum"], flipped),
    Case("start from a flipped bit", [*STREETS, "start=bad.ckpt"], ["bad.ckpt", "checksum"], flipped),
    Case("checkpoint with an expanded weight", EVALUATE, ["bad.ckpt", "fewer values"], changed(expand), "evaluate"),
    *(
        Case(f"checkpoint with a weight that is {kind}", EVALUATE, ["bad.ckpt"], changed(lambda c, v=ODD[kind]: first_weight(c, v)), "evaluate")
        for kind in ("sparse", "quantised", "of no place", "complex", "float8", "truth values")
    ),
    Case("checkpoint with a text for a weight", EVALUATE, ["bad.ckpt", "no named tensors"], changed(lambda c: first_weight(c, "heavy")), "evaluate"),
    Case("checkpoint with a number for a name", EVALUATE, ["bad.ckpt", "no named tensors"], changed(number_as_name), "evaluate"),
    Case("checkpoint with a name of two lines", EVALUATE, ["bad.ckpt", r"unknown: a\nerror: b\x1b[2J"], changed(name_of_two_lines), "evaluate"),
    Case("checkpoint is a pipe", EVALUATE, ["bad.ckpt", "no such file"], fifo, "evaluate"),
    Case("backbone of a payload's kind", BACKBONE, ["backbone.weights=bad.ckpt", "bytearray", "not opened"], bomb("a bytearray of gigabytes")),
    Case("backbone nested a million deep", BACKBONE, ["backbone.weights=bad.ckpt"], bomb("deep nesting as a key")),
    Case("official with numbers for names", IMPORT, ["bad.ckpt", "besides its tensors 3"], official({3: torch.ones(1)}), "import_official"),
    Case("official as wide as it likes", IMPORT, ["bad.ckpt", "tells no width"], official(WIDE), "import_official"),
    Case("official without an axis", IMPORT, ["bad.ckpt", "tells no width"], official({"backbone.patch_embed1.proj.weight": torch.tensor(1.0)}), "import_official"),
    Case("export with a flipped bit", PREDICT, ["model.safetensors", "not those that were written"], exported("flip"), "predict"),
    Case("export cut short", PREDICT, ["model.safetensors", "whole"], exported("cut"), "predict"),
    Case("export with a header of a terabyte", PREDICT, ["model.safetensors", "header"], exported("header"), "predict"),
    *(
        Case(f"checkpoint of a network of 25 GiB ({program})", words, ["bad.ckpt", ASKS], changed(lambda c: put("backbone", GIANT)(c["config"])), program)
        for program, words in (("evaluate", EVALUATE), ("predict", ["checkpoint=bad.ckpt", "images=night", "output=out"]), ("train", [*STREETS, "resume=bad.ckpt"]))
    ),
    Case("export of a network of 25 GiB", PREDICT, ["exported", "config.json", ASKS], exported("giant"), "predict"),
    Case("export without weights", PREDICT, ["exported", "no such"], exported("absent"), "predict"),
]  # fmt: skip

TOO_LARGE = ["more than the 50331648 pixels", "make it smaller"]
IMAGES = [
    Case("photograph of 81 megapixels", FILES, ["day/1.png", *TOO_LARGE], large("day/1.png")),
    Case("target of 81 megapixels", FILES, ["night/1.png", *TOO_LARGE], large("night/1.png")),
    Case("label of 81 megapixels", FILES, ["labels/1.png", *TOO_LARGE], large("labels/1.png")),
    Case("label of 16 bits, 1200 megapixels", FILES, ["labels/1.png", *TOO_LARGE[:1]], sixteen),
    Case("image to predict of 81 megapixels", ["checkpoint=good.ckpt", "images=night/1.png", "output=out"], ["night/1.png", *TOO_LARGE], lambda f: (checkpoint(f), large("night/1.png")(f)), "predict", may_begin=True),
    Case("photograph is PostScript", FILES, ["day/1.png", "it is no PNG"], postscript),
    *(
        Case(f"photograph: {name}", FILES, ["day/1.png"], image("day/1.png", name))
        for name in ("text.png", "more_pixels.png", "strips.tif", "many_strips.tif", "no_strips.tif", "large.tif", "frames.gif", "bitmap.bmp")
    ),
    *(
        Case(f"label: {name}", FILES, ["labels/1.png"], image("labels/1.png", name))
        for name in ("sixteen.png", "sixteen_of_a_size.png", "profile.png", "strips.tif", "no_pixels.png")
    ),
]  # fmt: skip

CASES: list[Case] = [*WEIGHTS, *IMAGES]
