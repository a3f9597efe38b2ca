"""Refuses keys and options that no configuration has, and names the nearest; imports no torch."""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, MissingConfigException
from omegaconf import DictConfig, OmegaConf

from sepico_pl.signatures import Signature, signature_of

TARGET = "_target_"
NAMED_BY_USERS = ("logger",)
"""Groups whose parts may have any name."""
NEEDED = {
    "trainer": (
        "devices",
        "log_every_n_steps",
        "max_steps",
        "num_nodes",
        "precision",
        "sync_batchnorm",
        "val_check_interval",
    )
}
"""Keys of a part that the program itself reads."""
HYDRA_READS = ("run", "sweep", "job")
"""What Hydra takes from users and that has keys of its own; others may hold any, as loggers do."""
GROUP_WITH_KEYS = "target"
"""The group that brings a key of its own (`dataset`) into `evaluate` and others."""
NOT_OVERRIDDEN = re.compile(r"Could not (?:override|delete from config\.?) '?([^'\s]+)'?")
REFERENCE = re.compile(r"\$\{(\.*)(\w[\w.]*)")
CLOSE = 0.6
Node = Mapping[str, Any]


def default_keys(folder: str, name: str, words: Sequence[str] = ()) -> Node:
    """Return a command's configuration as it is when nothing is typed, unresolved.

    Args:
        folder: of the configuration.
        name: of the file in it.
        words: options that bring keys with them.
    """
    GlobalHydra.instance().clear()
    with initialize_config_dir(folder, version_base="1.3"):
        return plain(compose(name, list(words)))


def plain(config: DictConfig) -> Node:
    """Return a configuration as plain types, unresolved."""
    return cast(Node, OmegaConf.to_container(config, resolve=False))


def refused_key(config: Node, known: Node, hydra: Node | None = None) -> str | None:
    """Return what is wrong with the first key that nothing reads, or that is missing; else None.

    Args:
        config: as it was composed, unresolved.
        known: see `default_keys`.
        hydra: Hydra's own, unresolved, which may refer to keys of `config`.
    """
    references = REFERENCE.findall(f"{config} {hydra}")
    for key, arguments in _strange(config, known, ""):
        if not any(_reads(dots, name, key) for dots, name in references):
            return no_such_key(key, known, arguments)
    for key in _missing(config, known, ""):
        return (
            f"{key} was taken out (~{key}) and is needed; leave ~{key} away, or set {key}=<value>"
        )
    return None


def _reads(dots: str, name: str, key: str) -> bool:
    """Whether a reference, relative where it begins with dots, is to a key or a group of it."""
    return f"{key}.".startswith(f"{name}.") or (bool(dots) and key.endswith(f".{name}"))


def refused_hydra_key(config: Node, known: Node) -> str | None:
    """Return what is wrong with the first key below `hydra` that Hydra does not read, or None.

    Args:
        config: Hydra's own, unresolved.
        known: the same when nothing is typed.
    """
    found = {key: value for key, value in config.items() if key in HYDRA_READS or key not in known}
    strange = next(_strange(found, known, "hydra."), None)
    return None if strange is None else no_such_key(strange[0], {"hydra": known})


def _strange(found: Node, known: Node, prefix: str) -> Iterator[tuple[str, list[str]]]:
    """Yield keys that nothing reads, each with the arguments that could stand in its place."""
    for key, value in found.items():
        name = f"{prefix}{key}"
        if key not in known:
            yield _first_leaf(name, value), []
            continue
        before = known[key]
        if name in NAMED_BY_USERS or not isinstance(value, dict):
            continue
        if TARGET in value:
            yield from _strange_arguments(value, f"{name}.")
        elif isinstance(before, dict) and before and TARGET not in before:
            yield from _strange(value, before, f"{name}.")


