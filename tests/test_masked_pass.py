"""The masked pass in a training step: what it learns from, and that it moves nothing else."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from tiny_sepico import STRONG, batches, fit, same, sepico, weights

from sepico_pl.augment.chance import Chance
from sepico_pl.augment.masking import BlockMask
from sepico_pl.module import SePiCo

HOST = torch.device("cpu")
HALF = BlockMask(ratio=0.5, block=4)
NOTHING = BlockMask(ratio=0.0, block=4)


class Noted(SePiCo):
    """Notes the losses of all steps, what the masked pass is given, and the strong sources."""

    noted: list[tuple[str, float]]
    given: tuple[torch.Tensor, ...]
    sources: list[torch.Tensor]

    def losses(self, batch: dict) -> Iterator[tuple[str, torch.Tensor]]:
        for name, loss in super().losses(batch):
            self.noted.append((name, float(loss.detach())))
            yield name, loss

    def masked_loss(self, masking, image, label, weight) -> torch.Tensor:
        self.given = (image, label, weight)
        return super().masked_loss(masking, image, label, weight)

    def source_loss(self, image, label) -> torch.Tensor:
        self.sources.append(image)
        return super().source_loss(image, label)


def noted(masking: BlockMask | None, steps: int) -> SePiCo:
    task = sepico(start=0, masking=masking)
    task.__class__, task.noted, task.sources = Noted, [], []
    fit(task, batches(steps))
    return task


def test_the_pass_stands_before_the_last_and_moves_no_other_loss() -> None:
    """Pasted classes, strong views and dropout are those of a step without it."""
    without, masked = noted(None, 1).noted, noted(HALF, 1).noted
    assert [name for name, _ in masked] == ["mixed", "target", "masked", "source"]
    assert [one for one in masked if one[0] != "masked"] == without


def test_no_decision_of_later_steps_is_moved() -> None:
    for one, other in zip(noted(None, 4).sources, noted(HALF, 4).sources, strict=True):
        assert torch.equal(one, other)


def test_it_learns_the_label_of_the_whole_crop_with_the_trust_of_the_mix() -> None:
    task = noted(HALF, 1)
    image, label, weight = task.given
    shown = task.preview
    assert torch.equal(image, shown.target)
    assert torch.equal(label, shown.pseudo_label)
    trust = float((shown.confidence >= 0.3).float().mean())
    assert 0 < trust < 1
    assert (weight[:, :-1] == trust).all()
    assert (weight[:, -1] == 0).all()


@pytest.mark.parametrize("masking", [HALF, NOTHING])
def test_its_loss_by_hand(masking: BlockMask) -> None:
    """A strong view of its own, 0 in what is left out; the mean over all pixels, weighted."""
    task = sepico(masking=masking).eval()
    dice = torch.Generator().manual_seed(1)
    image = torch.randn(2, 3, 16, 16, generator=dice)
    label = torch.randint(0, 4, (2, 16, 16), generator=dice)
    weight = torch.rand(2, 16, 16, generator=dice)
    chance = Chance(0)
    for step in range(8):
        chance.start(step, rank=0, ranks=1)
        with chance.apart(HOST) as other:
            view = STRONG(image, STRONG.draw(other), other)
            numbers = other.block_numbers(2, 4, 4)
        kept = (numbers > masking.ratio).repeat_interleave(4, 1).repeat_interleave(4, 2)
        logits = task.student(torch.where(kept[:, None], view, torch.zeros(())))
        expected = (F.cross_entropy(logits, label, reduction="none") * weight).sum() / 512
        task.chance.start(step, rank=0, ranks=1)
        found = task.masked_loss(masking, image, label, weight)
        torch.testing.assert_close(found, expected)
        assert bool(kept.all()) == (masking is NOTHING)


def test_its_control_sees_the_same_strong_view() -> None:
    image = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    views = []
    for masking in (HALF, NOTHING):
        chance = Chance(0)
        strong = STRONG(image, STRONG.draw(chance), chance)
        views.append(masking(strong, chance))
    masked, whole = views
    assert torch.equal(masked, whole.where(masked != 0, 0.0))
    assert not torch.equal(masked, whole)


def test_what_is_masked_shapes_the_weights() -> None:
    tasks = [noted(masking, 2) for masking in (None, NOTHING, HALF, HALF)]
    alone, control, masked, again = (weights(task.student) for task in tasks)
    assert same(masked, again)
    assert not same(alone, control)
    assert not same(control, masked)
