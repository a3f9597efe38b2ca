"""Weight files as an attacker or a failing disk would make them."""

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch.serialization import MAGIC_NUMBER, PROTOCOL_VERSION

START, END = b"\x80\x02", b"."


def text(word: str) -> bytes:
    return b"X" + struct.pack("<I", len(word)) + word.encode()


def entry(value: bytes) -> bytes:
    """Return the pickle of a mapping with one value."""
    return START + b"}" + text("x") + value + b"s" + END


def whole(number: int) -> bytes:
    digits = number.to_bytes(16, "little", signed=True)
    return b"\x8a" + bytes([len(digits)]) + digits


def storage(key: str, count: int, view: bytes = b"") -> bytes:
    parts = text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu")
    return b"(" + parts + whole(count) + view + b"tQ"


def tensor(of: bytes, shape: int) -> bytes:
    numbers = whole(0) + whole(shape) + b"\x85" + whole(1) + b"\x85" + b"\x89N"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + of + numbers + b"tR"


def zipped(
    path: Path, pickled: bytes, compression: int = zipfile.ZIP_STORED, **data: bytes
) -> None:
    """Write an archive as `torch.save` does."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        for key, content in data.items():
            archive.writestr(f"archive/data/{key}", content)
        archive.writestr("archive/byteorder", b"little")
        archive.writestr("archive/version", b"3\n")


def legacy(path: Path, pickled: bytes, keys: list[str], data: bytes = b"") -> None:
    """Write the form from before torch 1.6."""
    parts = [MAGIC_NUMBER, PROTOCOL_VERSION, {"little_endian": True}]
    start = b"".join(pickle.dumps(part, 2) for part in parts)
    path.write_bytes(start + pickled + pickle.dumps(keys, 2) + data)


def laughs(levels: int) -> bytes:
    """Return the pickle of a list of ten lists of ten lists, and so on."""
    content = text("ha") + b"q\x00"
    for level in range(levels):
        content += b"0" * 0 + b"](" + b"h" + bytes([level]) + (b"h" + bytes([level])) * 9 + b"e"
        content += b"q" + bytes([level + 1])
    return START + b"(" + content + b"t" + END


BOMBS: dict[str, Callable[[Path], None]] = {
    "deflated records": lambda path: zipped(
        path, entry(tensor(storage("a", 1 << 24), 1 << 24)), zipfile.ZIP_DEFLATED, a=bytes(4 << 24)
    ),
    "deep nesting as a key": lambda path: zipped(
        path, START + b"})" + b"\x85" * 1_000_000 + b"Ns" + END
    ),
    "deep nesting": lambda path: zipped(path, START + b"]" * 100_000 + b"a" * 99_999 + END),
    "billion laughs": lambda path: zipped(path, laughs(12)),
    "a list in itself": lambda path: zipped(path, START + b"]q\x00h\x00a" + END),
    "a bytearray of gigabytes": lambda path: zipped(
        path, entry(b"c__builtin__\nbytearray\n" + whole(1 << 33) + b"\x85R")
    ),
    "a storage of gigabytes": lambda path: zipped(
        path, entry(b"ctorch.storage\nUntypedStorage\n" + whole(1 << 40) + b"\x85R")
    ),
    "a tensor class called": lambda path: zipped(
        path, entry(b"ctorch\nFloatTensor\n" + whole(1 << 36) + b"\x85R")
    ),
    "larger than its record": lambda path: zipped(
        path, entry(tensor(storage("a", 1 << 20), 1 << 20)), a=bytes(16)
    ),
    "a record that is not there": lambda path: zipped(path, entry(tensor(storage("a", 4), 4))),
    "a negative size": lambda path: zipped(path, entry(tensor(storage("a", -4), 4)), a=bytes(16)),
    "old form, larger than the file": lambda path: legacy(
        path, entry(tensor(storage("0", 1 << 40, b"N"), 1)), ["0"], struct.pack("<Q", 1 << 40)
    ),
    "old form, many large storages": lambda path: legacy(
        path,
        START + b"](" + b"".join(storage(str(i), 1 << 30, b"N") for i in range(99)) + b"e" + END,
        [],
    ),
    "old form, values never read": lambda path: legacy(
        path, entry(tensor(storage("0", 64, b"N"), 64)), [], bytes(512)
    ),
    "a pickle of megabytes": lambda path: zipped(
        path, START + b"(" + b"}" * (5 << 20) + b"t" + END
    ),
    "a string that ends later": lambda path: zipped(
        path, START + b"}X" + struct.pack("<I", 0xFFFFFFF0) + b"abc"
    ),
    "two records of one name": lambda path: twice(path),
    "text after the archive": lambda path: appended(path),
    "a tar": lambda path: path.write_bytes(tarred()),
    "an object in the older form": lambda path: legacy(path, entry(b"cos\nsystem\n(tR"), []),
    "only a start": lambda path: path.write_bytes(b"PK\x03\x04"),
}


def twice(path: Path) -> None:
    torch.save({"x": torch.ones(3)}, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{path.stem}/data/0".upper(), bytes(12))


def appended(path: Path) -> None:
    torch.save({"x": torch.ones(3)}, path)
    path.write_bytes(path.read_bytes() + b"more")


def tarred() -> bytes:
    import tarfile

    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"), io.BytesIO())
    return content.getvalue()


def unusual() -> dict[str, torch.Tensor]:
    """Return tensors of a right shape (4, 4) that are no plain ones."""
    return {
        "expanded": torch.ones(1).expand(4, 4),
        "strided over nothing": torch.ones(2).as_strided((4, 4), (0, 0)),
        "sparse": torch.eye(4).to_sparse(),
        "quantised": torch.quantize_per_tensor(torch.ones(4, 4), 0.1, 0, torch.qint8),
        "of no place": torch.ones(4, 4, device="meta"),
        "complex": torch.ones(4, 4, dtype=torch.complex64),
        "float8": torch.ones(4, 4).to(torch.float8_e4m3fn),
        "whole numbers": torch.ones(4, 4, dtype=torch.int64),
        "truth values": torch.ones(4, 4, dtype=torch.bool),
    }
