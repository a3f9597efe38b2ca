"""JSON that others may have written: its types are checked, and a fault is one line."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from sepico_pl.types import InputError

LARGEST = 16 * 2**20
"""Bytes of a file; ours have a few thousand."""
DEEPEST = 40
LONGEST_PLACE = 100
REMEDY = "restore it, or leave this run out"
DAMAGED = (OSError, ValueError, RecursionError)
"""What a damaged JSON text raises, or a file that cannot be read."""


class Content(BaseModel):
    """What a file must hold: numbers are no strings, further keys are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


Kind = TypeVar("Kind", bound=Content)


def read_json(path: Path, kind: type[Kind], remedy: str = REMEDY) -> Kind:
    """Read a JSON file of one kind.

    Raises:
        InputError: if it cannot be read, or holds something else.
    """
    return checked(load_json(path, remedy), kind, path, remedy)


def load_json(path: Path, remedy: str = REMEDY) -> dict[str, Any]:
    """Read a JSON file that holds a dict.

    Raises:
        InputError: if it cannot be read or is no dict.
    """
    try:
        if path.is_fifo():  # reading it would wait for a writer
            message = f"{path}: a pipe where a file should be; {remedy}"
            raise InputError(message)
        if path.stat().st_size > LARGEST:
            message = f"{path}: has more than {LARGEST} bytes; {remedy}"
            raise InputError(message)
        content = parsed(path.read_bytes())
    except InputError:
        raise
    except DAMAGED as error:
        message = f"{path}: cannot be read as JSON ({reason_of(error)}); {remedy}"
        raise InputError(message) from error
    if not isinstance(content, dict):
        message = f"{path}: holds no keys but a {type(content).__name__}; {remedy}"
        raise InputError(message)
    return content


def parsed(text: bytes | str) -> Any:  # noqa: ANN401
    """Parse JSON; text in it can be encoded, and it is `DEEPEST` deep at most.

    Raises:
        ValueError, RecursionError: if it is damaged.
    """
    return _encodable(json.loads(text), DEEPEST)


def _encodable(node: Any, depth: int) -> Any:  # noqa: ANN401
    """Write out surrogates, which no file can hold."""
    if depth == 0:
        message = f"nested more than {DEEPEST} deep"
        raise ValueError(message)
    if isinstance(node, str):
        return node.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(node, list):
        return [_encodable(value, depth - 1) for value in node]
    if isinstance(node, dict):
        return {_encodable(key, 1): _encodable(value, depth - 1) for key, value in node.items()}
    return node


def reason_of(error: BaseException) -> str:
    """Say in a few words why a file could not be read."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return (isinstance(error, OSError) and error.strerror) or str(error)


def checked(content: object, kind: type[Kind], path: Path, remedy: str = REMEDY) -> Kind:
    """Return content as one kind.

    Raises:
        InputError: naming the first place that holds something else.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, fault["loc"]))[:LONGEST_PLACE]
        said = fault["msg"].removeprefix("Value error, ")
        where = f"{path}: {place}" if place else str(path)
        message = f"{where}: {said[0].lower()}{said[1:]}; {remedy}"
        raise InputError(message) from error
