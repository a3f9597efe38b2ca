"""Configurations that a file holds: plain data, never code, checked before anything reads them."""

import os
from collections.abc import Collection, Mapping

from sepico_pl.constructors import RECORDED, TARGET
from sepico_pl.limits import check_limits
from sepico_pl.types import Config, InputError

INTERPOLATION = "${"
MOST_LEVELS, MOST_VALUES, LONGEST_TEXT = 20, 20_000, 20_000


def check_file_config(config: object, what: str) -> Config:
    """Return a configuration that a file holds once it is known to be harmless.

    Args:
        config: what the file holds.
        what: the option and file, for messages.

    Raises:
        InputError: if it is no dict of plain values, if a text holds an interpolation, or if a
            number is out of range.
    """
    if not isinstance(config, dict):
        message = f"{what}: its config is no dict of keys and values; is the file whole?"
        raise InputError(message)
    _Walk(what).check(config, "config", 0)
    try:
        check_limits(config)
    except InputError as error:
        message = f"{what}: its config says {error}"
        raise InputError(message) from error
    return config


def check_recorded_targets(config: Config, trainer_keys: Collection[str], what: str) -> None:
    """Check that trainer and loggers of a run to resume are what a file may choose.

    Args:
        config: the configuration, without what is typed.
        trainer_keys: that a file may set.
        what: the file, for messages.

    Raises:
        InputError: naming the first thing that is not.
    """
    loggers = config.get("logger")
    named = [("trainer", config.get("trainer"))]
    if isinstance(loggers, Mapping):
        named += [("logger", logger) for logger in loggers.values()]
    for key, part in named:
        target = part.get(TARGET) if isinstance(part, Mapping) else part
        if target not in RECORDED[key]:
            message = (
                f"{what}: its {key} is {target}, which a file may not choose; "
                f"give it on the command line ({key}=<name>)"
            )
            raise InputError(message)
    _check_trainer(config["trainer"], trainer_keys, what)


def _check_trainer(trainer: Config, keys: Collection[str], what: str) -> None:
    strange = sorted(str(key) for key in trainer if key not in keys)
    if strange:
        message = f"{what}: it sets trainer.{strange[0]}, which counts only where it is typed again"
        raise InputError(message)
    devices = trainer.get("devices")
    number = len(devices) if isinstance(devices, list) else devices
    cores = os.cpu_count() or 1
    if isinstance(number, str) and number.isdecimal():
        number = int(number)
    if isinstance(number, int) and number > cores:
        message = (
            f"{what}: it asks for {number} processes and there are {cores} cores; "
            "type trainer.devices=<number>"
        )
        raise InputError(message)


class _Walk:
    """Looks at every value of a configuration, and counts them.

    Args:
        what: the option and file, for messages.
    """

    def __init__(self, what: str) -> None:
        """Begin to count."""
        self.what = what
        self.values = 0

    def check(self, node: object, where: str, level: int) -> None:
        """Check a value and all below it.

        Raises:
            InputError: naming the first that is not plain.
        """
        self.values += 1
        if level > MOST_LEVELS or self.values > MOST_VALUES:
            self._refuse(where, "it is nested too deeply, or has too many values")
        if isinstance(node, dict):
            for key, value in node.items():
                if not isinstance(key, str | int):
                    self._refuse(where, f"a key is a {type(key).__name__}")
                self._check_text(str(key), where)
                self.check(value, f"{where}.{key}", level + 1)
        elif isinstance(node, list | tuple):
            for value in node:
                self.check(value, where, level + 1)
        elif isinstance(node, str):
            self._check_text(node, where)
        elif node is not None and not isinstance(node, int | float):
            self._refuse(where, f"a {type(node).__name__} where a plain value belongs")

    def _check_text(self, text: str, where: str) -> None:
        if INTERPOLATION in text:
            self._refuse(where, f"the interpolation {text[:60]!r} is not on offer in a file")
        if len(text) > LONGEST_TEXT:
            self._refuse(where, f"a text of {len(text)} characters")

    def _refuse(self, where: str, reason: str) -> None:
        message = f"{self.what}: {where[:200]}: {reason}; it was not made by sepico_pl"
        raise InputError(message)
