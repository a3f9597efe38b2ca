"""The configuration of a run that is resumed: as it was recorded, with what is typed now.

What was recorded is data: it was resolved when the run began, and is checked like that of any file.
Words typed now change it as they would have changed the configuration that it was resolved from:
conf/ is composed with the recorded options, with and without the words, and the recorded values
take the places of those that the words do not override. What is passed about are nested dicts,
their texts unresolved ("raw") or resolved, and flat ones of their leaves by keys.
"""

import os
import platform
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from sepico_pl.assembly import Config, absolute_paths, plain_config
from sepico_pl.checkpoints import built_from_file, check_parts, read_checkpoint
from sepico_pl.constructors import TARGET
from sepico_pl.plain_data import INTERPOLATION, check_file_config, check_recorded_targets
from sepico_pl.resuming import RECORD, key_of, read_record
from sepico_pl.types import InputError

Keys = tuple[str | int, ...]
Leaves = dict[Keys, Any]

NOT_RECORDED = (("resume",), ("checked",))
"""What a file does not set: the checkpoint that is resumed, and a file that is written to."""
WANDB = "sepico_pl.loggers.wandb_logger"


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
        check_parts(check_file_config(recorded, what), what)
        print(f"{folder} has no checkpoint: its run begins again, as it was recorded")
    with built_from_file(what):
        return continued(recorded, config, folder, what)


def continued(recorded: Config, config: DictConfig, folder: Path, what: str) -> Config:
    """Return a recorded configuration with what is typed now; see `configuration`.

    Args:
        recorded: plain types.
        config: as Hydra composed it, with the words.
        folder: of the run.
        what: the file that it was recorded in, for messages.
    """
    before, typed = recorded_and_typed(list(HydraConfig.get().overrides.task))
    without, now = raw(compose("config", before)), raw(config)
    overridden = overridden_by(typed, without, now)
    untyped = {keys: value for keys, value in leaves(recorded) if keys not in overridden}
    check_recorded_targets(nested(untyped), without["trainer"], what)
    refuse_requests(nested(untyped), folder)
    return resolved(merged(leaves(recorded), without, now, overridden))


def recorded_and_typed(words: list[str]) -> tuple[list[str], list[str]]:
    """Part the words before `resume=`, which `resuming.continued` put there, from those behind."""
    place = next(index for index, word in enumerate(words) if key_of(word) == "resume")
    return words[:place], words[place + 1 :]


def raw(config: DictConfig) -> Config:
    """Return a configuration as plain types, interpolations unresolved."""
    return cast(Config, OmegaConf.to_container(config, resolve=False))


def resolved(config: Config) -> Config:
    """Resolve a configuration into plain types; what has no value yet stays `???`."""
    plain = OmegaConf.to_container(OmegaConf.create(config), resolve=True, throw_on_missing=False)
    return absolute_paths(cast(Config, plain))


class Overridden:
    """The keys that words change.

    Args:
        named: keys that words name, with all below them.
        leaves: further keys.
    """

    def __init__(self, named: Iterable[Keys], leaves: Iterable[Keys]) -> None:
        """Hold them."""
        self.named, self.leaves = tuple(named), frozenset(leaves)

    def __contains__(self, keys: Keys) -> bool:
        """Whether a leaf is among them."""
        return keys in self.leaves or any(keys[: len(one)] == one for one in self.named)


def overridden_by(typed: list[str], without: Config, now: Config) -> Overridden:
    """Return the keys that the words typed now change.

    A value counts also where it is the default, and of the loggers all are replaced.

    Args:
        typed: the words.
        without: raw, composed without them.
        now: raw, composed with them.
    """
    groups = HydraConfig.get().runtime.choices
    words = [key_of(word) for word in typed]
    named = [tuple(word.split(".")) for word in words if word not in groups or word == "logger"]
    before, after = dict(leaves(without)), dict(leaves(now))
    keys = before.keys() | after.keys()
    differing = [one for one in keys if before.get(one, typed) != after.get(one, typed)]
    return Overridden([*named, *NOT_RECORDED], differing)


def merged(
    recorded: Iterable[tuple[Keys, Any]], without: Config, now: Config, overridden: Overridden
) -> Config:
    """Return the raw configuration: of now where words override it, as recorded elsewhere.

    What is an interpolation and gives the recorded value stays one, so that it follows the words.
    """
    values = dict(recorded)
    base = {**dict(leaves(without)), **values}
    base = {keys: value for keys, value in base.items() if keys in values}
    for keys, value in leaves(without):
        if keys in values and _is_interpolation(value):
            base[keys] = value
    _restore_values(base, values)
    base = {keys: value for keys, value in base.items() if keys not in overridden}
    return nested({**base, **{keys: value for keys, value in leaves(now) if keys in overridden}})


def _restore_values(base: Leaves, values: Leaves) -> None:
    """Put recorded values where interpolations give others: first where no other one is behind."""
    while True:
        found = dict(leaves(resolved(nested(base))))
        wrong = {
            keys: str(base[keys])
            for keys, value in values.items()
            if _is_interpolation(base[keys]) and found.get(keys) != value
        }
        if not wrong:
            return
        names = {keys: ".".join(map(str, keys)) for keys in wrong}
        first = [
            keys
            for keys, text in wrong.items()
            if not any(name in text for other, name in names.items() if other != keys)
        ]
        for keys in first or wrong:
            base[keys] = values[keys]


def _is_interpolation(value: object) -> bool:
    return INTERPOLATION in str(value)


def refuse_requests(recorded: Config, folder: Path) -> None:
    """Let a run of another machine ask the network for nothing that is not typed now.

    Args:
        recorded: what no word overrides.
        folder: of the run; its record names the machine.

    Raises:
        InputError: for a run that begins again with pretrained weights.
    """
    if read_record(folder).get("host") == platform.node():
        return
    backbone, loggers = recorded.get("backbone", {}), recorded.get("logger", {})
    weights = backbone.get("weights")
    if weights is not None and not list((folder / "checkpoints").glob("*.ckpt")):
        message = (
            f"{folder}: its run was made on another machine and begins with weights; type "
            f"backbone.weights={weights} again if they are to be used"
        )
        raise InputError(message)
    if any(isinstance(part, dict) and part.get(TARGET) == WANDB for part in loggers.values()):
        os.environ.setdefault("WANDB_MODE", "offline")
        print(
            "Weights & Biases: offline, as the run was made on another machine; "
            "logger=wandb goes online"
        )


def leaves(node: object, keys: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """Yield what is no dict below `node`, and empty dicts, with the keys that lead there."""
    if not isinstance(node, dict) or not node:
        yield keys, node
        return
    for key, value in node.items():
        yield from leaves(value, (*keys, key))


def nested(flat: Leaves) -> Config:
    """Return the dicts that leaves are of."""
    config: Config = {}
    for keys, value in flat.items():
        node: dict[Any, Any] = config
        for key in keys[:-1]:
            if not isinstance(node.get(key), dict):
                node[key] = {}
            node = node[key]
        node[keys[-1]] = value
    return config
