"""The classes and functions that a configuration may name by `_target_`, and how they are called.

Configurations arrive inside checkpoints, exported folders and run folders, so that anybody may have
written them. Nothing but the names below is ever called, each only where it belongs; nothing in
`PARTS` writes a file, starts a process or asks the network for anything
(`tests/test_constructors.py` builds each of them under an audit hook).
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from sepico_pl.types import Config, InputError

TARGET, PARTIAL = "_target_", "_partial_"
IMAGES = "sepico_pl.data.adaptation.AdaptationImages"
DOMAINS = (
    "sepico_pl.data.benchmarks.acdc",
    "sepico_pl.data.benchmarks.bdd100k",
    "sepico_pl.data.benchmarks.cityscapes",
    "sepico_pl.data.benchmarks.dark_zurich",
    "sepico_pl.data.benchmarks.gta",
    "sepico_pl.data.benchmarks.nighttime_driving",
    "sepico_pl.data.benchmarks.synthia",
    "sepico_pl.data.own.photographs",
    "sepico_pl.data.street_source.StreetsSource",
)
"""What may be a source or a target."""
PARTS: dict[str, tuple[str, ...]] = {
    "dataset": (
        *DOMAINS,
        "sepico_pl.data.camvid.camvid",
        "sepico_pl.data.own.folder",
        "sepico_pl.data.pair.domain_pair",
        "sepico_pl.data.street_source.streets_to_camvid",
        "sepico_pl.data.streets.streets",
    ),
    "data": ("sepico_pl.data.datamodule.AdaptationData",),
    "backbone": (
        "sepico_pl.model.encoder.SmpEncoder",
        "sepico_pl.model.mix_transformer.MixTransformer",
        "sepico_pl.model.resnet_v1c.ResNetV1c",
        "sepico_pl.model.vit.PlainViT",
    ),
    "head.decode": (
        "sepico_pl.model.aspp.DAFormerHead",
        "sepico_pl.model.aspp.DeepLabV2Head",
        "sepico_pl.model.heads.LightHead",
        "sepico_pl.model.smp_heads.FPNHead",
        "sepico_pl.model.smp_heads.SegFormerHead",
        "sepico_pl.model.smp_heads.UPerNetHead",
    ),
    "head.projection": ("sepico_pl.model.projection.ProjectionHead",),
    "contrast": (
        "sepico_pl.contrast.modes.BankContrast",
        "sepico_pl.contrast.modes.DistributionContrast",
        "sepico_pl.contrast.modes.PrototypeContrast",
    ),
    "adapt": (
        "sepico_pl.auxiliary.AuxiliaryCrossEntropy",
        "sepico_pl.module.SePiCo",
        "sepico_pl.module.SourceOnly",
    ),
    "optim": ("sepico_pl.optim.AdamWPoly",),
}
"""What a checkpoint or an exported folder may name, by the key of the configuration."""
NESTED: dict[str, tuple[str, ...]] = {
    "dataset": DOMAINS,
    "adapt": (
        "sepico_pl.adapt.class_weights.log_frequency_weights",
        "sepico_pl.adapt.pseudo_labels.DayNightVote",
        "sepico_pl.adapt.pseudo_labels.IgnoredRows",
        "sepico_pl.adapt.pseudo_labels.teacher_vote",
        "sepico_pl.augment.appearance.StrongAugmentation",
        "sepico_pl.augment.balanced_crop.ClassBalancedCrop",
        "sepico_pl.augment.masking.BlockMask",
    ),
}
"""What may stand inside one of them. An encoder inside an encoder could fetch its weights."""
RECORDED: dict[str, tuple[str, ...]] = {
    "trainer": ("pytorch_lightning.Trainer",),
    "logger": (
        "sepico_pl.loggers.CSVMetrics",
        "sepico_pl.loggers.tensorboard_logger",
        "sepico_pl.loggers.wandb_logger",
    ),
}
"""What a run that is resumed may name besides."""
UNTRAINED: dict[str, tuple[str, ...]] = {"data": (IMAGES,)}
"""What the program itself names where nothing is trained."""
TYPED: dict[str, tuple[str, ...]] = {
    "logger": (
        "pytorch_lightning.loggers.CometLogger",
        "pytorch_lightning.loggers.CSVLogger",
        "pytorch_lightning.loggers.LitLogger",
        "pytorch_lightning.loggers.MLFlowLogger",
        "pytorch_lightning.loggers.TensorBoardLogger",
        "pytorch_lightning.loggers.WandbLogger",
    ),
}
"""What only a command line, or a configuration of the user's own, may name."""


def offered(key: str) -> tuple[str, ...]:
    """Return the names that a key of the configuration may have."""
    return (
        *PARTS.get(key, ()),
        *UNTRAINED.get(key, ()),
        *RECORDED.get(key, ()),
        *TYPED.get(key, ()),
    )


def instantiate(config: Config, key: str, /, **given: object) -> Any:  # noqa: ANN401
    """Call what `config` names with its keys and `given`; what they name is built before.

    Args:
        config: plain types; each dict with a `_target_` inside it becomes what that returns, or
            with `_partial_: true` a function that still takes arguments.
        key: of the whole configuration that `config` stands below, such as "head.decode".
        given: further arguments.

    Raises:
        InputError: for a name that is not on offer there.
    """
    return _call(config, key, offered(key), given)


def _call(config: Config, key: str, names: tuple[str, ...], given: Config) -> Any:  # noqa: ANN401
    constructor = _constructor(config, key, names)
    arguments = {
        name: _built(value, f"{key}.{name}", NESTED.get(key.split(".")[0], ()))
        for name, value in config.items()
        if name not in (TARGET, PARTIAL)
    }
    if config.get(PARTIAL):
        return partial(constructor, **arguments, **given)
    return constructor(**arguments, **given)


def _built(value: object, key: str, names: tuple[str, ...]) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        if TARGET in value:
            return _call(value, key, names, {})
        return {name: _built(one, key, names) for name, one in value.items()}
    return [_built(one, key, names) for one in value] if isinstance(value, list) else value


def _constructor(config: Config, key: str, names: tuple[str, ...]) -> Callable[..., Any]:
    """Return what `_target_` names; see `_check`."""
    _check(config, key, names)
    module, _, attribute = str(config[TARGET]).rpartition(".")
    found: Callable[..., Any] = getattr(import_module(module), attribute)
    return found


def check_offered(key: str, config: Config) -> None:
    """Check that what `config` names is on offer to configurations at a key.

    Raises:
        InputError: if it is not, or another of Hydra's own keys is used.
    """
    _check(config, key, PARTS[key])


def _check(config: Config, key: str, names: tuple[str, ...]) -> None:
    name = config.get(TARGET)
    if name not in names:
        there = f"choose one of {', '.join(names)}" if names else "nothing is called there"
        message = f"{key}._target_: {name} is not on offer; {there}"
        raise InputError(message)
    strange = [one for one in config if str(one).startswith("_") and one not in (TARGET, PARTIAL)]
    if strange:
        message = f"{key}.{strange[0]} is not on offer; name every argument by its key"
        raise InputError(message)
