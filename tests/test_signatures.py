"""What signatures read from sources is what Python says of the imported; keys below `_target_`."""

import inspect
from importlib import import_module
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from sepico_pl.cli import find_conf
from sepico_pl.constructors import NESTED, PARTS
from sepico_pl.known_keys import default_keys, plain, refused_hydra_key, refused_key
from sepico_pl.signatures import Signature, signature_of

OFFERED = {name for part in (PARTS, NESTED) for names in part.values() for name in names}
SUITES = "ablation"
"""A folder of conf/ that is no group: plain data for `ablate`."""
GROUPS = {path for path in Path(find_conf()).iterdir() if path.is_dir() and path.name != SUITES}
OPTIONS = sorted(f"{group.name}={file.stem}" for group in GROUPS for file in group.glob("*.yaml"))
SHARED = {"dataset=benchmark"}
ALIKE = ("experiment=synthia", "experiment=dark_zurich", "experiment=gta_deeplabv2")


@pytest.fixture(scope="module")
def known() -> dict:
    return default_keys(find_conf(), "config")


def composed(*words: str) -> dict:
    with initialize_config_dir(find_conf(), version_base="1.3"):
        return plain(compose("config", list(words)))


def hydra_composed(*words: str) -> dict:
    with initialize_config_dir(find_conf(), version_base="1.3"):
        return plain(compose("config", list(words), return_hydra_config=True).hydra)


@pytest.mark.parametrize("target", sorted({*OFFERED, "pytorch_lightning.Trainer"}))
def test_arguments_are_those_of_the_imported(target: str) -> None:
    module, _, name = target.rpartition(".")
    parameters = inspect.signature(getattr(import_module(module), name)).parameters
    required = {key for key, one in parameters.items() if one.default is inspect.Parameter.empty}
    assert signature_of(target) == Signature(frozenset(parameters), frozenset(required))


@pytest.mark.parametrize("target", [None, 5, "os.system", "sepico_pl.absent.X", "sepico_pl", "a.b"])
def test_what_is_not_ours_is_left_to_its_caller(target: object) -> None:
    assert signature_of(target) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "option", [one for one in OPTIONS if one not in SHARED and not one.startswith(ALIKE)]
)
def test_no_option_of_conf_is_refused(known: dict, option: str) -> None:
    group = option.partition("=")[0]
    others = ["dataset=benchmark", "source=gta", "target=acdc"]
    words = [one for one in others if one.partition("=")[0] != group]
    is_of_benchmark = group in ("source", "target")
    assert refused_key(composed(*(words if is_of_benchmark else []), option), known) is None


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("+optim.lr=0.1", "optim.lr: there is no such key; did you mean optim.learning_rate?"),
        ("+trainer.max_step=3", "did you mean trainer.max_steps?"),
        ("+trainer.gradient_clip_vall=1", "did you mean trainer.gradient_clip_val?"),
        ("+adapt.crop.trys=3", "did you mean adapt.crop.tries?"),
        ("+keep.max_steps=3", "did you mean trainer.max_steps?"),
        ("~optim.learning_rate", "optim.learning_rate was taken out (~optim.learning_rate)"),
        ("~optim", "optim was taken out (~optim) and is needed; leave ~optim away, or set optim="),
        (
            "~seed",
            "seed was taken out (~seed) and is needed; leave ~seed away, or set seed=<value>",
        ),
        ("~trainer.precision", "trainer.precision was taken out"),
        ("~keep.last", "keep.last was taken out"),
    ],
)
def test_keys_below_parts_and_those_taken_out(known: dict, word: str, said: str) -> None:
    assert said in str(refused_key(composed(word), known))


def test_arguments_that_conf_does_not_set_may_be_added(known: dict) -> None:
    added = composed("+trainer.limit_val_batches=2", "+trainer.detect_anomaly=true")
    assert refused_key(added, known) is None


def test_a_key_that_hydra_does_not_read() -> None:
    untyped = hydra_composed()
    assert refused_hydra_key(untyped, untyped) is None
    for word in ("+hydra.job.env_set.X=1", "hydra.run.dir=here", "+hydra.callbacks.mine={a:1}"):
        assert refused_hydra_key(hydra_composed(word), untyped) is None
    said = "hydra.job.chdirr: there is no such key; did you mean hydra.job.chdir?"
    assert refused_hydra_key(hydra_composed("+hydra.job.chdirr=true"), untyped) == said
    said = "hydra.foo: there is no such key"
    assert said in str(refused_hydra_key(hydra_composed("+hydra.foo=3"), untyped))
