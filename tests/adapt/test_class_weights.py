import math

import pytest
import torch

from sepico_pl.adapt.class_weights import CITYSCAPES_FREQUENCIES, log_frequency_weights
from sepico_pl.types import InputError


@pytest.mark.parametrize("deviation", [0.05, 0.16])
def test_mean_and_deviation(deviation: float) -> None:
    weights = log_frequency_weights(deviation)
    assert weights.shape == (19,)
    assert float(weights.mean()) == pytest.approx(1, abs=1e-6)
    assert float(weights.std()) == pytest.approx(deviation, rel=1e-5)  # unbiased


def test_the_rarer_the_heavier() -> None:
    """In the order of the frequencies, and linear in their logs: by hand for two classes."""
    weights = log_frequency_weights(0.05)
    order = sorted(range(19), key=lambda c: -CITYSCAPES_FREQUENCIES[c])
    assert weights[order].tolist() == sorted(weights.tolist())
    logs = [math.log(share) for share in CITYSCAPES_FREQUENCIES]
    mean = sum(logs) / 19
    deviation = math.sqrt(sum((one - mean) ** 2 for one in logs) / 18)
    for c in (0, 17):
        assert float(weights[c]) == pytest.approx(1 + 0.05 * (mean - logs[c]) / deviation, abs=1e-6)


def test_frequencies_are_shares() -> None:
    assert sum(CITYSCAPES_FREQUENCIES) == pytest.approx(1, abs=1e-6)
    assert torch.equal(log_frequency_weights(0.0), torch.ones(19))


@pytest.mark.parametrize("deviation", [-0.1, 0.6])
def test_impossible_deviations(deviation: float) -> None:
    with pytest.raises(InputError, match="deviation"):
        log_frequency_weights(deviation)