def _strange_arguments(part: Node, prefix: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the keys of a part, and of parts within, that its `_target_` does not take."""
    signature = signature_of(part[TARGET])
    for key, value in part.items():
        if signature is not None and not key.startswith("_") and key not in signature.names:
            yield f"{prefix}{key}", [f"{prefix}{one}" for one in sorted(signature.names)]
        elif isinstance(value, dict) and TARGET in value:
            yield from _strange_arguments(value, f"{prefix}{key}.")


def _missing(found: Node, known: Node, prefix: str) -> Iterator[str]:
    """Yield keys that a command has by default and needs, and that were taken out."""
    for key, before in known.items():
        name = f"{prefix}{key}"
        if key not in found:
            yield name
        elif isinstance(before, dict) and isinstance(found[key], dict):
            if TARGET not in before:
                yield from (
                    () if name in NAMED_BY_USERS else _missing(found[key], before, f"{name}.")
                )
            elif before[TARGET] == found[key].get(TARGET):
                needed = _needed(name, before, signature_of(before[TARGET]))
                yield from (f"{name}.{one}" for one in needed if one not in found[key])


def _needed(name: str, part: Node, signature: Signature | None) -> list[str]:
    if name in NEEDED:
        return list(NEEDED[name])
    return [] if signature is None else [one for one in part if one in signature.required]


def _first_leaf(name: str, value: object) -> str:
    return next((one for one in _leaves({name: value}, "") if one != name), name)


def no_such_key(key: str, known: Node, arguments: Sequence[str] = ()) -> str:
    """Say that there is no such key, and which is nearest.

    Args:
        key: that was typed.
        known: see `default_keys`.
        arguments: further keys that could be typed.
    """
    parent, _, _ = key.rpartition(".")
    near = nearest_key(key, known, arguments)
    beside = [one for one in _leaves(known, "") if parent and one.rpartition(".")[0] == parent]
    if near is not None and near != parent:
        meant = f"did you mean {near}?"
    else:
        meant = f"there are {', '.join(beside)}" if beside else "--help lists all"
    return f"{key}: there is no such key; {meant}"


def nearest_key(key: str, known: Node, arguments: Sequence[str] = ()) -> str | None:
    """Return the key that was most likely meant; None where none is near.

    One whose last part is the same, or has it for its initials (lr: learning_rate), or is spelt
    nearly so.
    """
    keys = [*_leaves(known, ""), *arguments]
    last = key.rpartition(".")[2]
    parts = {one: one.rpartition(".")[2] for one in keys}
    for fits in (
        lambda part: part == last,
        lambda part: "".join(word[:1] for word in part.split("_")) == last,
    ):
        found = [one for one, part in parts.items() if fits(part)]
        if found:
            return max(found, key=lambda one: _in_common(one, key))
    whole = get_close_matches(key, keys, n=1, cutoff=CLOSE)
    if whole:
        return whole[0]
    close = get_close_matches(last, parts.values(), n=1, cutoff=CLOSE)
    return next((one for one, part in parts.items() if close and part == close[0]), None)


def _in_common(one: str, other: str) -> int:
    return len(set(one.split(".")) & set(other.split(".")))


def _leaves(node: Node, prefix: str) -> Iterator[str]:
    for key, value in node.items():
        if str(key).startswith("_"):
            continue
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")


def refused_choice(error: MissingConfigException) -> str:
    """Say which options a group has, where one was typed that it has not."""
    group, _, option = str(error.missing_cfg_file).rpartition("/")
    options = sorted(error.options or ())
    if not group or not options:
        return " ".join(str(error).split())
    close = get_close_matches(option, options, n=1, cutoff=CLOSE)
    meant = f"did you mean {close[0]}? " if close else ""
    return f"{group}={option}: there is no such option; {meant}There are: {', '.join(options)}"


def refused_override(error: ConfigCompositionException, folder: str, name: str) -> str | None:
    """Say which key was most likely meant, where one was typed that does not exist.

    Args:
        error: Hydra's.
        folder: of the configuration.
        name: of the file in it.
    """
    found = NOT_OVERRIDDEN.search(str(error))
    if found is None or not Path(folder).is_dir():
        return None
    known = default_keys(folder, name)
    typed = found.group(1).rstrip(".")
    return None if _exists(typed, known) else no_such_key(typed, known)


def _exists(key: str, known: Node) -> bool:
    node: Any = known
    for part in key.split("."):
        if not isinstance(node, dict) or part not in node:
            return False
        node = node[part]
    return True
