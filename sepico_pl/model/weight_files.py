"""Looks through a weight file before it is read: it may claim no more than it holds.

What was written with a digest or checksums is compared with them.
"""

import hashlib
import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.serialization import MAGIC_NUMBER

from sepico_pl.model.pickles import DTYPES, Damaged, Survey

LARGEST_INDEX = 4 << 20
"""Bytes of a pickle, a zip directory or a safetensors header; 27,000 tensors fit."""
ZIP_START = b"PK\x03\x04"
DIGEST = "sepico_pl_sha256"
"""Key of the metadata; the only one, as safetensors writes several in any order."""


def check_file(path: Path) -> None:
    """Check that a weight file holds what it claims, and that its checksums are right.

    Args:
        path: a `.safetensors` file, or one that `torch.save` wrote, in either of its forms.

    Raises:
        ForeignObjects: if it names others than tensors.
        Exception: of any kind, if it is damaged.
    """
    with path.open("rb") as file:
        start = file.read(8)
        file.seek(0)
        if path.suffix == ".safetensors":
            _check_index(int.from_bytes(start, "little"), "header")
        elif start.startswith(ZIP_START):
            _check_zip(file)
        else:
            _check_legacy(file)


def _check_index(size: int, what: str) -> None:
    if size > LARGEST_INDEX:
        message = f"a {what} of {size} bytes, above the {LARGEST_INDEX} allowed"
        raise Damaged(message)


def _check_zip(file: BinaryIO) -> None:
    """Check an archive of `torch.save`'s: stored records, their checksums, their sizes."""
    size = file.seek(0, 2)
    _check_directory(file, size)
    with zipfile.ZipFile(file) as archive:
        records = {record.filename: record for record in archive.infolist()}
        _check_records(archive.infolist(), size)
        wrong = archive.testzip()
        if wrong is not None:
            message = f"the checksum of {wrong} is wrong"
            raise Damaged(message)
        folder = archive.infolist()[0].filename.partition("/")[0]
        _check_index(records[f"{folder}/data.pkl"].file_size, "pickle")
        survey = Survey(io.BytesIO(archive.read(f"{folder}/data.pkl")))
        survey.next()
    for key, declared in survey.storages.items():
        held = records[f"{folder}/data/{key}"].file_size
        if held != declared:
            message = f"tensors of {declared} bytes in a record of {held}"
            raise Damaged(message)


def _check_directory(file: BinaryIO, size: int) -> None:
    """Bound a zip's directory before it is read; nothing may follow its end."""
    file.seek(max(0, size - 98))
    tail = file.read().rjust(98, b"\0")
    if tail[-22:-18] != b"PK\x05\x06" or tail[-2:] != b"\0\0":
        message = "its end is missing"
        raise Damaged(message)
    _check_index(struct.unpack_from("<L", tail, 98 - 10)[0], "directory")
    if tail[-42:-38] == b"PK\x06\x07":
        _check_index(struct.unpack_from("<Q", tail, 40)[0], "directory")


def _check_records(records: list[zipfile.ZipInfo], size: int) -> None:
    if len({record.filename.casefold() for record in records}) != len(records):
        message = "two records of one name"
        raise Damaged(message)
    if any(one.compress_type != zipfile.ZIP_STORED for one in records) or any(
        one.compress_size != one.file_size for one in records
    ):
        message = "compressed records, which torch.save does not write"
        raise Damaged(message)
    if min(one.header_offset for one in records) or sum(one.file_size for one in records) > size:
        message = "records that reach out of the file"
        raise Damaged(message)


def _check_legacy(file: BinaryIO) -> None:
    """Check the form from before torch 1.6: five pickles, then the storages one after another."""
    size = file.seek(0, 2)
    file.seek(0)
    survey = Survey(io.BytesIO(file.read(LARGEST_INDEX)))
    if survey.next() != MAGIC_NUMBER:
        message = "none of torch.save's forms"
        raise Damaged(message)
    _version, _system, _content, keys = (survey.next() for _ in range(4))
    if not isinstance(keys, list) or sorted(keys) != sorted(survey.storages):
        message = "storages that are not listed"
        raise Damaged(message)
    if sum(survey.storages.values()) > size:
        message = f"tensors of {sum(survey.storages.values())} bytes in a file of {size}"
        raise Damaged(message)


def check_tensors(content: object) -> None:
    """Check that every tensor in what was read has its own values, in memory, of a plain type.

    Raises:
        Damaged: naming the first that has not.
    """
    waiting: list[tuple[str, object]] = [("", content)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += [(str(key), one) for key, one in value.items()]
        elif isinstance(value, list | tuple):
            waiting += [(name, one) for one in value]
        elif isinstance(value, Tensor):
            _check_tensor(name, value)


def _check_tensor(name: str, tensor: Tensor) -> None:
    if tensor.layout != torch.strided or tensor.dtype not in DTYPES:
        message = f"{name} is a tensor of {tensor.dtype}, {tensor.layout}, not a plain one"
        raise Damaged(message)
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        message = f"{name} claims the shape {tuple(tensor.shape)} but holds fewer values"
        raise Damaged(message)


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of names, types, shapes and values, in hexadecimal."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name}\n{tensor.dtype}\n{tuple(tensor.shape)}\n".encode())
        total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def write_safetensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors with their digest, which `check_digest` compares."""
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(whole, path, {DIGEST: digest_of(whole)})


def check_digest(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Compare the tensors of a safetensors file with the digest in it, if it is one of ours.

    Files of others and those of earlier versions have none.

    Raises:
        Damaged: if they differ.
    """
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
    if DIGEST in metadata and metadata[DIGEST] != digest_of(tensors):
        message = "its tensors are not those that were written"
        raise Damaged(message)
