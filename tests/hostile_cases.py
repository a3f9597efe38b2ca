"""What goes wrong at users' desks, as a table: what is done, what is said.

`python scripts/hostile.py` prints it.
"""

import contextlib
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import torch
from PIL import Image

Prepare = Callable[[Path], object]
FOLDERS = [
    "dataset=folder",
    "dataset.source_images=day",
    "dataset.source_labels=labels",
    "dataset.target_images=night",
    "dataset.classes=[road,sky]",
    "data.crop_size=[32,32]",
    "data.workers=0",
    "data.source_size=[40,60]",
    "data.target_size=[40,60]",
]
SHORT = [
    "data.batch_size=2",
    "trainer.max_steps=2",
    "adapt.contrast_start=1",
    "trainer.enable_progress_bar=false",
    "hydra.run.dir=run",
]
LONGEST_ERROR = 700
STREETS = ["dataset.size=[32,64]", "dataset.train_length=4", "dataset.val_length=1"]
STREETS += ["data.crop_size=[32,32]", *SHORT]
FILES = [*FOLDERS, *SHORT]


@dataclass(frozen=True)
class Case:
    """One thing that goes wrong.

    Attributes:
        name: of the thing.
        words: of the command line.
        said: what the message must hold; nothing where all goes well.
        prepare: spoils a folder of good data.
        module: the program.
        code: the exit code.
        afterwards: undoes what outlives the folder.
        powerless: whether permissions hold for root too, in a process of its own.
        variables: of the environment.
        may_begin: whether a run may begin before the fault shows.
    """

    name: str
    words: Sequence[str]
    said: Sequence[str] = ()
    prepare: Prepare = lambda folder: None
    module: str = "train"
    code: int = 1
    afterwards: Prepare = lambda folder: None
    powerless: bool = False
    variables: dict[str, str] = field(default_factory=dict)
    may_begin: bool = False


