"""What networks allocate and fill with random numbers while they are built.

Networks that a file's configuration asks for are no larger than the weights beside it explain.

A few hundred bytes of configuration can name a network of gigabytes. It is refused while it is
built, before the tensor that is one too many is allocated.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from sepico_pl.types import InputError

FACTOR = 3
"""Weights may be stored in half precision, and ResNets build layers that they then replace."""
RANDOM_STARTS = {torch.ops.aten.normal_.default, torch.ops.aten.uniform_.default}
"""What fills new weights with random numbers."""
SPARE = 64 << 20
"""Bytes for what is built and not stored: a classifier that timm drops, confusion matrices."""


@contextmanager
def bounded_by(tensors: Mapping[Any, object], what: str) -> Iterator[None]:
    """Refuse to build more than a file's tensors explain; draw no random weights for it to replace.

    Args:
        tensors: the file's weights; what is no tensor counts nothing.
        what: the file, for the message.

    Raises:
        InputError: as soon as `FACTOR` times their bytes, and `SPARE`, are used up.
    """
    with _Budget(bytes_of(tensors), what):
        yield


@contextmanager
def shapes_unfilled() -> Iterator[None]:
    """Draw no random numbers for tensors without values: torch imports sympy (0.4 s) for that."""
    with _ShapesUnfilled():  # type: ignore[no-untyped-call]
        yield


def bytes_of(tensors: Mapping[Any, object]) -> int:
    """Return the bytes that tensors hold; those of values they share count once."""
    storages = [one.untyped_storage() for one in tensors.values() if isinstance(one, Tensor)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


class _Building(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees what a network that is being built asks of torch."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Never: no network is compiled while it is built."""
        return False


class _ShapesUnfilled(_Building):  # type: ignore[no-untyped-call]
    """Fills no tensor without values at random."""

    def __torch_dispatch__(
        self,
        func: OpOverload[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Call an operator of torch, unless it fills what has no values."""
        if func in RANDOM_STARTS and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))


class _Budget(_Building):  # type: ignore[no-untyped-call]
    """Counts what is allocated, each tensor before it is, and fills none at random.

    Args:
        held: bytes of the file's tensors.
        what: the file, for the message.
    """

    def __init__(self, held: int, what: str) -> None:
        """Begin to count."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.held, self.what = held, what
        self.used = 0

    def __torch_dispatch__(
        self,
        func: OpOverload[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Call an operator of torch, unless the budget does not allow what it allocates.

        Raises:
            InputError: if it does not.
        """
        keywords = kwargs or {}
        self.used += _allocated(func, args, keywords)
        if self.used > FACTOR * self.held + SPARE:
            message = (
                f"{self.what}: its configuration asks for a network of more than "
                f"{self.used >> 20} MiB and its weights have {self.held >> 20} MiB; "
                "fetch or make it again"
            )
            raise InputError(message)
        return args[0] if func in RANDOM_STARTS else func(*args, **keywords)


def _allocated(func: OpOverload[..., Any], args: tuple[Any, ...], keywords: dict[str, Any]) -> int:
    """Return the bytes of what an operator makes, if it is one that copies or chooses a device."""
    if func is torch.ops.aten.clone.default:
        return int(args[0].nbytes)
    if not _chooses_device(func):
        return 0
    if torch.device(keywords.get("device") or "cpu").type == "meta":
        return 0
    return int(func(*args, **{**keywords, "device": "meta"}).nbytes)


@cache
def _chooses_device(func: OpOverload[..., Any]) -> bool:
    return any(argument.name == "device" for argument in func._schema.arguments)
