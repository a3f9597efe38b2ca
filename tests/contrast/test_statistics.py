from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from sepico_pl.contrast.statistics import ClassBank, ClassMoments

UPDATES = range(7)


def relative(ours: torch.Tensor, theirs: np.ndarray) -> float:
    expected = torch.from_numpy(theirs)
    return float((ours - expected).abs().max() / expected.abs().max())


def oldest_first(bank: ClassBank) -> torch.Tensor:
    length = bank.entries.shape[1]
    shifts = [int(written) % length if written >= length else 0 for written in bank.written]
    return torch.stack([ring.roll(-s, 0) for ring, s in zip(bank.entries, shifts, strict=True)])


@pytest.mark.parametrize("name", ["f32", "f64"])
def test_agreement_with_the_official_code_after_every_update(golden, name: str) -> None:
    record = golden("a_proto_estimator.npz")
    dtype = torch.float32 if name == "f32" else torch.float64
    moments, bank = ClassMoments(19, 16).to(dtype), ClassBank(19, 16, 3).to(dtype)
    for t in UPDATES:
        embeddings = torch.from_numpy(record[f"feat{t}"]).to(dtype)
        labels = torch.from_numpy(record[f"label{t}"])
        moments.update(embeddings, labels)
        bank.update(embeddings, labels)
        assert relative(moments.mean, record[f"{name}_Ave{t}"]) <= 1e-5
        assert relative(moments.variance, record[f"{name}_CoVariance{t}"]) <= 1e-5
        np.testing.assert_array_equal(moments.count, record[f"{name}_Amount{t}"])
        np.testing.assert_array_equal(bank.filled, record[f"{name}_banklen{t}"])
        assert relative(oldest_first(bank), record[f"{name}_bank{t}"]) <= 1e-5


def test_merged_moments_are_those_of_all_pixels_together() -> None:
    dice = torch.Generator().manual_seed(0)
    embeddings = torch.randn(3000, 8, generator=dice) + 5
    labels = torch.randint(0, 4, (3000,), generator=dice)
    moments = ClassMoments(5, 8)
    for part in torch.arange(3000).split([1, 0, 999, 7, 1993]):
        moments.update(embeddings[part], labels[part])
    for c in range(4):
        of_class = embeddings[labels == c].double()
        torch.testing.assert_close(moments.mean[c].double(), of_class.mean(0), rtol=1e-5, atol=0)
        variance = of_class.var(0, unbiased=False)
        torch.testing.assert_close(moments.variance[c].double(), variance, rtol=1e-4, atol=0)
    assert moments.count.tolist()[4] == 0
    assert not moments.mean[4].any()


