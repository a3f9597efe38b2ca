"""The configuration of a run that is resumed: as it was recorded, with what is typed now.

What was recorded is data: it was resolved when the run began, and is checked like that of any file.
What the words typed now stand for is found by composing with and without them.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from sepico_pl.assembly import Config, absolute_paths, plain_config
from sepico_pl.checkpoints import read_checkpoint
from sepico_pl.plain_data import check_file_config, check_recorded_targets
from sepico_pl.resuming import RECORD, key_of, read_record

Keys = tuple[str | int, ...]
ABSENT = object()
NEVER_RECORDED: list[Keys] = [("resume",), ("checked",)]
"""Keys that a file does not set: what is resumed, and a file that is written to."""


def configuration(config: DictConfig, checkpoint: Path | None, folder: Path) -> Config:
    """Return the configuration of a run, new or resumed, as plain types.

    Args:
        config: as Hydra composed it.
        checkpoint: that is resumed; None for a run that begins.
        folder: of the run.

    Raises:
        InputError: if what was recorded is no plain data, or names what a file may not.
    """
    if config.resume is None or HydraConfig.get().mode == RunMode.MULTIRUN:
        return plain_config(config)
    if checkpoint is not None:
        what = f"resume={checkpoint}"
        recorded = read_checkpoint(checkpoint, key="resume")["config"]
    else:
        what = str(folder / RECORD)
        recorded = read_record(folder).get("config")
        if recorded is None:
            return plain_config(config)
        check_file_config(recorded, what)
        print(f"{folder} has no checkpoint: its run begins again, as it was recorded")
    before, typed = recorded_and_typed(list(HydraConfig.get().overrides.task))
    groups = HydraConfig.get().runtime.choices
    values = [word for word in typed if key_of(word) not in groups]
    now = composed(config)
    merged = with_typed(recorded, composed(compose("config", before)), now, values)
    check_recorded_targets(untyped(merged, now), what)
    return merged


def recorded_and_typed(words: list[str]) -> tuple[list[str], list[str]]:
    """Part the words before `resume=`, which `resuming.continued` put there, from those behind."""
    place = next(index for index, word in enumerate(words) if key_of(word) == "resume")
    return words[:place], words[place + 1 :]


def composed(config: DictConfig) -> Config:
    """Resolve a configuration into plain types; what has no value yet stays `???`."""
    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    return absolute_paths(cast(Config, plain))


def with_typed(recorded: Config, without: Config, now: Config, values: list[str]) -> Config:
    """Return a recorded configuration with what the words typed now change.

    Args:
        recorded: plain types; is left as it is.
        without: composed without the words.
        now: composed with them.
        values: those of the words that set a value, which counts also where it is the default.
    """
    merged = copy.deepcopy(recorded)
    before, after = dict(leaves(without)), dict(leaves(now))
    for path in before.keys() - after.keys():
        _remove(merged, path)
    for path, value in after.items():
        if path not in before or before[path] != value:
            _put(merged, path, value)
    named = [tuple(key_of(word).split(".")) for word in values]
    for path in [*NEVER_RECORDED, *named]:
        if _at(now, path) is not ABSENT:
            _put(merged, path, _at(now, path))
    return merged


def leaves(node: object, path: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """Yield what is no dict below `node`, and empty dicts, by the keys that lead there."""
    if not isinstance(node, dict) or not node:
        yield path, node
        return
    for key, value in node.items():
        yield from leaves(value, (*path, key))


def untyped(merged: Config, now: Config) -> Config:
    """Return trainer and loggers of a configuration that are not those composed now."""
    kept = {
        name: logger
        for name, logger in merged["logger"].items()
        if now["logger"].get(name) != logger
    }
    return {"trainer": merged["trainer"], "logger": kept}


def _at(node: Any, path: Keys) -> Any:  # noqa: ANN401
    for key in path:
        if not isinstance(node, dict) or key not in node:
            return ABSENT
        node = node[key]
    return node


def _put(config: Config, path: Keys, value: object) -> None:
    """Set the value at a path; dicts on the way are made."""
    node: Any = config
    for key in path[:-1]:
        if not isinstance(node.get(key), dict):
            node[key] = {}
        node = node[key]
    node[path[-1]] = copy.deepcopy(value)


def _remove(config: Config, path: Keys) -> None:
    """Take away what is at a path, and what becomes empty by it."""
    parent = _at(config, path[:-1])
    if path and isinstance(parent, dict) and path[-1] in parent:
        del parent[path[-1]]
        if not parent:
            _remove(config, path[:-1])
