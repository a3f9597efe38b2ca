import torch

from sepico_pl.augment.chance import Chance


def decisions(seed: int, step: int) -> list[float]:
    chance = Chance(seed)
    chance.happens(0.5)
    chance.start(step, rank=0, ranks=1)
    torch.rand(3)
    corners = chance.crop_corners(2, 3, (10, 20)).flatten().tolist()
    decided = [*corners, chance.blur_sigma(0.0, 1.0), *chance.jitter_factors(2, 0.2).order]
    return [*decided, *torch.rand(3).tolist()]


def test_decisions_depend_on_seed_and_step_alone() -> None:
    assert decisions(1, 5) == decisions(1, 5)
    others = [decisions(2, 5), decisions(1, 6)]
    assert all(other != decisions(1, 5) for other in others)


def per_image(chance: Chance, images: int) -> list[torch.Tensor]:
    corners = chance.crop_corners(images, 3, (10, 20))
    pasted = torch.stack(chance.pasted_classes(torch.arange(9), images))
    return [corners, pasted, chance.jitter_factors(images, 0.2).strengths.T]


def test_two_ranks_decide_as_one_with_the_whole_batch() -> None:
    one, first, second = Chance(3), Chance(3), Chance(3)
    one.start(7, rank=0, ranks=1)
    first.start(7, rank=0, ranks=2)
    of_first_rank = torch.rand(3)
    second.start(7, rank=1, ranks=2)
    assert not torch.equal(torch.rand(3), of_first_rank)  # dropout is not shared
    for whole, *halves in zip(
        per_image(one, 4), per_image(first, 2), per_image(second, 2), strict=True
    ):
        assert torch.equal(torch.cat(halves), whole)
        assert not torch.equal(*halves)
    assert one.happens(0.5) == first.happens(0.5) == second.happens(0.5)
    assert one.blur_sigma(0, 1) == first.blur_sigma(0, 1) == second.blur_sigma(0, 1)


def test_corners_reach_both_ends() -> None:
    corners = Chance(0).crop_corners(50, 10, (0, 3))
    assert corners[..., 0].unique().tolist() == [0]
    assert corners[..., 1].unique().tolist() == [0, 1, 2, 3]


def test_half_of_the_classes_rounded_up_each_equally_often() -> None:
    chance, present = Chance(0), torch.tensor([0, 3, 7, 9, 255])
    counts = dict.fromkeys(present.tolist(), 0)
    for _ in range(1000):
        (chosen,) = chance.pasted_classes(present, 1)
        assert len(chosen) == len(chosen.unique()) == 3
        for c in chosen.tolist():
            counts[c] += 1
    assert min(counts.values()) > 540
    assert max(counts.values()) < 660
    assert chance.pasted_classes(torch.tensor([4]), 1)[0].tolist() == [4]


def test_it_starts_at_step_zero_with_one_rank() -> None:
    begun = Chance(4)
    begun.start(0, rank=0, ranks=1)
    for one, other in zip(per_image(Chance(4), 3), per_image(begun, 3), strict=True):
        assert torch.equal(one, other)
