"""Damage checkpoints and exports at random, read them, and count how they end.

    python scripts/fuzz_checkpoints.py [--count 5000] [--seed 0]

A file may be refused in one line or be taken. Anything else is a fault: another error, a file that
writes outside, memory beyond 1.5 GB, or a damaged file that is taken with other tensors. Only where
the checksums were made right again after the damage may its tensors differ: no checksum can tell.
"""

import argparse
import collections
import contextlib
import io
import os
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator

os.environ.update(WANDB_MODE="offline", NO_ALBUMENTATIONS_UPDATE="1", HF_HUB_OFFLINE="1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from hostile_cases import STREETS, attempt
from peak_memory import peak_memory

from sepico_pl.checkpoints import read_checkpoint
from sepico_pl.serving.loading import load
from sepico_pl.types import InputError

MOST_MEMORY = 1500
"""Megabytes."""
SMALLEST = ["backbone=mit_b0", "backbone.width=8", "head=light", "head.decode.width=8"]
SMALLEST += ["contrast=none", "adapt=none", "logger=none"]
WITHOUT_CONTRAST = [word for word in STREETS if "contrast" not in word]


def flip(content: bytes, rng: Generator) -> bytes:
    """Change some bits, anywhere."""
    damaged = bytearray(content)
    for place in rng.integers(0, len(content), rng.integers(1, 6)):
        damaged[place] ^= 1 << int(rng.integers(0, 8))
    return bytes(damaged)


def overwrite(content: bytes, rng: Generator) -> bytes:
    """Put random bytes, or zeros, over a stretch."""
    length = int(rng.integers(1, 4096))
    start = int(rng.integers(0, max(1, len(content) - length)))
    filling = rng.bytes(length) if rng.random() < 0.5 else bytes(length)
    return content[:start] + filling + content[start + length :]


def cut(content: bytes, rng: Generator) -> bytes:
    """End early, or lose a stretch."""
    start, end = sorted(int(place) for place in rng.integers(0, len(content), 2))
    return content[:end] if rng.random() < 0.5 else content[:start] + content[end:]


def directory(content: bytes, rng: Generator) -> bytes:
    """Change bytes of the directory at a zip's end."""
    damaged = bytearray(content)
    start = content.rfind(b"PK\x01\x02", 0, content.rfind(b"PK\x05\x06"))
    start = start if rng.random() < 0.5 else content.find(b"PK\x01\x02")
    for place in rng.integers(start, len(content), rng.integers(1, 4)):
        damaged[place] = int(rng.integers(0, 256))
    return bytes(damaged)


def opcodes(content: bytes, rng: Generator) -> bytes:
    """Change bytes of the pickle in the archive, with the checksums right again."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(target, "w") as new:
        for record in old.infolist():
            inner = bytearray(old.read(record))
            if record.filename.endswith("data.pkl"):
                for place in rng.integers(0, len(inner), rng.integers(1, 6)):
                    inner[place] = int(rng.integers(0, 256))
            new.writestr(record.filename, bytes(inner))
    return target.getvalue()


def header(content: bytes, rng: Generator) -> bytes:
    """Change bytes of a safetensors header."""
    damaged = bytearray(content)
    end = 8 + int.from_bytes(content[:8], "little")
    for place in rng.integers(0, end, rng.integers(1, 4)):
        damaged[place] = int(rng.integers(32, 127))
    return bytes(damaged)


Damage = Callable[[bytes, Generator], bytes]
OF_CHECKPOINTS: list[Damage] = [flip, overwrite, cut, directory, opcodes]
OF_WEIGHTS: list[Damage] = [flip, overwrite, cut, header]
OF_CONFIGS: list[Damage] = [flip, overwrite, cut]


def tiny_checkpoint(folder: Path) -> Path:
    """Train the smallest network for two steps."""
    done = attempt("train", [*WITHOUT_CONTRAST, *SMALLEST], folder)
    if done.code:
        raise SystemExit(done.stderr)
    return folder / "run/last.ckpt"


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether two state dicts are equal to the bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Fuzzer:
    """Holds what is damaged, and counts.

    Attributes:
        endings: how often each damage ended how.
        faults: what must not be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoint = tiny_checkpoint(folder)
        self.content = self.checkpoint.read_bytes()
        self.state = read_checkpoint(self.checkpoint)["state_dict"]
        model = load(self.checkpoint, device="cpu", batch_norm="running")
        model.save_pretrained(folder / "export")
        self.network = model.state_dict()
        if not same(load(folder / "export", device="cpu").state_dict(), self.network):
            raise SystemExit("the undamaged export has other tensors")
        self.endings: collections.Counter[str] = collections.Counter()
        self.faults: list[str] = []

    def try_one(self, number: int, seed: int) -> None:
        """Damage one file, and read it."""
        rng = np.random.default_rng((seed, number))
        kind = ("checkpoint", "checkpoint", "weights", "config")[number % 4]
        damages = {"checkpoint": OF_CHECKPOINTS, "weights": OF_WEIGHTS, "config": OF_CONFIGS}[kind]
        damage = damages[int(rng.integers(0, len(damages)))]
        what = f"{kind}, {damage.__name__}"
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                equal = (
                    self._checkpoint(damage, rng)
                    if kind == "checkpoint"
                    else self._export(
                        "model.safetensors" if kind == "weights" else "config.json", damage, rng
                    )
                )
        except InputError as error:
            self.endings[f"{what}: refused"] += 1
            if len(str(error).splitlines()) != 1 or not str(error).isprintable():
                self.faults.append(f"{number} {what}: {error!r}")
        except BaseException as error:
            self.endings[f"{what}: fault"] += 1
            self.faults.append(f"{number} {what}: {type(error).__name__} {str(error)[:200]}")
        else:
            self.endings[f"{what}: taken, tensors {'the same' if equal else 'others'}"] += 1
            if not equal and damage is not opcodes:
                self.faults.append(f"{number} {what}: taken with other tensors")

    def _checkpoint(self, damage: Damage, rng: Generator) -> bool:
        path = self.folder / "damaged.ckpt"
        path.write_bytes(damage(self.content, rng))
        found = read_checkpoint(path)
        equal = same(found["state_dict"], self.state)
        load(path, device="cpu", batch_norm="running")
        return equal

    def _export(self, name: str, damage: Damage, rng: Generator) -> bool:
        file = self.folder / "export" / name
        whole = file.read_bytes()
        try:
            file.write_bytes(damage(whole, rng))
            return same(load(file.parent, device="cpu").state_dict(), self.network)
        finally:
            file.write_bytes(whole)


def fuzz(count: int, seed: int, folder: Path) -> Fuzzer:
    """Damage `count` files, each read in this process."""
    (folder / "work").mkdir()
    fuzzer = Fuzzer(folder / "work")
    beside = sorted(folder.rglob("*"))
    for number in range(count):
        fuzzer.try_one(number, seed)
    new = set(folder.rglob("*")) - {*beside, folder / "work/damaged.ckpt"}
    fuzzer.faults += [f"{path} was written" for path in sorted(new)]
    return fuzzer


def main() -> None:
    """Damage, count and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        fuzzer = fuzz(given.count, given.seed, Path(folder).resolve())
    for ending, number in sorted(fuzzer.endings.items()):
        print(f"{number:6}  {ending}")
    memory = peak_memory() >> 20
    faults = fuzzer.faults + [f"{memory} MB"] * (memory > MOST_MEMORY)
    print(*faults[:20], sep="\n")
    print(f"{given.count} damaged files: {len(faults)} faults, {memory} MB at most")
    raise SystemExit(len(faults) > 0)


if __name__ == "__main__":
    main()
