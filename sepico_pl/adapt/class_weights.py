"""Class weights of night adaptation: rare classes count a little more."""

import torch
from torch import Tensor

from sepico_pl.types import InputError

# Share of each class among Cityscapes' labelled pixels, as SePiCo (Cityscapes to Dark Zurich) and
# DANNet (Wu et al., CVPR 2021) state them.
CITYSCAPES_FREQUENCIES = (
    0.36869696,
    0.06084986,
    0.22824049,
    0.00655399,
    0.00877272,
    0.01227341,
    0.00207795,
    0.0055127,
    0.15928651,
    0.01157818,
    0.04018982,
    0.01218957,
    0.00135122,
    0.06994545,
    0.00267456,
    0.00235192,
    0.00232904,
    0.00098658,
    0.00413907,
)


def log_frequency_weights(deviation: float) -> Tensor:
    """Return 1 + deviation (mean(l) - l) / std(l), l the log of Cityscapes' class frequencies.

    Args:
        deviation: standard deviation of the weights, >= 0: 0.05 in training, 0.16 where the
            official code judges Dark Zurich.

    Returns:
        (19,) float32, of mean 1.

    Raises:
        InputError: for a negative deviation, or one that makes a weight negative.
    """
    logs = torch.tensor(CITYSCAPES_FREQUENCIES).log()
    weights = 1 + deviation * (logs.mean() - logs) / logs.std()
    if deviation < 0 or bool((weights < 0).any()):
        message = f"a deviation of class weights of {deviation} must be 0 or more, and below 0.5"
        raise InputError(message)
    return weights