def good_data(folder: Path) -> None:
    """Write three source images with labels and three target images, 40x60."""
    for part in ("day", "labels", "night"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for index in range(3):
        dice = np.random.default_rng(index)
        picture = dice.integers(0, 256, (40, 60, 3), dtype=np.uint8)
        label = np.repeat(np.repeat(dice.integers(0, 2, (5, 6), dtype=np.uint8), 8, 0), 10, 1)
        Image.fromarray(picture).save(folder / f"day/{index}.png")
        Image.fromarray(picture[::-1]).save(folder / f"night/{index}.png")
        Image.fromarray(label).save(folder / f"labels/{index}.png")


def write(name: str, content: bytes | str) -> Prepare:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def cut(name: str, share: float = 0.5) -> Prepare:
    def prepare(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return prepare


def remove(*names: str) -> Prepare:
    def prepare(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return prepare


def empty(name: str) -> Prepare:
    def prepare(folder: Path) -> None:
        for path in (folder / name).iterdir():
            path.unlink()

    return prepare


def picture(name: str, array: np.ndarray, mode: str | None = None, **settings: object) -> Prepare:
    def prepare(folder: Path) -> None:
        for old in (folder / name).parent.glob(f"{(folder / name).stem}.*"):
            old.unlink()
        image = Image.fromarray(array)
        (image.convert(mode) if mode else image).save(folder / name, **settings)

    return prepare


def link(name: str, to: str) -> Prepare:
    def prepare(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(to)

    return prepare


def as_folder(name: str) -> Prepare:
    def prepare(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).mkdir()

    return prepare


def huge_header(folder: Path) -> None:
    """Claim 60000x60000 pixels in a file of a few bytes."""
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    body = struct.pack(">I", len(header)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (folder / "day/1.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def lying_target(folder: Path) -> None:
    """Two of three night photographs are taken upright, and say so in EXIF alone."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for index in range(3):
        (folder / f"night/{index}.png").unlink()
        Image.fromarray(RGB).save(folder / f"night/{index}.jpg", exif=exif)


def renamed(old: str, new: str) -> Prepare:
    def prepare(folder: Path) -> None:
        (folder / new).parent.mkdir(parents=True, exist_ok=True)
        (folder / old).rename(folder / new)

    return prepare


def unreadable(name: str) -> Prepare:
    return lambda folder: (folder / name).chmod(0)


class CannotBeDone(Exception):
    """This machine lacks what a case needs."""


def tmpfs(folder: Path, *options: str) -> None:
    (folder / "disk").mkdir()
    mount = ["mount", "-t", "tmpfs", *options, "tmpfs", str(folder / "disk")]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        raise CannotBeDone("a disk of its own can be mounted by root alone")


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "-l", str(folder / "disk")], check=True, capture_output=True)


TRAINED: list[bytes] = []


def checkpoint(folder: Path) -> Path:
    """Write the checkpoint of a short run; trained once for all cases."""
    path = folder / "good.ckpt"
    if not TRAINED:
        done = attempt("train", [*STREETS, "logger=none"], folder)
        assert done.code == 0, done.stderr
        TRAINED.append((folder / "run/last.ckpt").read_bytes())
        subprocess.run(["rm", "-r", str(folder / "run")], check=True)
    path.write_bytes(TRAINED[0])
    return path


def changed(change: Callable[[dict], object]) -> Prepare:
    """Write a checkpoint after a change to its content."""

    def prepare(folder: Path) -> None:
        content = torch.load(checkpoint(folder), weights_only=True)
        change(content)
        torch.save(content, folder / "bad.ckpt")

    return prepare


def cut_checkpoint(folder: Path) -> None:
    (folder / "bad.ckpt").write_bytes(checkpoint(folder).read_bytes()[:-5000])


PORT = 29888


def leaving_server() -> None:
    """Stand in for a Weights & Biases server that lets a run begin, and is gone with its first row.

    It answers every question with all that is ever asked for.
    """
    account = {"id": "x", "username": "u", "entity": "u", "email": "", "flags": "{}"}
    project = {"id": "p", "name": "p", "entity": {"id": "e", "name": "u"}}
    run = {"id": "b", "name": "n", "displayName": "d", "description": "", "config": "{}"}
    answers = {
        "viewer": {**account, "admin": False, "teams": {"edges": []}},
        "serverInfo": {"cliVersionInfo": {"max_cli_version": "9"}, "features": []},
        "upsertBucket": {"bucket": {**run, "project": project}, "inserted": True},
        "model": {"bucket": None},
        "createRunFiles": {"runID": "b", "uploadHeaders": [], "files": []},
    }
    content = json.dumps({"data": answers}).encode()

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            if "file_stream" in self.path:
                threading.Thread(target=server.server_close).start()
                threading.Thread(target=server.shutdown).start()
                return
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    ThreadingHTTPServer.allow_reuse_address = True
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()


class Payload:
    """What a hostile checkpoint does when it is unpickled."""

    def __reduce__(self) -> tuple:
        return (os.system, ("touch pwned",))


def reshape(content: dict) -> None:
    name = next(key for key in content["state_dict"] if key.endswith("conv1.0.weight"))
    content["state_dict"][name] = content["state_dict"][name][:, :1]


def forget_weight(content: dict) -> None:
    del content["state_dict"][next(iter(content["state_dict"]))]


def call_system(content: dict) -> None:
    content["config"]["optim"] = {"_target_": "os.system", "command": "touch pwned"}


def call_through(content: dict) -> None:
    content["config"]["backbone"] = {"_target_": "sepico_pl.record.subprocess.run"}


def call_git(content: dict) -> None:
    """Git runs an alias that begins with ! in a shell."""
    words = ["/tmp", "-c", "alias.x=!touch pwned", "x"]
    content["config"]["dataset"] = {"_target_": "sepico_pl.record._git", "_args_": words}


def leftover(folder: Path) -> None:
    """Leave what a killed writer leaves: a part of a checkpoint."""
    content = checkpoint(folder).read_bytes()
    (folder / "run/checkpoints").mkdir(parents=True)
    (folder / "run/checkpoints/step_00000009.ckpt.partial").write_bytes(content[:999])


def broken_config(folder: Path) -> None:
    (folder / "conf/contrast").mkdir(parents=True)
    (folder / "conf/contrast/mine.yaml").write_text("temperature: [1\n")


RGB = np.random.default_rng(9).integers(0, 256, (40, 60, 3), dtype=np.uint8)
GRAY = RGB[..., 0]
IDS = (GRAY > 99).astype(np.uint8)
EVALUATE = ["checkpoint=bad.ckpt", "accelerator=cpu"]

IMAGES = [
    Case("image folder absent", [*FILES, "dataset.source_images=dawn"], ["dawn"]),
    Case("image folder empty", FILES, ["night"], empty("night")),
    Case("label folder absent", [*FILES, "dataset.source_labels=truth"], ["truth"]),
    Case("label folder empty", FILES, ["labels"], empty("labels")),
    Case("image folder is a file", FILES, ["night"], lambda f: (empty("night")(f), (f / "night").rmdir(), (f / "night").write_text("x"))),
    Case("image of zero bytes", FILES, ["day/1.png", "empty (0 bytes)"], write("day/1.png", b"")),
    Case("image truncated", FILES, ["day/1.png", "fetch or make it again"], cut("day/1.png")),
    Case("JPEG truncated", FILES, ["day/1.jpg"], lambda f: (picture("day/1.jpg", RGB)(f), cut("day/1.jpg")(f))),
    Case("text called PNG", FILES, ["night/1.png", "cannot be read"], write("night/1.png", "hello")),
    Case("web page called PNG", FILES, ["night/1.png"], write("night/1.png", "<html></html>" * 99)),
    Case("one bit flipped", FILES, ["day/1.png"], lambda f: (f / "day/1.png").write_bytes((lambda b: b[:900] + bytes([b[900] ^ 4]) + b[901:])((f / "day/1.png").read_bytes()))),
    Case("60000x60000 pixels claimed", FILES, ["day/1.png"], huge_header),
    Case("16-bit photograph", FILES, ["day/1.png", "8 bits"], picture("day/1.png", GRAY.astype(np.uint16) * 200)),
    Case("folder called PNG", FILES, ["day/1.png", "folder"], as_folder("day/1.png")),
    Case("link in a circle", FILES, ["day/1"], link("day/1.png", "1.png")),
    Case("image truncated, two workers", [*FILES, "data.workers=2"], ["day/1.png", "fetch or make it again"], cut("day/1.png")),
    Case("link to nothing", FILES, ["day/1.png"], link("day/1.png", "gone.png")),
    Case("folder linked in a circle", [*FILES, "dataset.target_images=loop"], ["loop"], link("loop", "loop")),
    Case("no permission for an image", FILES, ["day/1.png", "permission"], unreadable("day/1.png"), powerless=True),
    Case("no permission for a folder", FILES, ["night"], unreadable("night"), powerless=True),
    Case("label missing", FILES, ["1.png"], remove("labels/1.png")),
    Case("label truncated", FILES, ["labels/1.png"], cut("labels/1.png")),
    Case("label of zero bytes", FILES, ["labels/1.png", "empty"], write("labels/1.png", b"")),
    Case("label of another size", FILES, ["labels/1.png", "40x60", "40x50"], picture("labels/1.png", IDS[:, :50])),
    Case("label in colours", FILES, ["labels/1.png"], picture("labels/1.png", RGB)),
    Case("label id out of range", FILES, ["labels/1.png", "7"], picture("labels/1.png", IDS * 7)),
    Case("16-bit label id out of range", FILES, ["labels/1.png", "700"], picture("labels/1.png", IDS.astype(np.uint16) * 700)),
    Case("labels all void", FILES, ["has a class"], lambda f: [picture(f"labels/{i}.png", IDS * 0 + 255)(f) for i in range(3)]),
    Case("label colour unknown", [*FILES, "dataset.labels=colours", "dataset.colours=[[1,2,3],[4,5,6]]"], ["labels/0.png"], lambda f: [picture(f"labels/{i}.png", RGB)(f) for i in range(3)]),
    Case("two images of one stem", FILES, ["day", "1"], lambda f: Image.fromarray(RGB).save(f / "day/1.jpg")),
    Case("crop larger than the images", [*FILES, "data.crop_size=[64,64]"], ["data.crop_size", "64x64"]),
]  # fmt: skip

TAKEN = [
    Case("CMYK photograph", FILES, [], picture("day/1.jpg", RGB, "CMYK"), code=0),
    Case("gray photograph", FILES, [], picture("day/1.png", GRAY), code=0),
    Case("transparent photograph", FILES, [], picture("day/1.png", RGB, "RGBA"), code=0),
    Case("palette photograph", FILES, [], picture("day/1.png", RGB, "P"), code=0),
    Case("animated photograph (first frame)", FILES, [], picture("night/1.webp", RGB, save_all=True, append_images=[Image.fromarray(RGB[::-1])]), code=0),
    Case("EXIF-rotated photographs", FILES, [], lying_target, code=0),
    Case("palette label", FILES, [], picture("labels/1.png", IDS, "P"), code=0),
    Case("16-bit label", FILES, [], picture("labels/1.png", IDS.astype(np.uint16)), code=0),
    Case("spaces and umlauts in paths", [*FILES, "dataset.target_images='Nächte 夜/a b'"], [], renamed("night", "Nächte 夜/a b"), code=0),
    Case("images linked", FILES, [], lambda f: ((f / "day/1.png").rename(f / "elsewhere.png"), (f / "day/1.png").symlink_to("../elsewhere.png")), code=0),
]  # fmt: skip

CONFIGS = [
    Case("unknown key", [*STREETS, "contrast.temperatur=1"], ["temperatur"]),
    Case("unknown option", [*STREETS, "contrast=prototyp"], ["prototyp", "prototype"]),
    Case("unknown group", [*STREETS, "colour=red"], ["colour"]),
    Case("broken override", [*STREETS, "data.crop_size=[32,"], ["[32,"]),
    Case("override without value", [*STREETS, "seed"], ["seed"]),
    Case("seed no number", [*STREETS, "seed=abc"], ["seed=abc"]),
    Case("seed negative", [*STREETS, "seed=-1"], ["seed=-1"]),
    Case("steps negative", [*STREETS, "trainer.max_steps=-5"], ["trainer.max_steps=-5"]),
    Case("steps no number", [*STREETS, "trainer.max_steps=many"], ["trainer.max_steps=many"]),
    Case("batch of 0", [*STREETS, "data.batch_size=0"], ["data.batch_size=0"]),
    Case("batch no number", [*STREETS, "data.batch_size=two"], ["data.batch_size=two"]),
    Case("workers negative", [*STREETS, "data.workers=-1"], ["data.workers=-1"]),
    Case("crop with one side", [*STREETS, "data.crop_size=[32]"], ["data.crop_size"]),
    Case("crop no list", [*STREETS, "data.crop_size=32"], ["data.crop_size"]),
    Case("rare class temperature 0", [*STREETS, "data.rare_class_temperature=0"], ["data.rare_class_temperature=0"]),
    Case("temperature no number", [*STREETS, "contrast.temperature=hot"], ["contrast.temperature=hot"]),
    Case("temperature 0", [*STREETS, "contrast.temperature=0"], ["contrast.temperature=0"]),
    Case("share above 1", [*STREETS, "contrast.min_share=2"], ["contrast.min_share=2"]),
    Case("bank of length 0", [*STREETS, "contrast=bank", "contrast.length=0"], ["contrast.length=0"]),
    Case("decay above 1", [*STREETS, "adapt.teacher_decay=1.5"], ["adapt.teacher_decay=1.5"]),
    Case("threshold above 1", [*STREETS, "adapt.confidence_threshold=2"], ["adapt.confidence_threshold=2"]),
    Case("contrast start negative", [*STREETS, "adapt.contrast_start=-1"], ["adapt.contrast_start=-1"]),
    Case("learning rate negative", [*STREETS, "optim.learning_rate=-1"], ["optim.learning_rate=-1"]),
    Case("learning rate no number", [*STREETS, "optim.learning_rate=fast"], ["optim.learning_rate=fast"]),
    Case("warm-up negative", [*STREETS, "optim.warmup_steps=-1"], ["optim.warmup_steps=-1"]),
    Case("probability above 1", [*STREETS, "strong.jitter_probability=3"], ["strong.jitter_probability=3"]),
    Case("blur range upside down", [*STREETS, "strong.blur_sigma=[2,1]"], ["strong.blur_sigma"]),
    Case("ignored rows leave nothing", [*STREETS, "ignored_rows.top=640"], ["ignored_rows"]),
    Case("contradiction", [*STREETS[:-3], "hydra.run.dir=run", "adapt=none", "contrast=bank"], ["contrast=none"]),
    Case("width of a word", [*STREETS, "head.decode.width=wide"], ["head.decode.width=wide"]),
    Case("depth negative", [*STREETS, "head.projection.depth=-1"], ["head.projection.depth=-1"]),
    Case("unknown norm", [*STREETS, "norm=layer"], ["norm"]),
    Case("unknown backbone", [*STREETS, "backbone.name=resnet1"], ["backbone.name=resnet1"]),
    Case("half precision weights", [*STREETS, "trainer.precision=bf16-true"], ["trainer.precision=bf16-true", "bf16-mixed"]),
    Case("compiled and recomputed", [*STREETS, "compile=true", "trainer=small_gpu"], ["compile=true", "recompute=true", "choose one"]),
    Case("compile no flag", [*STREETS, "compile=fast"], ["compile=fast must be true or false"]),
    Case("unknown precision", [*STREETS, "trainer.precision=17"], ["17"]),
    Case("unknown accelerator", [*STREETS, "trainer.accelerator=abacus"], ["abacus"]),
    Case("no GPU here", [*STREETS, "trainer.accelerator=gpu"], ["gpu"]),
    Case("no device", [*STREETS, "trainer.devices=0"], ["devices"]),
    Case("unknown strategy", [*STREETS, "trainer.strategy=hope"], ["hope"]),
    Case("never judged", [*STREETS, "trainer.val_check_interval=0"], ["val_check_interval=0"]),
    Case("never logged", [*STREETS, "trainer.log_every_n_steps=0"], ["log_every_n_steps=0"]),
    Case("checkpoints never", [*STREETS, "keep.every=0"], ["keep.every=0"]),
    Case("no checkpoint kept", [*STREETS, "keep.last=0"], ["keep.last=0"]),
    Case("keep of a wrong type", [*STREETS, "keep=5"], ["keep"]),
    Case("foreign target", [*STREETS, "optim._target_=os.system"], ["os.system", "not on offer"]),
    Case("target through a module", [*STREETS, "optim._target_=sepico_pl.record.subprocess.run"], ["not on offer"]),
    Case("target that is not there", [*STREETS, "optim._target_=sepico_pl.optim.Adagrad"], ["Adagrad", "not on offer"]),
    Case("config folder absent", [*STREETS, "--config-dir", "mine"], ["mine"]),
    Case("config broken", [*STREETS, "contrast=mine", "--config-dir", "conf"], ["mine.yaml"], broken_config),
    Case("data set not named whole", ["dataset=folder", *SHORT], ["dataset."]),
    Case(
        "photographs absent",
        ["dataset=benchmark", "source=streets", "target=folder",
         "dataset.target.train_images=nowhere", *SHORT],
        ["dataset.target.train_images=nowhere", "no such folder"],
    ),
    Case(
        "a domain of the streets unknown",
        ["dataset=streets_to_camvid", "dataset.root=nowhere", "dataset.domains=[dusk]", *SHORT],
        ["domains=['dusk']", "choose day, night or both"],
    ),
    Case("data set root absent", ["dataset=camvid", "dataset.root=nowhere", *SHORT], ["nowhere"]),
    Case("resume from nothing", [*STREETS, "resume=last"], ["resume=last", "no checkpoint"]),
    Case("resume from a missing file", [*STREETS, "resume=a.ckpt"], ["resume=a.ckpt"]),
    Case("part of a checkpoint is none", [*STREETS, "resume=last"], ["no checkpoint"], leftover),
]  # fmt: skip

CHECKPOINTS = [
    Case("checkpoint absent", EVALUATE, ["bad.ckpt", "no such file"], module="evaluate"),
    Case("checkpoint empty", EVALUATE, ["bad.ckpt", "whole"], write("bad.ckpt", b""), "evaluate"),
    Case("checkpoint is text", EVALUATE, ["bad.ckpt"], write("bad.ckpt", "hello"), "evaluate"),
    Case("checkpoint is a zip of nothing", EVALUATE, ["bad.ckpt"], write("bad.ckpt", b"PK\x05\x06" + bytes(18)), "evaluate"),
    Case("checkpoint is a folder", EVALUATE, ["bad.ckpt"], as_folder("bad.ckpt"), "evaluate"),
    Case("checkpoint truncated", EVALUATE, ["bad.ckpt", "whole"], cut_checkpoint, "evaluate"),
    Case("checkpoint of another shape", EVALUATE, ["bad.ckpt", "of another shape"], changed(reshape), "evaluate"),
    Case("checkpoint lacks a weight", EVALUATE, ["bad.ckpt", "missing"], changed(forget_weight), "evaluate"),
    Case("checkpoint of another program", EVALUATE, ["bad.ckpt", "not written by"], lambda f: torch.save({"model": torch.ones(1)}, f / "bad.ckpt"), "evaluate"),
    Case("checkpoint with a payload", EVALUATE, ["bad.ckpt", "not opened"], lambda f: torch.save({"config": Payload(), "state_dict": {}}, f / "bad.ckpt"), "evaluate"),
    Case("checkpoint that names a system call", EVALUATE, ["os.system", "not on offer"], changed(call_system), "evaluate"),
    Case("checkpoint that names a function with a shell behind it", ["checkpoint=bad.ckpt", "images=night", "output=out"], ["sepico_pl.record._git", "not on offer"], changed(call_git), "predict"),
    Case("checkpoint that calls through a module", EVALUATE, ["not on offer"], changed(call_through), "evaluate"),
    Case("checkpoint without a part of its config", EVALUATE, ["bad.ckpt", "dataset"], changed(lambda c: c["config"].pop("dataset")), "evaluate"),
    Case("resume from a payload", [*STREETS, "resume=bad.ckpt"], ["bad.ckpt", "not opened"], lambda f: torch.save({"config": Payload(), "state_dict": {}}, f / "bad.ckpt")),
    Case("resume from a truncated file", [*STREETS, "resume=bad.ckpt"], ["bad.ckpt", "whole"], cut_checkpoint),
    Case("start from another shape", [*STREETS, "start=bad.ckpt"], ["start=", "bad.ckpt", "of another shape"], changed(reshape)),
    Case("evaluate a number", ["checkpoint=2024"], ["checkpoint=2024", "no such file"], module="evaluate"),
    Case("predict from no folder", ["checkpoint=good.ckpt", "images=gone", "output=out"], ["gone"], checkpoint, "predict"),
    Case("predict onto a file", ["checkpoint=good.ckpt", "images=night", "output=good.ckpt"], ["good.ckpt"], checkpoint, "predict"),
    Case("import what is no checkpoint", ["checkpoint=night/0.png", "output=new.ckpt"], ["night/0.png"], module="import_official"),
]  # fmt: skip

DISKS = [
    Case("run folder is a file", [*STREETS[:-1], "hydra.run.dir=taken/run"], ["taken"], write("taken", "x")),
    Case("run folder cannot be written", [*STREETS[:-1], "hydra.run.dir=disk/run"], ["disk/run"], lambda f: tmpfs(f, "-o", "ro"), afterwards=unmount),
    Case("disk full at the checkpoint", [*STREETS[:-1], "hydra.run.dir=disk/run"], ["disk/run/", ".ckpt", "space"], lambda f: tmpfs(f, "-o", "size=200k"), afterwards=unmount, may_begin=True),
    Case("disk full at once", [*STREETS[:-1], "hydra.run.dir=disk/run"], ["space"], lambda f: (tmpfs(f, "-o", "size=4k")), afterwards=unmount, may_begin=True),
    Case("checked files cannot be recorded", [*FILES, "checked=disk/checked.jsonl"], [], lambda f: tmpfs(f, "-o", "ro"), afterwards=unmount, code=0),
    Case("another run's folder", STREETS, ["hydra.run.dir=run", "resume=last"], lambda f: ((f / "run").mkdir(), (f / "run/run.json").write_text("{}"))),
    Case("no network for weights", [*STREETS, "backbone.weights=imagenet"], ["backbone.weights=imagenet", "backbone.weights=null"], variables={"HF_HUB_OFFLINE": "1"}),
    Case("no login at Weights & Biases", [*STREETS, "logger=wandb"], [], code=0, variables={"WANDB_MODE": "", "WANDB_API_KEY": "", "HOME": "/nonexistent"}),
    Case("Weights & Biases unreachable", [*STREETS, "logger=wandb"], [], code=0, variables={"WANDB_MODE": "", "WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_HTTP_TIMEOUT": "2"}),
    Case("Weights & Biases gone in mid-run", [*STREETS, "logger=wandb", "logger.wandb.finish_timeout=2", "trainer.max_steps=20", "trainer.log_every_n_steps=1"], [], lambda f: leaving_server(), code=0, variables={"WANDB_MODE": "", "WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": f"http://127.0.0.1:{PORT}"}),
    Case("loss not finite", [*STREETS, "optim.learning_rate=1e30", "optim.warmup_steps=0", "trainer.max_steps=9", "trainer.log_every_n_steps=1", "keep.every=1"], ["not finite at step", "streets/day/train/", "streets/night/train/", "last good checkpoint: "], may_begin=True),
    Case("report cannot be written", [*FOLDERS, "report=disk/report.json"], ["disk/report.json"], lambda f: tmpfs(f, "-o", "ro"), "prepare", afterwards=unmount),
]  # fmt: skip

CASES = [*IMAGES, *TAKEN, *CONFIGS, *CHECKPOINTS, *DISKS]


@dataclass(frozen=True)
class Outcome:
    code: int
    stderr: str


def attempt(module: str, words: Sequence[str], folder: Path) -> Outcome:
    """Run a command in this process; a start takes seconds."""
    import importlib
    import traceback

    from hydra.core.global_hydra import GlobalHydra

    before, argv, stderr, stdout = Path.cwd(), sys.argv, io.StringIO(), io.StringIO()
    os.chdir(folder)
    sys.argv = [f"sepico_pl.{module}", *words]
    code: object = 0
    try:
        with contextlib.redirect_stderr(stderr), contextlib.redirect_stdout(stdout):
            importlib.import_module(f"sepico_pl.{module}").main()
    except SystemExit as ending:
        code = ending.code
    except BaseException:
        stderr.write(traceback.format_exc())
        code = 1
    finally:
        os.chdir(before)
        sys.argv = argv
        GlobalHydra.instance().clear()
    if isinstance(code, str):
        return Outcome(1, f"{stderr.getvalue()}{code}")
    return Outcome(int(code or 0), stderr.getvalue())


def attempt_powerless(module: str, words: Sequence[str], folder: Path) -> Outcome:
    """Run a command as a root that permissions bind, in a process of its own."""
    if shutil.which("setpriv") is None:
        raise CannotBeDone("there is no setpriv")
    less = "-dac_override,-dac_read_search"
    done = subprocess.run(
        [
            "setpriv",
            f"--bounding-set={less}",
            f"--inh-caps={less}",
            sys.executable,
            "-m",
            f"sepico_pl.{module}",
            *words,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        env={"OMP_NUM_THREADS": "1", **os.environ},
        check=False,
    )
    return Outcome(done.returncode, done.stderr)


def files(folder: Path) -> dict[str, bytes]:
    """Read every file that is there."""
    found = {}
    for path in sorted(folder.rglob("*")):
        with contextlib.suppress(OSError):
            if path.is_file():
                found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def faults(case: Case, folder: Path) -> list[str]:
    """Run a case in an empty folder; return what is wrong with how it ended."""
    good_data(folder)
    case.prepare(folder)
    known = {name: os.environ.get(name) for name in case.variables}
    before = files(folder)
    try:
        for name, value in case.variables.items():
            os.environ.pop(name, None)
            if value:
                os.environ[name] = value
        if case.powerless and os.geteuid() == 0:
            outcome = attempt_powerless(case.module, case.words, folder)
        else:
            outcome = attempt(case.module, case.words, folder)
        return judged(case, outcome, before, files(folder))
    finally:
        for name, value in known.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        case.afterwards(folder)


def judged(
    case: Case, outcome: Outcome, before: dict[str, bytes], after: dict[str, bytes]
) -> list[str]:
    """Return what is wrong with an outcome and what it left."""
    errors = [line for line in outcome.stderr.splitlines() if line.startswith("error: ")]
    new = after.keys() - before.keys()
    tests = {
        f"exit code {outcome.code} instead of {case.code}": outcome.code == case.code,
        "a traceback": "Traceback" not in outcome.stderr,
        f"{len(errors)} lines of error": len(errors) == (case.code != 0),
        f"an error of {max(map(len, errors), default=0)} characters": all(
            len(line) <= LONGEST_ERROR for line in errors
        ),
        "not named: " + ", ".join(part for part in case.said if part not in outcome.stderr): all(
            part in outcome.stderr for part in case.said
        ),
        "something that existed changed": all(
            after.get(name) == content for name, content in before.items()
        ),
        "half-written files: " + ", ".join(name for name in new if "part" in name): not any(
            name.endswith(".partial") for name in new
        ),
        "a run began": case.code == 0
        or case.may_begin
        or not any(name.endswith((".ckpt", "metrics.csv", "scores.json")) for name in new),
        "the payload was executed": "pwned" not in after,
    }
    return [fault for fault, passed in tests.items() if not passed]
