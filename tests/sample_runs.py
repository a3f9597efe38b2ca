"""Run folders made by hand: numbers that a test can foresee, pictures of generated streets."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sepico_pl.data.painting import palette_image
from sepico_pl.data.streets import STREETS_CLASSES, StreetScenes
from sepico_pl.types import ByteArray, ClassSet

CONFIG = {
    "name": "sample",
    "seed": 1,
    "contrast": {"_target_": "sepico_pl.contrast.modes.BankContrast", "temperature": 0.1},
    "adapt": {"_target_": "sepico_pl.module.SePiCo", "batch_norm": "target"},
    "backbone": {"_target_": "sepico_pl.model.encoder.SmpEncoder", "name": "tu-resnet10t"},
    "head": {"decode": {"_target_": "sepico_pl.model.heads.LightHead", "width": 64}},
    "dataset": {"_target_": "sepico_pl.data.streets.streets", "size": [64, 128]},
    "trainer": {"max_steps": 300, "log_every_n_steps": 10},
}
RECORD = {
    "overrides": ["contrast=bank"],
    "seed": 1,
    "time": "2026-01-31T12:00:00+00:00",
    "command": ["python", "-m", "sepico_pl.train", "contrast=bank"],
    "versions": {"python": "3.11.7", "torch": "2.14.1"},
    "git": {"commit": "0123456789abcdef", "changed": ["M sepico_pl/module.py"]},
    "host": "tester",
    "threads": 1,
    "resumed": [],
}


def write_run(folder: Path, config: Mapping[str, object] | None = None, **record: object) -> Path:
    """Write the record of a run, with parts of the configuration and the record replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {**RECORD, **record, "config": {**CONFIG, **(config or {})}}
    (folder / "run.json").write_text(json.dumps(content))
    return folder


def write_metrics(folder: Path, columns: Mapping[str, Mapping[int, float]]) -> None:
    """Write `metrics.csv`: values by the step that logged them (0 for the first)."""
    steps = sorted({step for values in columns.values() for step in values})
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", *columns])
        writer.writeheader()
        for step in steps:
            found = {name: values[step] for name, values in columns.items() if step in values}
            writer.writerow({"step": step, **found})


def write_scores(folder: Path, scores: Mapping[str, float], batch_norm: str = "target") -> None:
    (folder / "scores.json").write_text(json.dumps({"target": scores, "batch_norm": batch_norm}))


def write_confusion(folder: Path, classes: Sequence[str], counts: Sequence[Sequence[int]]) -> None:
    (folder / "confusion.json").write_text(json.dumps({"classes": classes, "target": counts}))


def write_panel(
    folder: Path,
    steps: Sequence[int],
    size: tuple[int, int] = (32, 64),
    *,
    scenes: int = 2,
    self_training: bool = True,
    classes: ClassSet = STREETS_CLASSES,
) -> None:
    """Write `pictures/`: night streets, and predictions that are righter at later steps."""
    night = StreetScenes("night", "val", scenes, size, seed=0)
    pictures = folder / "pictures"
    pictures.mkdir()
    for i in range(scenes):
        image, truth = night[i]
        Image.fromarray(image).save(pictures / f"scene_{i}.jpg")
        palette_image(truth, classes).save(pictures / f"scene_{i}_truth.png")
        for step in steps:
            shot = pictures / f"step_{step:08}"
            shot.mkdir(exist_ok=True)
            share = step / (steps[-1] + 100)
            palette_image(guess(truth, share), classes).save(shot / f"scene_{i}_student.png")
            if self_training:
                palette_image(guess(truth, share), classes).save(shot / f"scene_{i}_teacher.png")
                confidence = Image.fromarray(image).convert("L")
                confidence.save(shot / f"scene_{i}_confidence.png")
                for kind in ("mixed", "target"):
                    Image.fromarray(image).save(shot / f"{kind}_{i}.jpg")
                    palette_image(guess(truth, share), classes).save(shot / f"{kind}_{i}_label.png")
                confidence.save(shot / f"target_{i}_confidence.png")
    content = {
        "classes": classes.names,
        "palette": classes.palette,
        "scenes": [
            {"name": night.name(i), "image": f"scene_{i}.jpg", "truth": f"scene_{i}_truth.png"}
            for i in range(scenes)
        ],
        "steps": list(steps),
        "mixed": scenes if self_training else 0,
    }
    (pictures / "panel.json").write_text(json.dumps(content))


def guess(truth: ByteArray, share: float) -> ByteArray:
    """Return the truth with columns of blocks shifted, about `share` of them left right."""
    blocks = np.random.default_rng(0).random((1, truth.shape[1] // 8 + 1)).repeat(8, axis=1)
    wrong = np.roll(truth, truth.shape[0] // 4, axis=0)
    return np.where(blocks[:, : truth.shape[1]] < share, truth, wrong)
