"""How a run was made: a few words on top of the page, all keys and the surroundings below."""

import json
import shlex
from typing import Any

from sepico_pl.reporting.comparability import STATISTICS
from sepico_pl.reporting.run_files import Record, Session
from sepico_pl.reporting.runs import Run
from sepico_pl.resuming import flat

ABSENT = "(absent)"


def overview(run: Run, baseline: Run | None) -> dict[str, str]:
    """Return what one asks first about a run, as a list of terms."""
    config = run.config
    network = f"{called(config['head']['decode'])} on {named(config['backbone'])}"
    facts = {
        "setting": " ".join(run.record.overrides) or "defaults",
        "method": called(config["adapt"]),
        "contrast": called(config["contrast"]),
        "network": network,
        "data": called(config["dataset"]),
        "steps": f"{run.steps} of {config['trainer']['max_steps']}",
        "seed": str(run.record.seed),
        "judged with": STATISTICS[run.batch_norm],
    }
    if baseline is not None:
        unfinished = "" if baseline.is_finished else ", which has not come to its end"
        facts["baseline"] = f"{baseline.config['name']}, {baseline.folder.absolute()}{unfinished}"
    return facts


def called(part: dict[str, Any] | None) -> str:
    """Name the class or function that a part of the configuration builds."""
    return "none" if part is None else str(part["_target_"]).rpartition(".")[2]


def named(backbone: dict[str, Any]) -> str:
    """Name an encoder with what tells it from others of its class."""
    keys = ("name", "depth", "variant", "width")
    details = ", ".join(f"{key} {backbone[key]}" for key in keys if key in backbone)
    return f"{called(backbone)} ({details})" if details else called(backbone)


def settings(config: dict[str, Any]) -> dict[str, str]:
    """Return a configuration as overrides: values by dotted key, as JSON but for plain words."""
    return {key: written(value) for key, value in flat(config).items()}


def written(value: object) -> str:
    """Write a value as on the command line."""
    return value if isinstance(value, str) else json.dumps(value)


def differences(run: Run, baseline: Run | None) -> dict[str, tuple[str, str]]:
    """Return the keys in which the baseline was set otherwise: its value and the run's."""
    if baseline is None:
        return {}
    before, now = settings(baseline.config), settings(run.config)
    return {
        key: (before.get(key, ABSENT), now.get(key, ABSENT))
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    }


def surroundings(record: Record | Session) -> dict[str, str]:
    """Return where and with what a run, or the part after a resumption, was made."""
    git = record.git
    facts = {
        "time": record.time,
        "command": shlex.join(record.command),
        "host": record.host,
        "threads": str(record.threads),
        "git": "an installed package, no checkout" if git is None else git.commit,
    }
    if record.checkpoint is not None:
        facts = {"resumed from": record.checkpoint, **facts}
    return facts
