import pytest
import torch

from sepico_pl.adapt.pseudo_labels import (
    DayNightVote,
    IgnoredRows,
    blend_day_night,
    mixing_weight,
    most_likely,
)
from sepico_pl.types import InputError


def test_day_night_vote_is_the_official_one(golden) -> None:
    record = golden("g_h_misc.npz")
    night, day, weights = (
        torch.from_numpy(record[f"mdn_{name}"]) for name in ("night", "day", "class_weight")
    )
    for vote, expected in (
        (blend_day_night(night, day), "nocw"),
        (blend_day_night(night, day, weights), "cw"),
        (blend_day_night(night, day, weights, day_share=0.6), "cw_r0.6"),
    ):
        theirs = torch.from_numpy(record[f"mdn_out_{expected}"])
        torch.testing.assert_close(vote, theirs, rtol=1e-6, atol=1e-7)


def test_labels_and_trust() -> None:
    probabilities = torch.tensor([[[[0.7, 0.2]], [[0.1, 0.5]], [[0.2, 0.3]]]])
    pseudo = most_likely(probabilities)
    assert pseudo.label.tolist() == [[[0, 1]]]
    assert pseudo.confidence.tolist() == [[[pytest.approx(0.7), 0.5]]]
    assert mixing_weight(pseudo.confidence, 0.6).item() == 0.5
    assert mixing_weight(pseudo.confidence, 0.5).item() == 1.0


def test_ignored_rows_scale_with_the_crop() -> None:
    rows = IgnoredRows(top=15, bottom=120, per=640)
    for height, top, bottom in ((640, 15, 120), (64, 2, 12), (320, 8, 60)):
        weights = rows.pixel_weights(torch.ones(1, height, 4), torch.tensor(0.25))
        assert (
            weights[0, :, 0].tolist() == [0] * top + [0.25] * (height - top - bottom) + [0] * bottom
        )
    whole = IgnoredRows(0, 0, 640).pixel_weights(torch.ones(1, 8, 8), torch.tensor(0.5))
    assert (whole == 0.5).all()


@pytest.mark.parametrize(("top", "bottom"), [(-1, 0), (0, -2), (300, 340)])
def test_ignored_rows_must_leave_something(top: int, bottom: int) -> None:
    with pytest.raises(InputError, match=r"adapt\.ignored_rows"):
        IgnoredRows(top, bottom, 640)


def test_day_leads_only_where_it_is_confident_and_the_class_stays() -> None:
    """Class 2 is static, class 13 is not; the day is sure (0.9) in the left pixel alone."""
    night, day = torch.zeros(1, 19, 1, 2), torch.zeros(1, 19, 1, 2)
    night[0, [2, 13]] = 0.5
    day[0, [2, 13]] = torch.tensor([0.9, 0.4])
    vote = blend_day_night(night, day)
    expected = [0.8 * 0.9 + 0.2 * 0.5, 0.2 * 0.4 + 0.8 * 0.5]
    assert vote[0, 2, 0].tolist() == pytest.approx(expected)
    assert vote[0, 13, 0].tolist() == [0.5, 0.5]


def brightness(image: torch.Tensor) -> torch.Tensor:
    """A teacher that is the surer of class 0 the brighter a pixel, and else says class 13."""
    scores = torch.zeros(len(image), 19, *image.shape[-2:])
    scores[:, 0], scores[:, 13] = image[:, 0], 1 - image[:, 0]
    return scores


def test_the_vote_asks_for_both_images() -> None:
    """Road at 0.3 by night and 0.9 by day: 0.2 * 0.3 + 0.8 * 0.9; cars by night alone."""
    target = {"image": torch.full((1, 3, 2, 2), 0.3), "reference": torch.full((1, 3, 2, 2), 0.9)}
    vote = DayNightVote(day_share=0.8, confident=0.4)
    scores = vote(brightness, target)
    assert scores[0, 0].unique().tolist() == [pytest.approx(0.78)]
    assert scores[0, 13].unique().tolist() == [pytest.approx(0.7)]
    weights = torch.linspace(0.8, 1.2, 19)
    weighted = DayNightVote(day_share=0.8, confident=0.4, class_weights=weights)
    torch.testing.assert_close(weighted(brightness, target), scores * weights[:, None, None])
    assert most_likely(scores).label.eq(0).all()


def test_a_vote_without_references() -> None:
    vote = DayNightVote(day_share=0.8, confident=0.4)
    with pytest.raises(InputError, match=r"vote=day_night: .*no day references.*vote=teacher"):
        vote(brightness, {"image": torch.zeros(1, 3, 2, 2)})
    both = {"image": torch.zeros(1, 3, 2, 2), "reference": torch.zeros(1, 3, 2, 2)}
    with pytest.raises(InputError, match="19 classes, here are 4"):
        vote(lambda image: torch.zeros(1, 4, 2, 2), both)
    for key in ("day_share", "confident"):
        with pytest.raises(InputError, match=rf"vote\.{key}=1\.5"):
            DayNightVote(**{"day_share": 0.8, "confident": 0.4, key: 1.5})


def test_limits_that_may_be_reached() -> None:
    weights = IgnoredRows(top=300, bottom=339, per=640).pixel_weights(
        torch.ones(1, 640, 1), torch.tensor(1.0)
    )
    assert weights.sum() == 1
    target = {"image": torch.full((1, 3, 1, 1), 0.3), "reference": torch.full((1, 3, 1, 1), 0.9)}
    for share, expected in ((0.0, 0.3), (1.0, 0.9)):
        vote = DayNightVote(day_share=share, confident=0.0)
        assert vote(brightness, target)[0, 0].item() == pytest.approx(expected)
    vote = DayNightVote(day_share=1.0, confident=1.0)
    assert vote(brightness, target)[0, 0].item() == pytest.approx(0.3)
    for key in ("day_share", "confident"):
        with pytest.raises(InputError, match=rf"vote\.{key}=-0\.1"):
            DayNightVote(**{"day_share": 0.8, "confident": 0.4, key: -0.1})


def test_the_day_leads_above_its_confidence_not_at_it() -> None:
    night, day = torch.full((1, 19, 1, 1), 0.25), torch.full((1, 19, 1, 1), 0.5)
    at = blend_day_night(night, day, day_share=0.75, confident=0.5)
    above = blend_day_night(night, day, day_share=0.75, confident=0.49)
    static = [0, 1, 2, 3, 4, 8, 9, 10]
    for vote, expected in ((at, 0.25 * 0.5 + 0.75 * 0.25), (above, 0.75 * 0.5 + 0.25 * 0.25)):
        assert vote[0, static].unique().tolist() == [expected]
        others = [c for c in range(19) if c not in static]
        assert vote[0, others].unique().tolist() == [0.25]
