"""The algorithms: what each step learns from, and what it leaves alone."""

import itertools
from collections.abc import Iterator

import pytest
import pytorch_lightning as pl
import torch
from tiny_sepico import CLASSES, MODES, batches, fit, parts, same, sepico, student, weights

from sepico_pl.adapt.class_weights import log_frequency_weights
from sepico_pl.adapt.pseudo_labels import DayNightVote
from sepico_pl.augment.appearance import StrongAugmentation
from sepico_pl.augment.chance import Chance
from sepico_pl.augment.class_mix import classes_present
from sepico_pl.module import SePiCo, SourceOnly
from sepico_pl.task import pixel_cross_entropy
from sepico_pl.types import InputError


class Watched(SePiCo):
    """Notes the losses of each step and the projection's weights after it."""

    noted: list[list[str]]

    def losses(self, batch: dict) -> Iterator[tuple[str, torch.Tensor]]:
        names: list[str] = []
        self.noted.append(names)
        for name, loss in super().losses(batch):
            names.append(name)
            assert torch.isfinite(loss)
            yield name, loss


def test_the_target_is_contrasted_from_its_start_on() -> None:
    task = sepico(start=2)
    task.__class__, task.noted = Watched, []
    before = weights(task.student.projection)
    fit(task, batches(2))
    after = {n: p.clone() for n, p in task.student.projection.named_parameters()}
    assert same(after, {n: before[n] for n in after}), "moved before the contrast counted"
    assert task.noted == [["mixed", "source"]] * 2
    task = sepico(start=2)
    task.__class__, task.noted = Watched, []
    fit(task, batches(4))
    assert task.noted == [["mixed", "source"]] * 2 + [["mixed", "target", "source"]] * 2
    assert not same({n: before[n] for n in after}, weights(task.student.projection))


def test_statistics_grow_from_the_first_step() -> None:
    task = sepico(start=100)
    fit(task, batches(3))
    moments = task.contrast.stages[0].moments
    assert moments.count.sum() == 3 * 2 * 4 * 4
    torch.testing.assert_close(moments.mean.norm(dim=1) <= 1, torch.ones(CLASSES).bool())


def test_teacher_is_trained_by_nobody_and_follows() -> None:
    task = sepico()
    trainer = fit(task, batches())
    optimized = {id(p) for g in trainer.optimizers[0].param_groups for p in g["params"]}
    assert optimized == {id(p) for p in task.student.parameters()}
    for own, theirs in zip(
        task.teacher.network.parameters(), task.student.parameters(), strict=True
    ):
        assert own.grad is None
        assert not own.requires_grad
        assert not torch.equal(own, theirs)
    assert any(key.startswith("teacher.network.") for key in task.state_dict())


@pytest.mark.parametrize("mode", list(MODES))
def test_weight_zero_is_one_control_for_every_contrast(mode: str) -> None:
    control, other = (sepico(m, weight=0.0) for m in ("distribution", mode))
    fit(control, batches())
    fit(other, batches())
    assert same(weights(control.student), weights(other.student))
    contrasted = sepico(mode)
    fit(contrasted, batches())
    assert not same(weights(control.student), weights(contrasted.student))


def test_the_same_seed_gives_the_same_weights() -> None:
    runs = [sepico() for _ in range(2)]
    for run in runs:
        fit(run, batches())
    assert same(weights(runs[0]), weights(runs[1]))


def test_self_training_runs_without_projection() -> None:
    task = sepico(None)
    fit(task, batches())
    assert not any("projection" in key for key in task.state_dict())


def test_source_only_never_looks_at_the_target() -> None:
    task = SourceOnly(**parts(student(projected=False)))
    data = batches()
    for batch in data:
        batch["target"]["image"] *= float("nan")
    fit(task, data)
    assert all(torch.isfinite(p).all() for p in task.student.parameters())


def test_no_target_label_reaches_the_method() -> None:
    """A batch holds none, and the method makes none of its own."""
    for batch in batches():
        assert set(batch["target"]) == {"image"}
    task = sepico()
    fit(task, batches())
    assert "label" not in task.crop_target(batches(1)[0]["target"])


def test_a_branch_that_no_pixel_reached_does_not_decay() -> None:
    """Labels in blocks of 2 pixels name every cell of the fine map, and none of the coarse one."""
    task = sepico(start=0, stages="layerwise")
    task.confidence_threshold = 2.0  # no target pixel counts
    data = batches()
    blocks = torch.arange(CLASSES).reshape(2, 2).repeat(4, 4)
    label = blocks.repeat_interleave(2, 0).repeat_interleave(2, 1)
    for batch in data:
        batch["source"]["label"] = label.repeat(2, 1, 1)
    before = weights(task.student.projection)
    fit(task, data)
    assert task.contrast.pixels() == [2 * 8 * 8, 0]
    after = dict(task.student.projection.named_parameters())
    moved = {name.split(".")[1] for name in after if not torch.equal(after[name], before[name])}
    assert moved == {"0"}


