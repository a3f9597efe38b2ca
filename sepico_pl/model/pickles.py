"""Goes through a pickle of tensors with stand-ins: what it names, and how large it will be.

Nothing is executed, and no tensor is made.
"""

import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO, ClassVar, cast

import torch

MOST_VALUES = 1_000_000
"""In a pickle's nested mappings and lists, what is repeated counted each time."""
DEEPEST = 64
ITEM_BYTES = {
    "DoubleStorage": 8,
    "FloatStorage": 4,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "LongStorage": 8,
    "IntStorage": 4,
    "ShortStorage": 2,
    "CharStorage": 1,
    "ByteStorage": 1,
    "BoolStorage": 1,
}
DTYPES = {
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
}
KNOWN = {
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch.Size",
    "torch.device",
    "_codecs.encode",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    *(f"torch{room}.{name}" for room in ("", ".cuda") for name in ITEM_BYTES),
    *map(str, DTYPES),
}
# What torch's own reader of weights knows, but for the making of objects and of sets.
OPCODES = """
GLOBAL REDUCE BUILD APPEND APPENDS SETITEM SETITEMS MARK TUPLE TUPLE1 TUPLE2 TUPLE3 NONE NEWFALSE
NEWTRUE EMPTY_TUPLE EMPTY_LIST EMPTY_DICT BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE
SHORT_BINSTRING BINPERSID BINGET LONG_BINGET BINPUT LONG_BINPUT PROTO STOP
""".split()  # noqa: SIM905
ORDINARY = cast(dict[int, Callable[[Any], None]], pickle._Unpickler.dispatch)


class Damaged(ValueError):
    """A file is not what its form demands."""


class ForeignObjects(ValueError):
    """A pickle names what is no part of plain tensors.

    Attributes:
        names: of what it names, sorted.
    """

    def __init__(self, names: Iterable[str]) -> None:
        """Hold the names."""
        self.names = sorted(names)
        super().__init__(", ".join(self.names))


class _StandIn:
    """What a pickle names or makes, without being it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *given: Any) -> Any:  # noqa: ANN401
        if self.name == "collections.OrderedDict":
            pairs: list[Any] = list(*given)
            _check_keys(key for key, _ in pairs)
            return OrderedDict(pairs)
        return _StandIn("made")

    def __setstate__(self, state: object) -> None:
        """Leave the state."""


def _check_keys(keys: Iterable[object]) -> None:
    """Refuse keys that are not plain; the hash of deeply nested tuples ends the process."""
    for key in keys:
        if not isinstance(key, str | int | float | bytes | None):
            message = f"a {type(key).__name__} as a key"
            raise Damaged(message)


def _set_item(survey: "Survey") -> None:
    _check_keys(survey.stack[-2:-1])
    ORDINARY[pickle.SETITEM[0]](survey)


def _set_items(survey: "Survey") -> None:
    _check_keys(survey.stack[::2])
    ORDINARY[pickle.SETITEMS[0]](survey)


class Survey(pickle._Unpickler):
    """Goes through pickles; collects the names and the storages in them.

    Attributes:
        foreign: names that are not `KNOWN`.
        storages: bytes by key.
    """

    stack: list[Any]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **{getattr(pickle, name)[0]: ORDINARY[getattr(pickle, name)[0]] for name in OPCODES},
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_items,
    }

    def __init__(self, content: BinaryIO) -> None:
        super().__init__(content, encoding="utf-8")
        self.foreign: set[str] = set()
        self.storages: dict[str, int] = {}

    def find_class(self, module: str, name: str) -> _StandIn:
        """Return a stand-in for what is named; note it if it is foreign."""
        found = f"{module}.{name}"
        if found not in KNOWN:
            self.foreign.add(found)
        return _StandIn(found)

    def persistent_load(self, pid: Any) -> _StandIn:  # noqa: ANN401
        """Return a stand-in for a storage; note its size.

        Raises:
            Damaged: if it has none, or several.
        """
        kind, storage, key, _, count, *view = pid
        if kind != "storage" or not isinstance(key, str) or not isinstance(count, int):
            message = "a reference to no storage"
            raise Damaged(message)
        size = count * ITEM_BYTES[storage.name.rpartition(".")[2]]
        if count < 0 or self.storages.setdefault(key, size) != size:
            message = f"storage {key} has no size, or several"
            raise Damaged(message)
        for _, offset, length in filter(None, view):
            if offset < 0 or length < 0 or offset + length > count:
                message = f"a view reaches out of storage {key}"
                raise Damaged(message)
        return _StandIn("storage")

    def next(self) -> object:
        """Return what the next pickle holds, with stand-ins.

        Raises:
            ForeignObjects: if it names others than tensors.
            Exception: of any kind, if it is damaged.
        """
        try:
            content = self.load()
        except Exception:
            if self.foreign:
                raise ForeignObjects(self.foreign) from None
            raise
        if self.foreign:
            raise ForeignObjects(self.foreign)
        _measure(content)
        return content


def _measure(content: object) -> None:
    """Bound depth and extent of nested mappings and lists, as whoever walks them meets it."""
    waiting = [(content, 0)]
    seen = 0
    while waiting:
        value, depth = waiting.pop()
        inner: list[object] = []
        if isinstance(value, Mapping):
            inner = [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple):
            inner = list(value)
        seen += len(inner) + (len(value) // 64 if isinstance(value, str | bytes) else 0)
        if seen > MOST_VALUES or depth > DEEPEST:
            message = f"more than {MOST_VALUES} values, or {DEEPEST} levels of them"
            raise Damaged(message)
        waiting += [(one, depth + 1) for one in inner]
