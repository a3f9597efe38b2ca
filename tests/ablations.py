"""Suites and results files made by hand, with numbers that a test can foresee."""

from collections.abc import Mapping
from pathlib import Path

from omegaconf import OmegaConf

from sepico_pl.ablation.results import Row, write_results
from sepico_pl.ablation.suites import Suite, read_suite

SUITE = {
    "name": "small",
    "common": ["dataset=streets"],
    "settings": {
        "source_only": ["adapt=none"],
        "mixed": ["adapt=self_training"],
        "late": ["adapt=sepico", "contrast=bank"],
    },
    "controls": ["source_only", "mixed"],
    "exploration": [1, 2, 3],
    "confirmation": [11, 12],
    "adabn": "source_only",
}


def write_suite(folder: Path, **changed: object) -> Path:
    """Write the suite with other values of some keys; None leaves one out."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {key: value for key, value in {**SUITE, **changed}.items() if value is not None}
    OmegaConf.save(OmegaConf.create(content), folder / "suite.yaml")
    return folder / "suite.yaml"


def suite_of(folder: Path, **changed: object) -> Suite:
    return read_suite(str(write_suite(folder, **changed)))


def row(suite: Suite, setting: str, seed: int, running: float, target: float, **changed) -> Row:
    found: Mapping[str, object] = {
        "suite": suite.name,
        "setting": setting,
        "phase": "exploration" if seed in suite.exploration else "confirmation",
        "seed": seed,
        "overrides": suite.overrides(setting),
        "mIoU_running": running,
        "mIoU_target": target,
        "classes_running": {"road": running},
        "classes_target": {"road": target},
        "seconds": 120.0,
        "memory_mb": 700.0,
        "machine": "A, 1 thread",
        "torch": "2.14.1",
        "commit": "0123456789ab",
        "images": "fedcba",
        "date": "2026-01-31T12:00:00+00:00",
        **changed,
    }
    return Row.model_validate(found)


def write_sample(folder: Path, suite: Suite) -> Path:
    """Write three seeds of two settings and one of the third."""
    rows = [
        *(row(suite, "source_only", seed, 30.0, 33.0) for seed in (1, 2, 3)),
        row(suite, "mixed", 1, 31.0, 35.0, seconds=60.0),
        row(suite, "mixed", 2, 32.0, 35.0, seconds=180.0, memory_mb=900.0),
        row(suite, "mixed", 3, 33.0, 41.0, seconds=None, machine="B, 1 thread"),
        row(suite, "late", 2, 34.0, 36.0),
    ]
    write_results(folder / "results.csv", rows)
    return folder / "results.csv"
