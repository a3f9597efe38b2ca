"""Measures of an embedding space against closed forms, invariances and the obvious loop."""

import math

import pytest
import torch
import torch.nn.functional as F

from sepico_pl.contrast.statistics import ClassMoments
from sepico_pl.reporting.embedding_measures import MEASURES, Domain, measure

CLASSES = 4
ACROSS_CLASSES = ("pdd_source", "pdd_target", "margin_source", "margin_target", "mean_cosine")


def domain(embeddings: torch.Tensor, labels: torch.Tensor, classes: int = CLASSES) -> Domain:
    """Let all pixels be the sample."""
    moments = ClassMoments(classes, embeddings.shape[1])
    moments.update(embeddings, labels)
    return Domain(moments, embeddings, labels)


def random_domain(seed: int, width: int = 6) -> Domain:
    """Noisy non-negative unit embeddings around a direction per class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(CLASSES).repeat(10)
    noise = torch.rand(len(labels), width, generator=generator, dtype=torch.float64)
    return domain(F.normalize(torch.eye(width).double()[labels] + noise, dim=1), labels)


def test_one_direction_per_class_is_perfect() -> None:
    labels = torch.arange(CLASSES).repeat(3)
    found = measure(*[domain(torch.eye(CLASSES)[labels], labels)] * 2)
    expected = {"pixels_source": 3, "pixels_target": 3, "domain_distance": 0, "other_distance": 2}
    for name in ("margin_source", "margin_target", "mean_cosine"):
        expected[name] = 1
    for name in ("accuracy_source", "accuracy_target"):
        expected[name] = 1
    for name, value in expected.items():
        assert found[name].tolist() == pytest.approx([value] * CLASSES), name
    assert found["pdd_source"].isnan().all()  # nothing in common with others: no bound
    assert list(found) == list(MEASURES)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_discrimination_distance_falls_with_what_classes_have_in_common(share: float) -> None:
    labels = torch.arange(CLASSES).repeat(3)
    own = torch.eye(CLASSES + 1).double()[labels]
    own = math.sqrt(1 - share) * own
    own[:, -1] = math.sqrt(share)  # cosine with every other class: the share
    found = measure(*[domain(own, labels)] * 2)
    assert found["pdd_target"].tolist() == pytest.approx([1 / ((CLASSES - 1) * share)] * CLASSES)
    assert found["margin_target"].tolist() == pytest.approx([1 - share] * CLASSES)


def test_equal_classes_have_the_distance_of_chance_and_no_margin() -> None:
    labels = torch.arange(CLASSES).repeat(3)
    found = measure(*[domain(torch.ones(12, 1).double(), labels)] * 2)
    assert found["pdd_source"].tolist() == pytest.approx([1 / (CLASSES - 1)] * CLASSES)
    assert found["margin_source"].tolist() == [0] * CLASSES
    assert found["accuracy_source"].tolist() == [0] * CLASSES
    assert found["other_distance"].tolist() == [0] * CLASSES


def test_the_frechet_distance_equals_one_by_hand() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    source = domain(torch.tensor([[0.0, 0], [4, 0], [9, 9], [9, 9]]), labels, classes=2)
    target = domain(torch.tensor([[0.0, 3], [0, 5], [9, 9], [9, 9]]), labels, classes=2)
    found = measure(source, target)
    # Class 0: means (2, 0) and (0, 4), deviations (2, 0) and (0, 1).
    assert found["domain_distance"].tolist() == pytest.approx([20 + 5, 0])
    # The target's 0 to the source's 1, the target's 1 to the source's 0.
    assert found["other_distance"].tolist() == pytest.approx([81 + 25 + 1, 49 + 81 + 4])
    assert found["mean_cosine"].tolist() == pytest.approx([0, 1])


def test_measures_equal_the_obvious_loops() -> None:
    source, target = random_domain(1), random_domain(2)
    found = measure(source, target)
    for label in range(CLASSES):
        pixels = target.embeddings[target.labels == label]
        distances, gaps = [], []
        for pixel in pixels:
            cosines = [
                float(F.cosine_similarity(pixel, target.moments.mean[k], dim=0))
                for k in range(CLASSES)
            ]
            distances.append(cosines[label] / (sum(cosines) - cosines[label]))
            products = [float(pixel @ source.moments.mean[k]) for k in range(CLASSES)]
            gaps.append(products[label] - max(products[:label] + products[label + 1 :]))
        assert found["pdd_target"][label] == pytest.approx(sum(distances) / len(distances))
        assert found["margin_target"][label] == pytest.approx(sum(gaps) / len(gaps))
        accuracy = sum(gap > 0 for gap in gaps) / len(gaps)
        assert found["accuracy_target"][label] == pytest.approx(accuracy)


def test_a_common_rotation_changes_no_angle() -> None:
    source, target = random_domain(1), random_domain(2)
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]
    turned = [domain(one.embeddings @ rotation, one.labels) for one in (source, target)]
    before, after = measure(source, target), measure(*turned)
    for name in ACROSS_CLASSES:
        torch.testing.assert_close(after[name], before[name])


def test_the_frechet_distance_depends_on_no_order_or_sign_of_axes() -> None:
    source, target = random_domain(1), random_domain(2)
    order, sign = torch.randperm(6), torch.tensor([1, -1, 1, -1, -1, 1])
    moved = [domain((one.embeddings * sign)[:, order], one.labels) for one in (source, target)]
    before, after = measure(source, target), measure(*moved)
    for name in ("domain_distance", "other_distance"):
        torch.testing.assert_close(after[name], before[name])


def test_domains_that_are_the_same_lie_at_no_distance_and_others_do_not() -> None:
    source = random_domain(1)
    assert measure(source, source)["domain_distance"].tolist() == [0] * CLASSES
    assert (measure(source, random_domain(2))["domain_distance"] > 0).all()


def test_a_class_that_a_domain_lacks_has_no_value() -> None:
    whole = random_domain(1)
    without = domain(whole.embeddings[whole.labels != 2], whole.labels[whole.labels != 2])
    found = measure(without, whole)
    assert found["pixels_source"].tolist() == [10, 10, 0, 10]
    undefined = {name for name, values in found.items() if values[2].isnan()}
    assert undefined == {
        *("pdd_source", "margin_source", "margin_target", "accuracy_source", "accuracy_target"),
        *("domain_distance", "mean_cosine"),
    }
    for name in MEASURES:
        assert not found[name][[0, 1, 3]].isnan().any(), name


def test_a_single_class_or_none_has_no_margin() -> None:
    lonely = domain(torch.tensor([[1.0, 0]]), torch.tensor([1]))
    nothing = domain(torch.empty(0, 2), torch.empty(0, dtype=torch.int64))
    assert measure(lonely, lonely)["margin_source"].isnan().all()
    assert measure(lonely, lonely)["domain_distance"][1] == 0
    assert measure(lonely, lonely)["other_distance"].isnan().all()
    assert measure(nothing, nothing)["pdd_target"].isnan().all()


def test_opposed_embeddings_have_no_discrimination_distance() -> None:
    labels = torch.tensor([0, 1])
    signed = domain(torch.tensor([[1.0, 0], [-1, 0]]), labels, classes=2)
    assert measure(signed, signed)["pdd_source"].isnan().all()
    assert measure(signed, signed)["margin_source"].tolist() == [2, 2]
