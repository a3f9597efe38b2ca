import json
from pathlib import Path

import pytest
import torch
from golden_fill import load

from sepico_pl.augment.appearance import (
    StrongAugmentation,
    blur_kernel_size,
    colour_jitter,
    gaussian_blur,
)
from sepico_pl.augment.chance import Chance, JitterFactors
from sepico_pl.types import IMAGENET_MEAN, IMAGENET_STD

MEAN, STD = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
NEUTRAL = (0.0, 1.0, 1.0, 0.0)


def factors(*strengths: float, order: tuple[int, ...] = (0, 1, 2, 3)) -> JitterFactors:
    return JitterFactors(torch.tensor(strengths)[:, None].expand(4, 2), order)


def image() -> torch.Tensor:
    dice = torch.Generator().manual_seed(0)
    return (torch.rand(2, 3, 16, 16, generator=dice) * 0.5 + 0.25 - MEAN) / STD


def test_kernel_sizes_are_the_official_ones(shared: Path) -> None:
    record = json.loads((shared / "golden" / "g_h_misc.json").read_text())["blur_kernel_sizes"]
    assert {int(side): blur_kernel_size(int(side)) for side in record} == {
        int(side): size for side, size in record.items()
    }


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (2, 3, 40, 72)])
def test_blur_is_the_official_one(shared: Path, golden, shape) -> None:
    record, fill = golden("g_h_misc.npz"), load(shared / "golden" / "fill.py")
    key = f"blur_{shape[2]}x{shape[3]}"
    ours = gaussian_blur(
        torch.from_numpy(fill.fill("h.blur", shape)), float(record[f"{key}_sigma"])
    )
    torch.testing.assert_close(ours, torch.from_numpy(record[key]), rtol=1e-6, atol=1e-6)


def test_neutral_factors_change_nothing() -> None:
    torch.testing.assert_close(
        colour_jitter(image(), factors(*NEUTRAL)), image(), rtol=1e-4, atol=1e-4
    )


def test_brightness_adds_and_contrast_multiplies() -> None:
    plain = image() * STD + MEAN
    lighter = colour_jitter(image(), factors(0.1, 1.0, 1.0, 0.0)) * STD + MEAN
    torch.testing.assert_close(lighter, plain + 0.1, rtol=1e-4, atol=1e-4)
    flatter = colour_jitter(image(), factors(0.0, 0.8, 1.0, 0.0)) * STD + MEAN
    torch.testing.assert_close(flatter, plain * 0.8, rtol=1e-4, atol=1e-4)


def test_order_matters() -> None:
    changes = (0.2, 0.8, 1.0, 0.0)
    add_first = colour_jitter(image(), factors(*changes))
    scale_first = colour_jitter(image(), factors(*changes, order=(1, 0, 2, 3)))
    difference = (scale_first - add_first) * STD
    torch.testing.assert_close(difference, torch.full_like(difference, 0.04), rtol=1e-3, atol=1e-3)


def test_without_saturation_all_is_grey_and_hue_turns_channels() -> None:
    grey = colour_jitter(image(), factors(0.0, 1.0, 0.0, 0.0)) * STD + MEAN
    assert (grey.amax(dim=1) - grey.amin(dim=1)).max() < 1e-4
    third = 2 * torch.pi / 3
    turned = colour_jitter(image(), factors(0.0, 1.0, 1.0, third)) * STD + MEAN
    torch.testing.assert_close(turned, (image() * STD + MEAN).roll(1, dims=1), rtol=1e-3, atol=1e-3)


def test_probabilities_of_the_draw() -> None:
    strong = StrongAugmentation(
        jitter_probability=0.8, jitter_strength=0.2, blur_probability=0.5, blur_sigma=(0.15, 1.15)
    )
    chance = Chance(seed=0)
    draws = [strong.draw(chance) for _ in range(4000)]
    assert sum(d.jitter for d in draws) / 4000 == pytest.approx(0.8, abs=0.03)
    assert sum(d.blur for d in draws) / 4000 == pytest.approx(0.5, abs=0.03)


