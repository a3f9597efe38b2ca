"""What a run's steps are taken with: schedule, teacher and trust in the run, not alone."""

import pytest
import pytorch_lightning as pl
import torch
from tiny_sepico import batches, fit, sepico

from sepico_pl.module import SePiCo
from sepico_pl.task import pixel_cross_entropy


class Rates(pl.Callback):
    """Reads, before each optimizer step, the learning rates it is taken with."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        (rate,) = {group["lr"] for group in optimizer.param_groups}
        self.seen.append(rate)


def test_each_step_of_a_run_is_taken_with_the_schedules_rate() -> None:
    """Warm-up from a half in one step, times what is left of the run; nothing left at its end."""
    rates = Rates()
    trainer = fit(sepico(), batches(4), callbacks=[rates])
    assert rates.seen == pytest.approx([0.01 * 0.5, 0.01 * 0.75, 0.01 * 0.5, 0.01 * 0.25])
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0


def test_the_teacher_follows_each_step_of_a_run() -> None:
    """Before each step, by 1, 1/2, 1/3 and 1/4 of the way to the student; the limit is 0.9."""
    task = sepico()
    places: list[list[torch.Tensor]] = []

    class Places(pl.Callback):
        def on_train_batch_start(self, *_: object) -> None:
            places.append([p.detach().clone() for p in task.student.parameters()])

    fit(task, batches(4), callbacks=[Places()])
    for own, *seen in zip(task.teacher.network.parameters(), *places, strict=True):
        torch.testing.assert_close(own, torch.stack(seen).mean(dim=0))


class Weighed(SePiCo):
    """Notes what weighs the mixed pixels, and which target pixels are contrasted."""

    weight: torch.Tensor
    contrasted_label: torch.Tensor

    def cross_entropy(self, logits, label, weight=None) -> torch.Tensor:
        self.weight = self.weight if weight is None else weight
        return super().cross_entropy(logits, label, weight)

    def target_loss(self, image, label) -> torch.Tensor:
        self.contrasted_label = label
        return super().target_loss(image, label)


def test_a_run_trusts_its_labels_by_their_share_and_its_last_row_never() -> None:
    task = sepico(start=0)
    task.__class__ = Weighed
    fit(task, batches(1))
    shown = task.preview
    assert shown is not None
    trust = float((shown.confidence >= 0.3).float().mean())
    assert 0 < trust < 1
    assert (task.weight[shown.mixed_label != shown.pseudo_label] == 1).all()
    assert set(task.weight[:, :-1].unique().tolist()) == {trust, 1.0}
    assert set(task.weight[:, -1].unique().tolist()) == {0.0, 1.0}
    assert (task.contrasted_label[:, -1] == 255).all()
    assert torch.equal(task.contrasted_label[:, :-1], shown.pseudo_label[:, :-1])


@pytest.mark.parametrize("mode", [None, "distribution"])
def test_the_source_loss_is_cross_entropy_until_the_contrast_counts(mode: str | None) -> None:
    task = sepico(mode, start=1).eval()
    image, label = batches(1)[0]["source"].values()
    expected = pixel_cross_entropy(task.student(image), label)
    torch.testing.assert_close(task.source_loss(image, label), expected)


@pytest.mark.parametrize("policy", ["running", "target"])
def test_only_the_target_policy_evaluates_with_the_targets_statistics(policy: str) -> None:
    task = sepico()
    task.batch_norm = policy
    norm = task.student.encoder.fine[1]
    own = norm.running_mean.clone()
    with task.judge(task.student, [torch.rand(2, 3, 32, 64) + 5]):
        assert torch.equal(norm.running_mean, own) == (policy == "running")
    assert torch.equal(norm.running_mean, own)
