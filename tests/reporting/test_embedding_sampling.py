"""What is embedded, by which network, and which pixels are kept."""

import numpy as np
import pytest
import torch
from command_line import TINY, configured

from sepico_pl.adapt.batch_norm import use_batch_statistics
from sepico_pl.assembly import build_data, build_task
from sepico_pl.data.streams import evenly
from sepico_pl.reporting.embedding_sampling import ClassSample, Embedder
from sepico_pl.task import SegmentationTask
from sepico_pl.types import InputError

LABELS = torch.tensor([0] * 60 + [1] * 5 + [2] * 35)[
    torch.randperm(100, generator=torch.Generator().manual_seed(0))
]
PIXELS = torch.arange(100.0)[:, None]


def sampled(batches: int, seed: int = 0, per_class: int = 10) -> ClassSample:
    sample = ClassSample(per_class, 1, [seed])
    for pixels, labels in zip(PIXELS.chunk(batches), LABELS.chunk(batches), strict=True):
        sample.update(pixels, labels)
    return sample


def test_a_sample_has_at_most_so_many_of_a_class_with_their_labels() -> None:
    sample = sampled(7)
    assert np.bincount(sample.labels).tolist() == [10, 5, 10]
    assert LABELS[sample.embeddings[:, 0].long()].tolist() == sample.labels.tolist()
    assert len(sample.embeddings.unique()) == 25


def test_a_sample_depends_on_the_seed_and_not_on_batches() -> None:
    whole = sampled(1).embeddings
    assert torch.equal(sampled(9).embeddings, whole)
    assert not torch.equal(sampled(1, seed=1).embeddings, whole)


def test_every_pixel_of_a_class_has_the_same_chance() -> None:
    hits = torch.zeros(100)
    for seed in range(500):
        hits[sampled(4, seed).embeddings[:, 0].long()] += 1
    for label, chance in ((0, 10 / 60), (1, 1.0), (2, 10 / 35)):
        spread = 4.5 * (500 * chance * (1 - chance)) ** 0.5
        assert (hits[label == LABELS] - 500 * chance).abs().max() <= spread


@pytest.mark.parametrize(("total", "count", "indices"), [(10, 4, [0, 2, 5, 7]), (2, 9, [0, 1])])
def test_images_are_taken_evenly(total: int, count: int, indices: list[int]) -> None:
    assert evenly(total, count) == indices


def built(*overrides: str) -> SegmentationTask:
    plain = configured(*TINY, *overrides)
    torch.manual_seed(0)
    return build_task(plain, build_data(plain).pair)


@pytest.mark.parametrize(
    ("overrides", "features", "kind", "width", "size"),
    [
        ([], None, "projection", 64, (8, 16)),
        (["head.projection.stages=last"], None, "projection", 64, (1, 2)),
        (["head.projection.stages=layerwise"], None, "projection", 64, (1, 2)),
        (["contrast=none"], None, "encoder", 512, (1, 2)),
        ([], "encoder", "encoder", 512, (1, 2)),
        (["contrast=none"], "fused", "fused", 960, (8, 16)),
    ],
)
def test_embeddings_are_unit_vectors_of_what_was_chosen(
    overrides: list[str], features: str | None, kind: str, width: int, size: tuple[int, int]
) -> None:
    embedder = Embedder(built(*overrides).student, features).eval()
    found = embedder(torch.randn(2, 3, 32, 64))
    assert (embedder.features, embedder.width) == (kind, width)
    assert found.shape == (2, width, *size)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2, *size))


@pytest.mark.parametrize(
    ("features", "told"), [("projection", "no projection head"), ("head", "features=head is unk")]
)
def test_features_that_there_are_not_are_refused(features: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        Embedder(built("contrast=none").student, features)


def test_labels_are_padded_as_images_are_with_pixels_that_do_not_count() -> None:
    embedder = Embedder(built("head=fpn").student, None).eval()
    assert embedder.network.divisor == 32
    image, label = torch.randn(1, 3, 40, 50), torch.arange(20 * 25).reshape(1, 20, 25) % 9
    padded = embedder.labels(label, image)
    assert padded.shape == (1, 64, 64)
    assert torch.equal(padded[0, :40:2, :50:2], label[0])
    assert (padded[0, 40:] == 255).all()
    assert (padded[0, :, 50:] == 255).all()
    assert embedder(image).shape[-2:] == (16, 16)


def test_target_statistics_reach_the_projection_head() -> None:
    """A forward pass of the segmentor would leave it out, and its statistics reset."""
    task = built("adapt.batch_norm=target")
    embedder = Embedder(task.student, None)
    images = 3 + 2 * torch.randn(8, 3, 32, 64)
    with torch.no_grad():
        use_batch_statistics(embedder)
        of_the_batch = embedder(images)
        embedder.eval()
        own = embedder(images)
        with task.judge(embedder, [images]):
            judged = embedder(images)
        assert torch.equal(embedder(images), own)
    assert likeness(judged, of_the_batch) > 0.995
    assert likeness(own, of_the_batch) < 0.9


def likeness(first: torch.Tensor, second: torch.Tensor) -> float:
    """The smallest cosine of embeddings of one pixel."""
    return float((first * second).sum(dim=1).min())