def test_labels_that_are_all_ignored_leave_finite_weights() -> None:
    task = sepico(start=0)
    data = batches()
    for batch in data:
        batch["source"]["label"].fill_(255)
    fit(task, data)
    assert all(torch.isfinite(p).all() for p in task.student.parameters())


def test_cross_entropy_counts_ignored_pixels() -> None:
    logits = torch.tensor([[[[2.0, 0.0]], [[0.0, 0.0]]]])
    label = torch.tensor([[[0, 255]]])
    one = torch.log(torch.tensor(1 + torch.exp(torch.tensor(-2.0)).item()))
    torch.testing.assert_close(pixel_cross_entropy(logits, label), one / 2)
    weight = torch.tensor([[[0.5, 1.0]]])
    torch.testing.assert_close(pixel_cross_entropy(logits, label, weight), one / 4)


def test_another_seed_gives_other_weights() -> None:
    one, other = sepico(), sepico()
    other.chance = Chance(1)
    fit(one, batches())
    fit(other, batches())
    assert not same(weights(one.student), weights(other.student))


def test_half_of_the_classes_of_the_whole_batch_are_pasted() -> None:
    label = torch.full((2, 4, 4), 255)
    label[0, :, :2], label[1, 0] = 1, 3
    mask = sepico().pasted(label, classes_present(label))
    for one, marked in zip(label, mask, strict=True):
        inside, outside = set(one[marked].tolist()), set(one[~marked].tolist())
        assert not inside & outside
        # Of 1, 3 and 255 two are drawn; an image may hold one of them.
        assert 1 <= len(inside) <= 2


def test_night_is_the_same_algorithm_with_another_vote() -> None:
    """Day and night are cropped alike; the weights reach vote and cross-entropy."""
    seen = []

    class WatchedVote(DayNightVote):
        def __call__(self, teacher, target):
            seen.append({name: value.clone() for name, value in target.items()})
            return super().__call__(teacher, target)

    weights = log_frequency_weights(0.05)
    task = sepico(classes=19, class_weights=weights)
    task.vote = WatchedVote(day_share=0.8, confident=0.4, class_weights=weights)
    night = batches()
    for batch in night:
        batch["target"]["reference"] = batch["target"]["image"] + 100
    fit(task, night)
    assert len(seen) == 2 * len(night)
    for target in seen:
        torch.testing.assert_close(target["reference"], target["image"] + 100)
    assert {tuple(target["image"].shape[-2:]) for target in seen} == {(16, 32), (16, 16)}
    assert "class_weights" not in task.state_dict()


def test_class_weights_multiply_each_pixels_loss() -> None:
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    label = torch.randint(0, 3, (2, 4, 5), generator=torch.Generator().manual_seed(1))
    label[0, 0] = 255
    weights = torch.tensor([0.5, 1.0, 2.0])
    probability = logits.log_softmax(1)
    loss = 0.0
    for image, row, column in itertools.product(range(2), range(4), range(5)):
        c = int(label[image, row, column])
        if c != 255:
            loss -= float(weights[c] * probability[image, c, row, column])
    found = pixel_cross_entropy(logits, label, class_weights=weights)
    assert float(found) == pytest.approx(loss / label.numel(), rel=1e-5)


def test_class_weights_of_other_classes_are_refused() -> None:
    task = sepico(class_weights=torch.ones(19))
    with pytest.raises(InputError, match="19 weights for 4 classes"):
        fit(task, batches(1))


class Disturbance(pl.Callback):
    """Draws from every generator before each training step."""

    def on_train_batch_start(self, trainer, pl_module, *_: object) -> None:
        torch.rand(3)
        pl_module.chance.happens(0.5)


@pytest.mark.parametrize("method", ["sepico", "source_only"])
def test_a_steps_decisions_depend_on_its_number_alone(method: str) -> None:
    one, other = (
        sepico() if method == "sepico" else SourceOnly(**parts(student(projected=False)))
        for _ in range(2)
    )
    fit(one, batches())
    fit(other, batches(), callbacks=[Disturbance()])
    assert same(weights(one.student), weights(other.student))


def test_source_only_learns_from_strong_views() -> None:
    """Its loss on a view that is jittered and blurred, by its own decisions."""
    task = SourceOnly(**parts(student(projected=False))).eval()
    task.strong = StrongAugmentation(
        jitter_probability=1.0, jitter_strength=0.4, blur_probability=1.0, blur_sigma=(1.0, 1.15)
    )
    source = batches(1)[0]["source"]
    ((name, loss),) = task.losses(batches(1)[0])
    chance = Chance(0)
    chance.start(0, rank=0, ranks=1)
    view = task.strong(source["image"], task.strong.draw(chance), chance)
    assert name == "source"
    assert not torch.allclose(view, source["image"], atol=0.1)
    torch.testing.assert_close(loss, pixel_cross_entropy(task.student(view), source["label"]))
