"""Blocks that are left out: which, how large, how many, and apart from every other decision."""

import math

import pytest
import torch

from sepico_pl.augment.chance import Chance
from sepico_pl.augment.masking import BlockMask, enlarged

HOST = torch.device("cpu")


@pytest.mark.parametrize(
    ("size", "block", "expected"),
    [
        ((1024, 1024), None, (16, 16)),
        ((512, 512), None, (16, 16)),
        ((512, 1024), None, (16, 32)),
        ((640, 640), None, (16, 16)),
        ((10, 40), None, (10, 40)),
        ((1024, 1024), 64, (16, 16)),
        ((100, 130), 32, (3, 4)),
        ((80, 112), 32, (2, 4)),  # 2.5 and 3.5: to the even number
        ((20, 64), 64, (1, 1)),
    ],
)
def test_how_many_blocks_an_image_has(
    size: tuple[int, int], block: int | None, expected: tuple[int, int]
) -> None:
    assert BlockMask(ratio=0.7, block=block).grid(size) == expected


def test_what_is_left_out_by_hand() -> None:
    """Blocks of 2 pixels in an image of 4x6; one stays where its number exceeds the ratio."""
    numbers = Chance(3).block_numbers(1, 2, 3)[0]
    ratio = float(numbers.flatten().sort().values[2])
    image = torch.arange(1.0, 73).reshape(1, 3, 4, 6)
    masked = BlockMask(ratio=ratio, block=2)(image, Chance(3))
    for row in range(4):
        for column in range(6):
            stays = bool(numbers[row // 2, column // 2] > ratio)
            expected = image[0, :, row, column] * stays
            assert torch.equal(masked[0, :, row, column], expected)
    assert int((masked[0, 0] == 0).sum()) == 3 * 2 * 2


@pytest.mark.parametrize("block", [1, 3, 32, 40, 41, 49])
def test_blocks_are_square(block: int) -> None:
    cells = torch.arange(5 * 7).reshape(1, 5, 7)
    pixels = enlarged(cells, (5 * block, 7 * block))
    assert torch.equal(pixels, cells.repeat_interleave(block, 1).repeat_interleave(block, 2))


def test_enlarged_by_nearest_where_sides_are_no_multiple() -> None:
    assert enlarged(torch.tensor([[[0, 1, 2]]]), (1, 7)).tolist() == [[[0, 0, 0, 1, 1, 2, 2]]]


@pytest.mark.parametrize("ratio", [0.7, 0.25])
def test_the_share_that_stays(ratio: float) -> None:
    """Each block by itself with probability 1 - ratio, whatever its neighbours and image do."""
    masked = BlockMask(ratio=ratio, block=1)(torch.ones(2, 1, 300, 300), Chance(0))[:, 0]
    kept, squares = 1 - ratio, (1 - ratio) ** 2
    pairs = [
        masked[0] * masked[1],
        masked[:, 1:] * masked[:, :-1],
        masked[..., 1:] * masked[..., :-1],
    ]
    for found, expected in [(masked, kept), *((pair, squares) for pair in pairs)]:
        deviation = math.sqrt(expected * (1 - expected) / found.numel())
        assert float(found.mean()) == pytest.approx(expected, abs=6 * deviation)


def test_ratio_zero_leaves_nothing_out() -> None:
    image = torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    assert torch.equal(BlockMask(ratio=0.0, block=1)(image, Chance(0)), image)


def test_numbers_are_above_0_and_at_most_1() -> None:
    """1 - u with u in [0, 1): no number equals a ratio of 0."""
    numbers = Chance(1).block_numbers(3, 200, 200)
    assert numbers.shape == (3, 200, 200)
    assert 0 < float(numbers.min()) < 1e-4
    assert 1 - 1e-4 < float(numbers.max()) <= 1


def test_two_ranks_leave_out_what_one_does() -> None:
    image = torch.ones(4, 3, 64, 64)
    mask = BlockMask(ratio=0.7, block=8)
    views = []
    for rank, ranks in ((0, 1), (0, 2), (1, 2)):
        chance = Chance(5)
        chance.start(9, rank=rank, ranks=ranks)
        with chance.apart(HOST) as other:
            views.append(mask(image[: 4 // ranks], other))
    whole, *halves = views
    assert torch.equal(torch.cat(halves), whole)
    assert len({tuple(one.flatten().tolist()) for one in whole}) == 4


def test_what_is_decided_apart_moves_no_other_decision() -> None:
    alone, disturbed = Chance(2), Chance(2)
    alone.start(4, rank=0, ranks=1)
    expected = [alone.happens(0.5), alone.blur_sigma(0, 1), torch.rand(5).tolist()]
    disturbed.start(4, rank=0, ranks=1)
    with disturbed.apart(HOST) as other:
        inside = [other.happens(0.5), other.blur_sigma(0, 1), torch.rand(5).tolist()]
    found = [disturbed.happens(0.5), disturbed.blur_sigma(0, 1), torch.rand(5).tolist()]
    assert found == expected
    assert not set(inside[1:2] + inside[2]) & set(expected[1:2] + expected[2])


def test_what_is_decided_apart_depends_on_seed_and_step_alone() -> None:
    def decided(seed: int, step: int, before: int) -> tuple[float, ...]:
        chance = Chance(seed)
        chance.start(step, rank=0, ranks=1)
        for _ in range(before):
            chance.happens(0.5)
            torch.rand(1)
        with chance.apart(HOST) as other:
            return other.blur_sigma(0, 1), *torch.rand(3).tolist()

    assert decided(1, 5, before=0) == decided(1, 5, before=3)
    assert decided(1, 5, before=0) != decided(1, 6, before=0)
    assert decided(1, 5, before=0) != decided(2, 5, before=0)
