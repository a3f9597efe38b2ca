"""The file that scores go into, which begins with how they came about."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sepico_pl.assembly import Config
from sepico_pl.data.benchmark import Benchmark
from sepico_pl.data.datamodule import AdaptationData
from sepico_pl.json_files import load_json
from sepico_pl.task import SegmentationTask
from sepico_pl.types import InputError

ASKED = ("network", "scales", "flip", "window", "stride", "class_weights_deviation")
SHOWN, SHOWN_KEYS = 100, 5


def scores_file(plain: Config, benchmark: Benchmark | None) -> Path:
    """Return where scores go: `output`, or beside the checkpoint a file for each target."""
    if plain["output"] is not None:
        return Path(plain["output"]).expanduser()
    ending = "scores.json" if benchmark is None else f"{benchmark.name}.scores.json"
    return Path(plain["checkpoint"]).with_suffix(f".{ending}")


def protocol_of(
    plain: Config, data: AdaptationData, task: SegmentationTask, benchmark: Benchmark | None
) -> dict[str, Any]:
    """Return what is evaluated, and how: the scores' file begins with it."""
    judged_on = {} if benchmark is None else {"judged_on": benchmark.evaluated}
    return {
        "checkpoint": Path(plain["checkpoint"]).name
        if plain["output"] is None
        else str(Path(plain["checkpoint"]).absolute()),
        **{key: plain[key] for key in ASKED},
        "input_size": list(data.target_size),
        **judged_on,
        "batch_norm": task.batch_norm,
    }


def refuse_another_protocol(output: Path, protocol: Mapping[str, Any]) -> None:
    """Refuse to replace scores that came about in another way.

    Raises:
        InputError: naming what differs, or that the file holds no scores.
    """
    if not output.exists():
        return
    remedy = "keep it, and choose another file by output=<file>"
    found = load_json(output, remedy)
    before = {key: value for key, value in found.items() if not isinstance(value, dict)}
    before.setdefault("checkpoint", protocol["checkpoint"])  # earlier versions do not say
    differing = [
        f"{key} was {str(before.get(key))[:SHOWN]} and is {protocol.get(key)}"
        for key in dict.fromkeys([*protocol, *before])
        if before.get(key) != protocol.get(key)
    ]
    if differing:
        message = f"{output} holds other scores ({'; '.join(differing[:SHOWN_KEYS])}); {remedy}"
        raise InputError(message)