def test_strengths_are_fresh_at_each_use_and_stay_in_range() -> None:
    chance = Chance(seed=0)
    first, second = (chance.jitter_factors(500, 0.2).strengths for _ in range(2))
    assert not torch.equal(first, second)
    assert first[0].abs().max() <= 0.2
    for lowest, highest, strengths in (
        (-0.2, 0.2, first[0]),
        *[(0.8, 1.2, first[i]) for i in (1, 2)],
    ):
        assert lowest <= strengths.min() < lowest + 0.01
        assert highest - 0.01 < strengths.max() <= highest
    assert chance.jitter_factors(2, 0.2).strengths.dtype == torch.float32
    orders = {chance.jitter_factors(1, 0.2).order for _ in range(400)}
    assert len(orders) == 24
    assert 1.1 < first[3].abs().max() <= 0.2 * 2 * torch.pi
    sigmas = [chance.blur_sigma(0.15, 1.15) for _ in range(200)]
    assert 0.15 <= min(sigmas) < 0.25
    assert 1.05 < max(sigmas) <= 1.15


def test_colours_stay_within_the_range_of_an_image() -> None:
    plain = image() * STD + MEAN
    lighter = colour_jitter(image(), factors(0.5, 1.0, 1.0, 0.0)) * STD + MEAN
    torch.testing.assert_close(lighter, (plain + 0.5).clamp(0, 1), rtol=1e-4, atol=1e-4)
    assert lighter.max() == pytest.approx(1.0, abs=1e-5)
    assert (plain + 0.5 > 1).any()


def test_each_image_has_its_own_strength() -> None:
    strengths = torch.tensor([[0.0, 0.1], [1.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    jittered = colour_jitter(image(), JitterFactors(strengths, (0, 1, 2, 3)))
    change = ((jittered - image()) * STD).mean(dim=(1, 2, 3))
    assert change.tolist() == pytest.approx([0.0, 0.1], abs=1e-4)


def test_nothing_drawn_changes_nothing() -> None:
    strong = StrongAugmentation(
        jitter_probability=0.0, jitter_strength=0.2, blur_probability=0.0, blur_sigma=(0.15, 1.15)
    )
    chance = Chance(seed=0)
    assert torch.equal(strong(image(), strong.draw(chance), chance), image())


@pytest.mark.parametrize("sigma", [0.15, 1.15, 4.0])
def test_a_point_is_blurred_to_the_whole_kernel(sigma: float) -> None:
    """A Gaussian over the official 63 pixels of a side of 640, whatever part of it is computed."""
    point = torch.zeros(1, 1, 40, 640, dtype=torch.float64)
    point[..., 20, 320] = 1
    blurred = gaussian_blur(point, sigma)
    across, down = (
        torch.exp(-(torch.arange(-reach, reach + 1.0, dtype=torch.float64) ** 2) / (2 * sigma**2))
        for reach in (31, 1)
    )
    expected = torch.zeros(40, 640, dtype=torch.float64)
    expected[19:22, 289:352] = torch.outer(down / down.sum(), across / across.sum())
    torch.testing.assert_close(blurred[0, 0], expected, rtol=1e-9, atol=1e-30)


def test_an_augmented_image_has_no_graph() -> None:
    strong = StrongAugmentation(
        jitter_probability=1.0, jitter_strength=0.2, blur_probability=1.0, blur_sigma=(0.5, 1.15)
    )
    chance = Chance(seed=0)
    augmented = strong(image().requires_grad_(), strong.draw(chance), chance)
    assert not augmented.requires_grad


def test_float64_images_are_changed_in_float64() -> None:
    plain = image().double()
    strengths = torch.tensor(NEUTRAL, dtype=torch.float64)[:, None].repeat(1, 2)
    strengths[0] = 0.125
    lighter = colour_jitter(plain, JitterFactors(strengths, (0, 1)))
    expected = 0.125 / torch.tensor(IMAGENET_STD, dtype=torch.float64)[:, None, None]
    torch.testing.assert_close(lighter - plain, expected.expand_as(plain), rtol=0, atol=1e-12)
