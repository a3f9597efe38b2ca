"""Weight files that are damaged or hostile: one line, and no more memory than they hold."""

import contextlib
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import run_measured
from hostile_weights import BOMBS, entry, legacy, storage, tensor, unusual, zipped
from safetensors.torch import load_file, save_file
from torch import nn

from sepico_pl.model.weight_files import digest_of, write_safetensors
from sepico_pl.model.weights import read_file, read_tensors, take_over
from sepico_pl.types import InputError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    UNUSUAL = unusual()


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_one_line(tmp_path: Path, name: str) -> None:
    BOMBS[name](tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"^k=.*w\.pth: ") as caught:
        read_file(tmp_path / "w.pth", "k")
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 600


READ_ALL = """
import sys
from pathlib import Path
from peak_memory import peak_memory
from sepico_pl.model.weights import read_file
from sepico_pl.types import InputError
before = peak_memory()
for name in sys.argv[1:]:
    try:
        read_file(Path(name), "k")
    except InputError:
        continue
    raise SystemExit(f"{name} was read")
print((peak_memory() - before) >> 20)
"""


@pytest.mark.slow
def test_bombs_take_no_memory(tmp_path: Path) -> None:
    for index, write in enumerate(BOMBS.values()):
        write(tmp_path / f"{index}.pth")
    for name in ("safetensors", "zip"):
        (tmp_path / f"large.{name}").write_bytes(
            (200 << 20).to_bytes(8, "little") if name == "safetensors" else b"PK\x03\x04"
        )
    files = sorted(map(str, tmp_path.iterdir()))
    done = run_measured(READ_ALL, *files)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 500, "megabytes"


def test_the_builders_write_what_torch_reads(tmp_path: Path) -> None:
    """A bomb proves something only if its harmless twin is read."""
    values = torch.tensor([1.0, 2.0, 3.0, 4.0])
    data = values.numpy().tobytes()
    zipped(tmp_path / "zip.pth", entry(tensor(storage("a", 4), 4)), a=data)
    size = (4).to_bytes(8, "little")
    legacy(tmp_path / "old.pth", entry(tensor(storage("0", 4, b"N"), 4)), ["0"], size + data)
    for name in ("zip", "old"):
        assert torch.equal(read_file(tmp_path / f"{name}.pth", "k")["x"], values)


@pytest.mark.parametrize("zipped_form", [True, False])
def test_what_honest_files_hold_is_read(tmp_path: Path, zipped_form: bool) -> None:
    weight = nn.Parameter(torch.randn(3, 4))
    content = {
        "state_dict": nn.Linear(4, 3).state_dict(),
        "parameter": weight,
        "tied": [weight.data, weight.data.T],
        "half": [weight.data.half(), weight.data.bfloat16(), torch.ones(2, dtype=torch.int8)],
        "meta": {"iter": 40000, "best": np.float64(61.0), "CLASSES": ("road",), "none": None},
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "lr": 1e-4, "betas": (0.9, 0.99)},
        "size": torch.Size([1, 2]),
        "dtype": torch.float32,
        "device": torch.device("cpu"),
        "empty": torch.zeros(0, 3),
        "large": 1 << 70,
    }
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped_form)
    found = read_file(tmp_path / "w.pth", "k")
    assert torch.equal(found["parameter"], weight)
    assert torch.equal(found["tied"][1], weight.T)
    assert found["meta"] == content["meta"]
    assert found["optimizer"]["state"][0]["step"] == 3
    for name in ("size", "dtype", "device", "large"):
        assert found[name] == content[name]


@pytest.mark.parametrize("name", UNUSUAL)
def test_tensors_that_are_not_plain(tmp_path: Path, name: str) -> None:
    linear = nn.Linear(4, 4, bias=False)
    before = linear.weight.clone()
    torch.save({"weight": UNUSUAL[name]}, tmp_path / "w.pth")
    with pytest.raises(InputError) as caught:
        take_over(linear, read_tensors(tmp_path / "w.pth", "k"), "k=w.pth")
    assert len(str(caught.value).splitlines()) == 1
    assert torch.equal(linear.weight, before)


@pytest.mark.parametrize("state", [{1: torch.ones(4, 4)}, {"weight": 3}, {("weight",): None}])
def test_a_state_dict_of_other_things(state: dict) -> None:
    with pytest.raises(InputError, match="no named tensors"):
        take_over(nn.Linear(4, 4, bias=False), state, "k=w.pth")


def test_names_from_a_file_stay_on_the_line(tmp_path: Path) -> None:
    torch.save({"a\nb\x1b[2J" + "c" * 5000: torch.ones(1)}, tmp_path / "w.pth")
    with pytest.raises(InputError) as caught:
        take_over(nn.Linear(1, 1), read_tensors(tmp_path / "w.pth", "k"), "k=w.pth")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("at", [0.2, 0.5, 0.8])
def test_a_flipped_bit_in_a_tensor_is_noticed(tmp_path: Path, at: float) -> None:
    torch.save({"weight": torch.randn(100, 100)}, tmp_path / "w.pth")
    content = bytearray((tmp_path / "w.pth").read_bytes())
    content[int(at * len(content))] ^= 1
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(InputError, match="the checksum of w/data/0 is wrong"):
        read_file(tmp_path / "w.pth", "k")


def test_every_byte_of_an_export_counts(tmp_path: Path) -> None:
    """Each byte changed: the file is refused, or its tensors are what they were."""
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b.c": torch.ones(2, dtype=torch.int64)}
    file = tmp_path / "model.safetensors"
    write_safetensors(file, tensors)
    whole = file.read_bytes()
    for place in range(len(whole)):
        for change in (1, 0x20, 0x80):
            damaged = bytearray(whole)
            damaged[place] ^= change
            file.write_bytes(damaged)
            with contextlib.suppress(InputError):
                assert digest_of(read_file(file, "k")) == digest_of(tensors)


def test_files_without_a_digest_are_read(tmp_path: Path) -> None:
    for metadata in (None, {"format": "pt"}, {"sshs": "a" * 64}):
        save_file({"a": torch.ones(3)}, tmp_path / "model.safetensors", metadata)
        assert torch.equal(read_file(tmp_path / "model.safetensors", "k")["a"], torch.ones(3))


def test_the_digest_is_of_names_types_shapes_and_values() -> None:
    one = {"a": torch.zeros(2, 3)}
    others = [
        {"b": torch.zeros(2, 3)},
        {"a": torch.zeros(3, 2)},
        {"a": torch.zeros(2, 3, dtype=torch.int32)},
        {"a": torch.full((2, 3), -0.0)},
    ]
    assert len({digest_of(each) for each in (one, *others)}) == 5
    assert digest_of({"a": torch.zeros(3, 2).T}) == digest_of(one)


def test_weights_in_another_order_of_memory_are_written(tmp_path: Path) -> None:
    weight = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    write_safetensors(tmp_path / "m.safetensors", {"w": weight})
    assert torch.equal(load_file(tmp_path / "m.safetensors")["w"], weight)


def test_a_header_that_lies(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}})
    content = len(header).to_bytes(8, "little") + header.encode() + bytes(16)
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="is the file whole"):
        read_file(tmp_path / "w.safetensors", "k")
