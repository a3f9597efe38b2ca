"""Strong augmentation of appearance, on the batch and its device: colour jitter and Gaussian blur.

As DACS and DAFormer train: whether each happens is drawn once per training step,
its strength anew at each use. Labels are unchanged.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from kornia.enhance import adjust_brightness, adjust_contrast, adjust_hue, adjust_saturation
from kornia.filters import gaussian_blur2d
from torch import Tensor

from sepico_pl.augment.chance import Chance, JitterFactors
from sepico_pl.types import IMAGENET_MEAN, IMAGENET_STD

JITTER_STEPS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
    adjust_hue,
)


def blur_kernel_size(side: int) -> int:
    """Return the odd size of the blur kernel along an axis of `side` pixels, about a tenth of it.

    floor(n - 0.5 + n mod 2) with n = ceil(0.1 side): 64 -> 7, 640 -> 63.
    """
    tenth = math.ceil(0.1 * side)
    return math.floor(tenth - 0.5 + tenth % 2)


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Blur images (B, 3, H, W) by a Gaussian of `sigma` pixels, mirrored at the border.

    The kernel ends where its values do: beyond 12 sigma they are less than 1e-31.
    """
    reach = 2 * math.ceil(12 * sigma) + 1
    height, width = (min(blur_kernel_size(side), reach) for side in image.shape[-2:])
    blurred: Tensor = gaussian_blur2d(image, (height, width), (sigma, sigma))
    return blurred


def colour_jitter(image: Tensor, factors: JitterFactors) -> Tensor:
    """Jitter normalised images (B, 3, H, W): brightness added, contrast, saturation, hue."""
    mean, std = (
        torch.tensor(values, dtype=torch.float64).to(image, non_blocking=True)[:, None, None]
        for values in (IMAGENET_MEAN, IMAGENET_STD)
    )
    coloured = image * std + mean
    for step in factors.order:
        coloured = JITTER_STEPS[step](
            coloured, factors.strengths[step].to(image, non_blocking=True)
        )
    return (coloured - mean) / std


class StrongDraw(NamedTuple):
    """What happens to the images of one training step."""

    jitter: bool
    blur: bool


class StrongAugmentation:
    """Colour jitter and blur.

    Args:
        jitter_probability: in [0, 1].
        jitter_strength: of brightness, contrast, saturation and hue, in [0, 0.5].
        blur_probability: in [0, 1].
        blur_sigma: range of the standard deviation in pixels.
    """

    def __init__(
        self,
        *,
        jitter_probability: float,
        jitter_strength: float,
        blur_probability: float,
        blur_sigma: tuple[float, float],
    ) -> None:
        """Remember the ranges."""
        self.jitter_probability = jitter_probability
        self.jitter_strength = jitter_strength
        self.blur_probability = blur_probability
        self.blur_sigma = blur_sigma

    def draw(self, chance: Chance) -> StrongDraw:
        """Decide what happens in this training step."""
        jitter = chance.happens(self.jitter_probability)
        return StrongDraw(jitter, chance.happens(self.blur_probability))

    @torch.no_grad()
    def __call__(self, image: Tensor, draw: StrongDraw, chance: Chance) -> Tensor:
        """Augment normalised images (B, 3, H, W) as drawn, with fresh strengths."""
        if draw.jitter:
            factors = chance.jitter_factors(len(image), self.jitter_strength)
            image = colour_jitter(image, factors)
        if draw.blur:
            image = gaussian_blur(image, chance.blur_sigma(*self.blur_sigma))
        return image
