"""Paths on a command line: taken as they are typed, whatever characters are in them."""

import os
import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from sepico_pl.quoting import quoted_value

OWN_FOLDERS = ("_images", "_labels")
"""How the keys of the folders of one's own data end."""
DATA_PATHS = (*OWN_FOLDERS, ".root", ".listed")
"""How the keys of paths below `dataset` end."""
ESCAPED = re.compile(r"\\([\\=,\[\]{}() '\":])")
LEFT_ALONE = ("'", '"', "${", "$")
"""How a value begins that Hydra is meant to read: quotes and interpolations."""


def paths(*keys: str) -> Callable[[Sequence[str]], list[str]]:
    """Return `words` for `command` that leave paths such as `2024` or `a [1], b` as they are typed.

    Args:
        keys: of the paths; Hydra's grammar would read numbers, lists, choices and keys there.
    """

    def quoted(words: Sequence[str]) -> list[str]:
        several = bool({"-m", "--multirun"} & set(words))
        return [word if several else as_typed(word, keys) for word in words]

    return quoted


def as_typed(word: str, keys: Collection[str]) -> str:
    """Return an override in which a path is quoted for Hydra; any other word as it is.

    `~` is the home folder. A path that does not exist is looked for with its accents composed and
    decomposed, as file systems store them in either way.

    Args:
        word: as typed.
        keys: of the paths, besides those of data sets.
    """
    key, equals, value = word.partition("=")
    name = key.lstrip("+")
    if not equals or not is_path(name, keys) or value in ("", "null"):
        return word
    if value.startswith(LEFT_ALONE):
        return word
    return f"{key}={quoted_value(existing_spelling(os.path.expanduser(value)))}"


def is_path(key: str, keys: Collection[str]) -> bool:
    """Whether a key is that of a path."""
    of_data = key.startswith("dataset.") and key.endswith(DATA_PATHS)
    return key in keys or of_data or key == "data_root" or key.startswith("paths.")


def existing_spelling(path: str) -> str:
    """Return a path in the form in which it exists; as it is where it exists in none.

    Its accents composed or decomposed, or without the backslashes of Hydra's grammar.
    """
    spellings = [path, *(unicodedata.normalize(form, path) for form in ("NFC", "NFD"))]
    spellings.append(ESCAPED.sub(r"\1", path))
    return next((one for one in spellings if Path(one).exists()), path)
