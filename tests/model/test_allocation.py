"""Networks from a file's configuration: refused before what is one too many is allocated."""

import copy

import pytest
import torch
from torch import nn

from sepico_pl.model.allocation import FACTOR, SPARE, bounded_by, bytes_of
from sepico_pl.types import InputError

TERABYTES = 10**12


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Linear(10**6, 10**6),
        lambda: nn.Conv2d(10**5, 10**6, 3),
        lambda: nn.Parameter(torch.zeros(TERABYTES)),
        lambda: torch.Tensor(10**6, 10**6),
        lambda: torch.eye(10**6),
        lambda: torch.arange(TERABYTES),
        lambda: torch.ones(1).new_zeros(TERABYTES),
        lambda: torch.randn(TERABYTES, generator=torch.Generator()),
        lambda: torch.ones(1).expand(TERABYTES).clone(),
        lambda: torch.ones(1).expand(TERABYTES).double(),
    ],
)
def test_one_tensor_too_large_is_never_allocated(make) -> None:
    message = r"^bad: its configuration .* MiB and its weights have 0 MiB; fetch or make it again$"
    with pytest.raises(InputError, match=message), bounded_by({"x": torch.ones(9)}, "bad"):
        make()


def test_many_small_ones_add_up_and_so_do_copies() -> None:
    def layers(number: int) -> nn.Module:
        return nn.ModuleList(nn.Linear(1024, 1024) for _ in range(number))

    some = SPARE // 4 // 1024**2 // 2  # with their copies a little more than the spare bytes
    held = {"x": torch.ones(SPARE // 4 // FACTOR)}  # allows twice the spare bytes
    with bounded_by(held, "good"):
        copied = copy.deepcopy(layers(some))
    assert len(copied) == some
    with pytest.raises(InputError), bounded_by(held, "bad"):
        layers(5 * some)
    with pytest.raises(InputError), bounded_by(held, "bad"):
        copy.deepcopy(layers(some * 2 + 1))


def test_shared_values_count_once() -> None:
    one = torch.ones(1000)
    named = {str(index): one for index in range(99)} | {"view": one[:10], "text": "heavy", 3: 7}
    assert bytes_of(named) == 4000
    assert bytes_of({**named, "other": torch.ones(1000)}) == 8000
    assert bytes_of({}) == bytes_of({"empty": torch.ones(0)}) == 0


def test_what_is_built_is_the_same_but_for_random_weights_which_the_file_replaces() -> None:
    def built() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(4, 5))

    plain = built().state_dict()
    before = torch.get_rng_state()
    with bounded_by(plain, "good"):
        counted = built()
    assert torch.equal(torch.get_rng_state(), before)
    found = counted.state_dict()
    assert [(name, one.shape, one.dtype) for name, one in found.items()] == [
        (name, one.shape, one.dtype) for name, one in plain.items()
    ]
    assert all(torch.equal(plain[name], found[name]) for name in plain if name.startswith("1."))
    counted.load_state_dict(plain)
    assert all(torch.equal(plain[name], found[name]) for name in plain)


def test_a_network_without_memory_is_free() -> None:
    with bounded_by({}, "good"), torch.device("meta"):
        assert nn.Linear(10**6, 10**6).weight.is_meta
