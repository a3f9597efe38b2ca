import torch

from sepico_pl.augment.chance import Chance


def decisions(seed: int, step: int, rank: int) -> list[float]:
    chance = Chance(seed)
    chance.happens(0.5)
    chance.start(step, rank)
    corners = chance.crop_corners(2, 3, (10, 20)).flatten().tolist()
    return [*corners, chance.blur_sigma(0.0, 1.0), *chance.jitter_factors(2, 0.2).order]


def test_decisions_depend_on_seed_step_and_rank_alone() -> None:
    assert decisions(1, 5, 0) == decisions(1, 5, 0)
    others = [decisions(2, 5, 0), decisions(1, 6, 0), decisions(1, 5, 1)]
    assert all(other != decisions(1, 5, 0) for other in others)


def test_corners_reach_both_ends() -> None:
    corners = Chance(0).crop_corners(50, 10, (0, 3))
    assert corners[..., 0].unique().tolist() == [0]
    assert corners[..., 1].unique().tolist() == [0, 1, 2, 3]


def test_half_of_the_classes_rounded_up_each_equally_often() -> None:
    chance, present = Chance(0), torch.tensor([0, 3, 7, 9, 255])
    counts = dict.fromkeys(present.tolist(), 0)
    for _ in range(1000):
        chosen = chance.pasted_classes(present)
        assert len(chosen) == len(chosen.unique()) == 3
        for c in chosen.tolist():
            counts[c] += 1
    assert min(counts.values()) > 540
    assert max(counts.values()) < 660
    assert chance.pasted_classes(torch.tensor([4])).tolist() == [4]
