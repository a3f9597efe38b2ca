"""What is looked at before the first step of a run: clipping, and values for batch norm."""

import pytest
import torch
from command_line import TINY, configured
from tiny_sepico import student
from torch import nn

from sepico_pl.adapt.batch_norm import enough_values, use_batch_statistics
from sepico_pl.assembly import build_data, build_task
from sepico_pl.model.dry_run import TrainingPass, dry_run
from sepico_pl.training import check_batch_norm, gradient_clip
from sepico_pl.types import InputError


def clipped(*overrides: str) -> tuple[float, str] | None:
    return gradient_clip(configured(*(f"trainer.gradient_clip_{one}" for one in overrides)))


def test_how_gradients_are_clipped() -> None:
    assert clipped() is None
    assert clipped("algorithm=value") is None
    assert clipped("val=0.5") == (0.5, "norm")
    assert clipped("val=0.5", "algorithm=norm") == (0.5, "norm")
    assert clipped("val=2", "algorithm=value") == (2, "value")


def check(*overrides: str) -> None:
    """Look at a run whose maps are 1x1 at the end of its encoder."""
    small = ["dataset.size=[32,32]", "data.target_size=[32,32]", "norm=batch"]
    plain = configured(*TINY, *small, *overrides)
    data = build_data(plain)
    check_batch_norm(plain, build_task(plain, data.pair), data)


@pytest.mark.parametrize(
    "ranks",
    [
        [],
        ["trainer.sync_batchnorm=true"],
        ["trainer.devices=2", "trainer.sync_batchnorm=false"],
        ["trainer.num_nodes=2", "trainer.sync_batchnorm=false"],
    ],
)
def test_one_image_in_a_batch_is_too_few_values(ranks: list[str]) -> None:
    with pytest.raises(InputError, match=r"^batch norm sees a single value .*data\.batch_size=2"):
        check("data.batch_size=1", *ranks)


@pytest.mark.parametrize(
    "words",
    [
        ["data.batch_size=2"],
        ["data.batch_size=1", "trainer.devices=2", "trainer.sync_batchnorm=true"],
        ["data.batch_size=1", "trainer.num_nodes=2", "trainer.sync_batchnorm=true"],
        ["adapt.batch_norm=running", "data.statistics_images=1"],
        ["adapt.batch_norm=target", "data.statistics_images=2", "data.judge_batch_size=2"],
    ],
)
def test_two_values_are_enough_wherever_they_are(words: list[str]) -> None:
    check(*words)


def test_the_last_batch_of_statistics_is_too_few_values() -> None:
    words = ["adapt.batch_norm=target", "data.statistics_images=3", "data.judge_batch_size=2"]
    with pytest.raises(InputError, match=r"^batch norm sees a single value .*batch_norm=running"):
        check(*words)


def test_a_dry_run_changes_nothing_and_passes_every_branch() -> None:
    network = student().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    passed: list[nn.Module] = []
    for part in (network.encoder, network.head, network.projection):
        part.register_forward_hook(lambda part, *_: passed.append(part))
    dry_run(TrainingPass(network), (2, 3, 32, 64))
    assert {*passed} == {network.encoder, network.head, network.projection}
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_other_errors_of_a_pass_are_left_as_they_are() -> None:
    with pytest.raises(ValueError, match=r"^another$"), enough_values("remedy"):
        raise ValueError("another")


def test_batch_statistics_leave_dropout_off() -> None:
    network = nn.Sequential(nn.Dropout(), nn.Sequential(nn.BatchNorm2d(3), nn.Dropout())).train()
    use_batch_statistics(network)
    assert [one.training for one in network.modules()] == [False, False, False, True, False]