def test_no_pixels_change_nothing() -> None:
    moments, bank = ClassMoments(3, 4), ClassBank(3, 4, 2)
    moments.update(torch.ones(2, 4), torch.tensor([0, 2]))
    bank.update(torch.ones(2, 4), torch.tensor([0, 2]))
    before = {k: v.clone() for k, v in (moments.state_dict() | bank.state_dict()).items()}
    for statistics in (moments, bank):
        statistics.update(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    after = moments.state_dict() | bank.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_state_travels_in_a_checkpoint(tmp_path: Path) -> None:
    bank = ClassBank(3, 4, 2)
    for value in (1.0, 2.0, 3.0):
        bank.update(torch.full((1, 4), value), torch.tensor([1]))
    torch.save(bank.state_dict(), tmp_path / "bank.pt")
    again = ClassBank(3, 4, 2)
    again.load_state_dict(torch.load(tmp_path / "bank.pt", weights_only=True))
    bank.update(torch.full((1, 4), 4.0), torch.tensor([1]))
    again.update(torch.full((1, 4), 4.0), torch.tensor([1]))
    assert torch.equal(bank.entries, again.entries)
    assert sorted(again.entries[1, :, 0].tolist()) == [3.0, 4.0]
    assert again.filled.tolist() == [1, 2, 1]


def pixels() -> tuple[torch.Tensor, torch.Tensor]:
    dice = torch.Generator().manual_seed(3)
    return torch.randn(400, 8, generator=dice), torch.randint(0, 5, (400,), generator=dice)


def statistics_of(parts: list[slice]) -> dict[str, torch.Tensor]:
    embeddings, labels = pixels()
    moments, bank = ClassMoments(5, 8), ClassBank(5, 8, 3)
    for part in parts:
        moments.update(embeddings[part], labels[part])
        bank.update(embeddings[part], labels[part])
    return moments.state_dict() | bank.state_dict()


def one_rank(rank: int, folder: str) -> None:
    address = f"file://{folder}/rendezvous"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    # Uneven shares; in the second step rank 0 has no pixel at all.
    parts = [slice(0, 60), slice(200, 200)] if rank == 0 else [slice(60, 200), slice(200, 400)]
    torch.save(statistics_of(parts), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_have_the_statistics_of_one(tmp_path: Path) -> None:
    mp.spawn(one_rank, args=(str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    alone = statistics_of([slice(0, 200), slice(200, 400)])
    for key, expected in alone.items():
        assert torch.equal(first[key], second[key])
        torch.testing.assert_close(first[key], expected, rtol=1e-5, atol=1e-6)


def test_the_order_of_pixels_does_not_matter() -> None:
    embeddings, labels = pixels()
    turn = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    expected = statistics_of([slice(0, 400)])
    moments, bank = ClassMoments(5, 8), ClassBank(5, 8, 3)
    for statistics in (moments, bank):
        statistics.update(embeddings[turn], labels[turn])
    for name, ours in (moments.state_dict() | bank.state_dict()).items():
        torch.testing.assert_close(ours, expected[name], rtol=1e-5, atol=1e-6)


def test_a_hundred_million_pixels_later() -> None:
    """Counts stay exact and a batch still weighs what it should (float32 counts stop at 2^24)."""
    seen, new = 100_000_001, 1000
    moments = ClassMoments(2, 1)
    moments.count[0] = seen
    moments.mean[0], moments.variance[0] = 0.25, 0.04
    for _ in range(100):
        moments.update(torch.full((new, 1), 0.75), torch.zeros(new, dtype=torch.int64))
    total = seen + 100 * new
    share = 100 * new / total
    assert moments.count.tolist() == [total, 0]
    assert moments.mean[0].item() == pytest.approx(0.25 + share * 0.5, abs=1e-5)
    expected = (1 - share) * 0.04 + share * (1 - share) * 0.5**2
    assert moments.variance[0].item() == pytest.approx(expected, abs=1e-5)
    assert moments.mean[0].item() - 0.25 == pytest.approx(share * 0.5, rel=0.02)


def test_the_merge_is_exact_over_a_hundred_million_pixels() -> None:
    """Values are multiples of 1/256, so that integers say what mean and variance are."""
    updates, pixels = 50, 2_000_000
    dice = torch.Generator().manual_seed(0)
    moments, total, squares = ClassMoments(1, 1), 0, 0
    labels = torch.zeros(pixels, dtype=torch.int64)
    for update in range(updates):
        # The mean drifts, as an embedding's does over training.
        values = torch.randint(0, 64, (pixels, 1), generator=dice) + 3 * update
        total, squares = total + int(values.sum()), squares + int(values.square().sum())
        moments.update(values.float() / 256, labels)
    count = updates * pixels
    assert moments.count.tolist() == [count] == [100_000_000]
    mean = total / count / 256
    variance = (squares * count - total**2) / count**2 / 256**2
    assert moments.mean.item() == pytest.approx(mean, rel=1e-12)
    assert moments.variance.item() == pytest.approx(variance, rel=1e-12)


def test_bank_keeps_the_last_batch_means_and_its_zero_until_evicted() -> None:
    bank = ClassBank(2, 1, 3)
    kept = []
    for value in (1.0, 2.0, 3.0, 4.0):
        # Two pixels around the value: an entry is their mean; class 0 is never seen.
        bank.update(torch.tensor([[value - 0.5], [value + 0.5]]), torch.tensor([1, 1]))
        kept.append(oldest_first(bank)[1, : int(bank.filled[1]), 0].tolist())
    assert kept == [[0.0, 1.0], [0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 3.0, 4.0]]
    assert bank.filled.tolist() == [1, 3]


def test_a_variance_is_never_negative() -> None:
    """Constant embeddings have none, whatever rounding does."""
    moments = ClassMoments(1, 50)
    embedding = torch.rand(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for count in (1, 3, 7, 1000, 11):
        moments.update(embedding.expand(count, -1), torch.zeros(count, dtype=torch.int64))
        assert (moments.variance >= 0).all()
    torch.testing.assert_close(moments.variance, torch.zeros(1, 50).double(), rtol=0, atol=1e-15)
