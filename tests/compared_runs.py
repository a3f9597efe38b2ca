"""Runs to compare, made by hand: overrides, seed and mean IoU."""

import csv
from pathlib import Path

from sample_runs import write_run, write_scores

# Overrides and the keys of the configuration that they stand for.
PARTS = {
    "contrast=bank": {},
    "contrast=prototype": {
        "contrast": {"_target_": "sepico_pl.contrast.modes.PrototypeContrast", "temperature": 0.1}
    },
}


def make(
    folder: Path,
    seed: int,
    score: float | None,
    *typed: str,
    time: str = "2026-01-31T12:00:00+00:00",
    images: str = "abc",
    **config: object,
) -> Path:
    """Write a run that was given these overrides, and reached this mIoU if it has ended."""
    parts = {key: value for word in typed for key, value in PARTS.get(word, {}).items()}
    overrides = [*typed, f"seed={seed}"]
    content = {"seed": seed, **parts, **config}
    write_run(folder, content, overrides=overrides, time=time, images=images)
    if score is not None:
        write_scores(folder, {"mIoU": score, "IoU/road": score + 1})
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
