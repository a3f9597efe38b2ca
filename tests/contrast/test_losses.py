import math

import pytest
import torch
import torch.nn.functional as F

from sepico_pl.contrast.losses import (
    bank_loss,
    bank_means,
    distribution_loss,
    diversity,
    margins,
    prototype_loss,
)

CLASSES, WIDTH, LENGTH = 5, 6, 4


def unit(*shape: int, seed: int) -> torch.Tensor:
    dice = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=dice, dtype=torch.float64), dim=-1)


@pytest.fixture
def case() -> dict[str, torch.Tensor]:
    dice = torch.Generator().manual_seed(9)
    return {
        "embeddings": unit(12, WIDTH, seed=0),
        "labels": torch.tensor([0, 1, 2, 3, 4, 0, 0, 2, 2, 1, 3, 0]),
        "mean": 0.8 * unit(CLASSES, WIDTH, seed=1),
        "variance": torch.rand(CLASSES, WIDTH, generator=dice, dtype=torch.float64) * 0.05,
        "entries": unit(CLASSES, LENGTH, WIDTH, seed=2),
        "filled": torch.tensor([4, 1, 2, 3, 4]),
    }


def test_bank_loss_is_the_obvious_loop(case) -> None:
    tau = 0.3
    entries, filled = case["entries"], case["filled"]
    expected = []
    for q, y in zip(case["embeddings"], case["labels"].tolist(), strict=True):
        others = [k for k in range(CLASSES) if k != y]
        negative = sum(
            math.exp(sum(float(q @ entries[k, m]) / tau for m in range(filled[k])) / int(filled[k]))
            for k in others
        )
        positives = [math.exp(float(q @ entries[y, m]) / tau) for m in range(filled[y])]
        losses = [-math.log(p / (p + negative)) for p in positives]
        expected.append(sum(losses) / len(losses))
    ours = bank_loss(case["embeddings"], case["labels"], entries, filled, tau)
    torch.testing.assert_close(ours, torch.tensor(expected, dtype=torch.float64))


def test_entries_beyond_the_fill_level_do_not_count(case) -> None:
    changed = case["entries"].clone()
    changed[1, 1:] = 100.0
    of = (case["embeddings"], case["labels"])
    before = bank_loss(*of, case["entries"], case["filled"], 0.5)
    torch.testing.assert_close(bank_loss(*of, changed, case["filled"], 0.5), before)
    means = bank_means(changed, case["filled"])
    torch.testing.assert_close(means[1], changed[1, 0])


def test_no_variance_is_the_prototype(case) -> None:
    of = (case["embeddings"], case["labels"], case["mean"])
    still = torch.zeros_like(case["variance"])
    torch.testing.assert_close(distribution_loss(*of, still, 0.2), prototype_loss(*of, 0.2))
    moving = distribution_loss(*of, case["variance"], 0.2)
    assert (moving > prototype_loss(*of, 0.2)).all()


def test_distribution_is_the_limit_of_infinitely_many_pairs(case) -> None:
    """E[e^{q.x/tau}] over x ~ N(mu_k, v_k), from samples, within five standard errors."""
    tau, samples = 0.5, 40_000
    dice = torch.Generator().manual_seed(4)
    noise = torch.randn(samples, CLASSES, WIDTH, generator=dice, dtype=torch.float64)
    drawn = case["mean"] + case["variance"].sqrt() * noise
    closed = distribution_loss(
        case["embeddings"], case["labels"], case["mean"], case["variance"], tau
    )
    for q, y, loss in zip(case["embeddings"], case["labels"], closed, strict=True):
        exponentials = torch.exp(drawn @ q / tau)
        total = exponentials.mean(dim=0).sum()
        error = exponentials.sum(dim=1).std() / math.sqrt(samples) / total
        limit = total.log() - q @ case["mean"][y] / tau
        assert abs(float(limit - loss)) < 5 * float(error)
        # The bound is above the expected contrast itself (Jensen).
        positive = drawn[:, y] @ q / tau
        expected = (exponentials.sum(dim=1).log() - positive).mean()
        assert float(expected) < float(loss) + 5 * float(error)


def test_gradients(case) -> None:
    q = case["embeddings"].clone().requires_grad_()
    labels, tau = case["labels"], 0.4
    for loss in (
        lambda x: prototype_loss(x, labels, case["mean"], tau),
        lambda x: distribution_loss(x, labels, case["mean"], case["variance"], tau),
        lambda x: bank_loss(x, labels, case["entries"], case["filled"], tau),
        lambda x: diversity(x.mean(0), case["mean"], tau),
    ):
        assert torch.autograd.gradcheck(loss, (q,))


def test_diversity_is_minus_one_where_all_classes_are_equally_near(case) -> None:
    alike = case["mean"][:1].expand(CLASSES, WIDTH)
    assert float(diversity(case["embeddings"].mean(0), alike, 0.1)) == pytest.approx(-1.0)
    assert float(diversity(case["embeddings"].mean(0), case["mean"], 0.1)) < -1.0


def test_margin_by_hand() -> None:
    mean = torch.eye(3)
    embeddings = torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    assert margins(embeddings, torch.tensor([0, 2]), mean).tolist() == pytest.approx([-0.2, 1])


def test_official_temperature_hides_progress() -> None:
    """At tau = 100 the loss stays within 0.7 % of ln C; the margin does not."""
    perfect = prototype_loss(torch.eye(3), torch.arange(3), torch.eye(3), 100.0)
    assert (perfect / math.log(3) - 1).abs().max() < 0.007
    assert margins(torch.eye(3), torch.arange(3), torch.eye(3)).tolist() == [1.0] * 3


def test_the_order_of_pixels_does_not_matter(case) -> None:
    turn = torch.tensor([11, 3, 0, 7, 5, 1, 9, 2, 10, 4, 8, 6])
    pixels, labels, tau = case["embeddings"], case["labels"], 0.3
    for loss in (
        lambda q, y: prototype_loss(q, y, case["mean"], tau),
        lambda q, y: distribution_loss(q, y, case["mean"], case["variance"], tau),
        lambda q, y: bank_loss(q, y, case["entries"], case["filled"], tau),
    ):
        torch.testing.assert_close(loss(pixels[turn], labels[turn]), loss(pixels, labels)[turn])
    shuffled = diversity(pixels[turn].mean(0), case["mean"], tau)
    torch.testing.assert_close(shuffled, diversity(pixels.mean(0), case["mean"], tau))


def test_the_names_of_classes_do_not_matter(case) -> None:
    turn = torch.tensor([3, 0, 4, 1, 2])
    of, tau = case["embeddings"], 0.3
    labels, renamed = case["labels"], turn.argsort()[case["labels"]]
    parts = {name: case[name] for name in ("mean", "variance", "entries", "filled")}
    moved = {name: part[turn] for name, part in parts.items()}
    for loss in (
        lambda y, p: prototype_loss(of, y, p["mean"], tau),
        lambda y, p: distribution_loss(of, y, p["mean"], p["variance"], tau),
        lambda y, p: bank_loss(of, y, p["entries"], p["filled"], tau),
    ):
        torch.testing.assert_close(loss(renamed, moved), loss(labels, parts))
