"""Builds the parts that a configuration names. No DictConfig goes past this file."""

from pathlib import Path
from typing import Any, cast

from hydra.utils import get_object, instantiate
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from sepico_pl.augment.chance import Chance
from sepico_pl.contrast.modes import MultiStageContrast
from sepico_pl.data.datamodule import AdaptationData
from sepico_pl.data.ledger import Ledger
from sepico_pl.limits import check_limits
from sepico_pl.model.segmentor import Segmentor
from sepico_pl.task import SegmentationTask
from sepico_pl.types import DomainPair, InputError

Config = dict[str, Any]

# What a constructor raises for a value of a wrong kind.
REFUSALS = (
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    MisconfigurationException,
)
# Where what a configuration may name is defined; nothing there writes files or starts processes.
OFFERED = (
    "sepico_pl.adapt.",
    "sepico_pl.augment.",
    "sepico_pl.contrast.",
    "sepico_pl.data.benchmarks.",
    "sepico_pl.data.camvid.",
    "sepico_pl.data.datamodule.",
    "sepico_pl.data.own.",
    "sepico_pl.data.pair.",
    "sepico_pl.data.streets.",
    "sepico_pl.loggers.",
    "sepico_pl.model.",
    "sepico_pl.module.",
    "sepico_pl.optim.",
    "pytorch_lightning.loggers.",
)
DATA_PATHS = (".root", "_images", "_labels", ".listed")


def plain_config(config: DictConfig) -> Config:
    """Resolve the configuration into plain types, with absolute data folders."""
    plain = cast(Config, OmegaConf.to_container(config, resolve=True, throw_on_missing=True))
    if "dataset" in plain:
        plain["dataset"] = _with_absolute_paths(plain["dataset"])
    return plain


def _with_absolute_paths(node: Config) -> Config:
    result: Config = {}
    for key, value in node.items():
        if isinstance(value, dict):
            result[key] = _with_absolute_paths(value)
        elif isinstance(value, str) and value and f".{key}".endswith(DATA_PATHS):
            result[key] = str(Path(value).expanduser().absolute())
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
    if plain["contrast"] is not None and "contrast_start" not in plain["adapt"]:
        message = (
            "adapt learns from the source alone and cannot contrast; "
            "choose contrast=none with it, or adapt=sepico"
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


def build(config: Config, **parts: object) -> Any:  # noqa: ANN401
    """Call what `config` names with its keys and `parts`; lists and dicts arrive as plain types.

    Raises:
        InputError: for a value that the called refuses, or a name that is not on offer.
    """
    check_targets(config)
    try:
        return instantiate(config, _partial_=True, _convert_="all")(**parts)
    except InputError:
        raise
    except REFUSALS as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        message = f"{config['_target_']}: {reason}; check the keys it is given"
        raise InputError(message) from error


def check_targets(node: object) -> None:
    """Refuse to call what neither the project nor Lightning offers: a checkpoint may name anything.

    Raises:
        InputError: naming the target.
    """
    if isinstance(node, list | tuple):
        for part in node:
            check_targets(part)
    if isinstance(node, dict):
        for key, value in node.items():
            check_targets(value)
            if key == "_target_" and not is_offered(value):
                message = (
                    f"_target_: {value} is not on offer; it must be a class or function of the "
                    "parts of sepico_pl that conf/ names, pytorch_lightning.Trainer or one of "
                    "pytorch_lightning.loggers"
                )
                raise InputError(message)
            if key == "_args_":
                message = f"_args_: {value} is not on offer; name every argument by its key"
                raise InputError(message)


def is_offered(target: object) -> bool:
    """Whether a name is that of a public class or function, defined where it says."""
    if target == "pytorch_lightning.Trainer":
        return True
    name = str(target)
    if not name.startswith(OFFERED) or "._" in name:
        return False
    try:
        found = get_object(name)
    except Exception:  # a module's import may fail in any way
        return False
    defined = f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"
    return defined == name or (
        defined.startswith("pytorch_lightning.loggers.") and name.startswith("pytorch_lightning.")
    )


def build_data(plain: Config) -> AdaptationData:
    """Build the domain pair and what feeds it."""
    pair = build(plain["dataset"])
    data: AdaptationData = build(plain["data"], pair=pair, seed=plain["seed"])
    return data


def build_task(plain: Config, pair: DomainPair) -> SegmentationTask:
    """Build student, contrast and the method that trains them."""
    classes = pair.classes
    encoder = build(plain["backbone"])
    head = build(plain["head"]["decode"], channels=encoder.channels, num_classes=len(classes))
    projection, extra = None, {}
    if plain["contrast"] is not None:
        projection = build(plain["head"]["projection"], channels=encoder.channels)
        stages = [
            build(plain["contrast"], num_classes=len(classes), width=width)
            for width in projection.widths
        ]
        extra["contrast"] = MultiStageContrast(stages)
    task: SegmentationTask = build(
        plain["adapt"],
        student=Segmentor(encoder, head, projection),
        classes=classes,
        optimizer=build(plain["optim"]),
        chance=Chance(plain["seed"]),
        **extra,
    )
    return task


def without_downloads(plain: Config) -> Config:
    """Return the configuration without pretrained weights: the checkpoint's own follow."""
    return {**plain, "backbone": {**plain["backbone"], "weights": None}}
