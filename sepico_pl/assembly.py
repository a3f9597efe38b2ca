"""Builds the parts that a configuration names. No DictConfig goes past this file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omegaconf import DictConfig, OmegaConf

from sepico_pl.augment.chance import Chance
from sepico_pl.constructors import IMAGES, TARGET, check_offered, instantiate
from sepico_pl.contrast.modes import MultiStageContrast
from sepico_pl.data.adaptation import AdaptationImages
from sepico_pl.data.ledger import Ledger
from sepico_pl.limits import check_limits
from sepico_pl.model.segmentor import Segmentor
from sepico_pl.quoting import first_line
from sepico_pl.trainer_rules import TRAINER_RULES
from sepico_pl.typed_paths import DATA_PATHS
from sepico_pl.types import Config as Config
from sepico_pl.types import DomainPair, InputError

if TYPE_CHECKING:  # what predicts does not import Lightning
    from sepico_pl.data.datamodule import AdaptationData
    from sepico_pl.task import SegmentationTask

# What a constructor raises for a value of a wrong kind.
REFUSALS = (
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
)
UNEXPECTED = re.compile(r"unexpected keyword argument '(\w+)'")
FILES = ("start", "checked", "data_root")
AUXILIARY = "sepico_pl.auxiliary.AuxiliaryCrossEntropy"


def plain_config(config: DictConfig) -> Config:
    """Resolve the configuration into plain types, with absolute data folders."""
    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    return absolute_paths(cast(Config, plain))


def absolute_paths(plain: Config) -> Config:
    """Return the configuration with absolute paths of data: a run may go on from another folder."""
    files = {key: _absolute(plain[key]) for key in FILES if plain.get(key)}
    if isinstance(plain.get("paths"), dict):
        files["paths"] = {name: _absolute(path) for name, path in plain["paths"].items()}
    if isinstance(plain.get("dataset"), dict):
        files["dataset"] = _with_absolute_paths(plain["dataset"])
    return {**plain, **files}


def _absolute(path: object) -> object:
    return str(Path(path).expanduser().absolute()) if isinstance(path, str) else path


def _with_absolute_paths(node: Config) -> Config:
    result: Config = {}
    for key, value in node.items():
        if isinstance(value, dict):
            result[key] = _with_absolute_paths(value)
        elif isinstance(value, str) and value and f".{key}".endswith(DATA_PATHS):
            result[key] = _absolute(value)
        else:
            result[key] = value
    return result


def ledger_of(plain: Config) -> Ledger:
    """Open the list of files that were checked before."""
    return Ledger(None if plain["checked"] is None else Path(plain["checked"]).absolute())


def check_config(plain: Config) -> None:
    """Refuse numbers out of range, and choices that contradict each other.

    Raises:
        InputError: naming them.
    """
    check_limits(plain)
    check_limits(plain, TRAINER_RULES)
    if plain["contrast"] is not None and "contrast_start" not in plain["adapt"]:
        message = (
            "adapt learns from the source alone and cannot contrast; "
            "choose contrast=none with it, or adapt=sepico"
        )
        raise InputError(message)
    if plain["contrast"] is None and plain["adapt"].get(TARGET) == AUXILIARY:
        message = (
            "adapt=auxiliary learns the pixels that a contrast takes; "
            "choose contrast=distribution, bank or prototype with it, or adapt=self_training"
        )
        raise InputError(message)
    if plain.get("masking") is not None and "contrast_start" not in plain["adapt"]:
        message = (
            "adapt learns from the source alone and has no target to mask; "
            "choose masking=none with it, or adapt=sepico"
        )
        raise InputError(message)
    if plain["compile"] and plain["recompute"]:
        message = "compile=true cannot compile what recompute=true runs again; choose one of them"
        raise InputError(message)
    precision = plain["trainer"]["precision"]
    if precision in ("16-true", "bf16-true", "transformer-engine", "transformer-engine-float16"):
        message = (
            f"trainer.precision={precision} would keep weights and class statistics in half "
            "precision; choose bf16-mixed, 16-mixed, 32-true or 64-true"
        )
        raise InputError(message)


def build(key: str, config: Config, /, **parts: object) -> Any:  # noqa: ANN401
    """Call what `config` names with its keys and `parts`; lists and dicts arrive as plain types.

    Args:
        key: of the whole configuration that `config` stands below; it says what may be named.
        config: plain types.
        parts: further arguments.

    Raises:
        InputError: for a value that the called refuses, or a name that is not on offer.
    """
    try:
        return instantiate(config, key, **parts)
    except InputError:
        raise
    except REFUSALS as error:
        raise refused(key, config, error) from error


def refused(key: str, config: Config, error: Exception) -> InputError:
    """Return in one line what the constructor that `config` names refused, see `build`."""
    strange = UNEXPECTED.search(str(error))
    if isinstance(error, TypeError) and strange:
        message = f"{key}.{strange[1]}: there is no such key; {config[TARGET]} does not take it"
    else:
        message = f"{config[TARGET]}: {first_line(error)}; check the keys it is given"
    return InputError(message)


def build_data(plain: Config) -> AdaptationData:
    """Build the domain pair and what feeds it.

    Raises:
        InputError: see `build`.
    """
    check_offered("data", plain["data"])
    pair = build("dataset", plain["dataset"])
    data: AdaptationData = build("data", plain["data"], pair=pair, seed=plain["seed"])
    return data


def build_images(plain: Config) -> AdaptationImages:
    """Build the domain pair as `build_data` does, for a network that is not trained: no Lightning.

    Raises:
        InputError: see `build`.
    """
    check_offered("data", plain["data"])
    pair = build("dataset", plain["dataset"])
    settings = {**plain["data"], TARGET: IMAGES}
    images: AdaptationImages = build("data", settings, pair=pair, seed=plain["seed"])
    return images


def build_task(plain: Config, pair: DomainPair) -> SegmentationTask:
    """Build student, contrast and the method that trains them."""
    classes = pair.classes
    encoder = build("backbone", plain["backbone"])
    head = build(
        "head.decode",
        plain["head"]["decode"],
        channels=encoder.channels,
        num_classes=len(classes),
    )
    projection, extra = None, {}
    if plain["contrast"] is not None:
        projection = build(
            "head.projection", plain["head"]["projection"], channels=encoder.channels
        )
        stages = [
            build("contrast", plain["contrast"], num_classes=len(classes), width=width)
            for width in projection.widths
        ]
        extra["contrast"] = MultiStageContrast(stages)
    task: SegmentationTask = build(
        "adapt",
        plain["adapt"],
        student=Segmentor(encoder, head, projection),
        classes=classes,
        optimizer=build("optim", plain["optim"]),
        chance=Chance(plain["seed"]),
        **extra,
    )
    return task


def without_downloads(plain: Config) -> Config:
    """Return the configuration without pretrained weights: the checkpoint's own follow."""
    return {**plain, "backbone": {**plain["backbone"], "weights": None}}
