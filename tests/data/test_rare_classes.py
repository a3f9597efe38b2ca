import json
from pathlib import Path

import numpy as np
import pytest

from sepico_pl.data.rare_classes import RareClassSampling, class_probabilities, count_classes
from sepico_pl.data.streets import StreetScenes
from sepico_pl.types import InputError


@pytest.mark.parametrize("temperature", [0.01, 0.1, 1.0])
def test_probabilities_agree_with_the_official_code(shared: Path, golden, temperature) -> None:
    record = json.loads((shared / "golden" / "g_h_misc.json").read_text())
    counts = np.array(
        [[row.get(str(c), 0) for c in range(19)] for row in record["rcs_sample_class_stats"]]
    )
    classes, probabilities = class_probabilities(counts, temperature)
    np.testing.assert_array_equal(classes, np.arange(19))
    order = record[f"rcs_classes_T{temperature}"]
    expected = golden("g_h_misc.npz")[f"rcs_probs_T{temperature}"]
    np.testing.assert_allclose(probabilities[order], expected, atol=1e-6)


COUNTS = np.array([[900, 100, 0, 0], [950, 0, 50, 0], [990, 5, 5, 0], [1000, 0, 0, 0]])


def test_draws_follow_the_probabilities() -> None:
    sampling = RareClassSampling(COUNTS, temperature=0.5, min_pixels=20)
    dice = np.random.default_rng(0)
    draws = [sampling.draw(dice) for _ in range(20_000)]
    classes, probabilities = class_probabilities(COUNTS, 0.5)
    for c, p in zip(classes, probabilities, strict=True):
        share = np.mean([drawn == c for drawn, _ in draws])
        assert abs(share - p) < 4 * np.sqrt(p * (1 - p) / len(draws))
    assert {index for drawn, index in draws if drawn == 1} == {0}
    assert {index for drawn, index in draws if drawn == 0} == {0, 1, 2, 3}
    assert 3 not in {drawn for drawn, _ in draws}


def test_images_of_a_class_are_drawn_alike() -> None:
    sampling = RareClassSampling(COUNTS, temperature=0.5, min_pixels=20)
    dice = np.random.default_rng(1)
    images = [index for drawn, index in (sampling.draw(dice) for _ in range(20_000)) if drawn == 0]
    for index in range(4):
        share = np.mean(np.array(images) == index)
        assert abs(share - 0.25) < 4 * np.sqrt(0.25 * 0.75 / len(images))


def test_an_image_must_exceed_the_minimum() -> None:
    assert RareClassSampling(COUNTS, temperature=1, min_pixels=5).images[1].tolist() == [0]
    assert RareClassSampling(COUNTS, temperature=1, min_pixels=4).images[1].tolist() == [0, 2]


def test_totals_give_the_probabilities_of_their_images() -> None:
    """And the closed form, for two classes: a sigmoid of the difference of their shares."""
    for one, all_of_them in zip(
        class_probabilities(COUNTS.sum(axis=0), 0.3), class_probabilities(COUNTS, 0.3), strict=True
    ):
        np.testing.assert_array_equal(one, all_of_them)
    _, probabilities = class_probabilities(np.array([30, 70]), 0.2)
    assert probabilities[0] == pytest.approx(1 / (1 + np.exp((0.3 - 0.7) / 0.2)), abs=1e-12)


def test_small_sets_do_not_crash() -> None:
    """Where no image has enough pixels of a class, those with any will do."""
    sampling = RareClassSampling(COUNTS, temperature=0.5, min_pixels=3000)
    dice = np.random.default_rng(0)
    assert {sampling.draw(dice)[1] for _ in range(500)} == {0, 1, 2, 3}
    assert set(sampling.images[2]) == {1, 2}


def test_counts_are_those_of_the_labels() -> None:
    scenes = StreetScenes("night", "train", 3, (48, 64), seed=0)
    counts = count_classes(scenes, 9)
    for row, index in zip(counts, range(3), strict=True):
        label = scenes.label(index)
        assert row.tolist() == [(label == c).sum() for c in range(9)]


def test_a_label_with_more_classes_is_named() -> None:
    scenes = StreetScenes("night", "train", 3, (48, 64), seed=0)
    with pytest.raises(InputError, match=r"streets/night/train/0: class id \d .* 0 to 1"):
        count_classes(scenes, 2)


def test_impossible_settings() -> None:
    with pytest.raises(InputError, match="rare_class_temperature"):
        class_probabilities(COUNTS, 0.0)
    with pytest.raises(InputError, match="rare_class_pixels=-1"):
        RareClassSampling(COUNTS, temperature=1.0, min_pixels=-1)
    with pytest.raises(InputError, match="no source label"):
        class_probabilities(np.zeros((2, 4), np.int64), 1.0)


def test_any_pixel_will_do_where_none_is_asked_for() -> None:
    images = RareClassSampling(COUNTS, temperature=1.0, min_pixels=0).images
    found = {c: of_class.tolist() for c, of_class in images.items()}
    assert found == {0: [0, 1, 2, 3], 1: [0, 2], 2: [1, 2]}


def test_a_low_temperature_draws_the_rarest_class_and_overflows_nowhere() -> None:
    _, probabilities = class_probabilities(COUNTS, 1e-5)
    assert probabilities.tolist() == pytest.approx([0.0, 0.0, 1.0])
