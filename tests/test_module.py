"""The training step on a network small enough to count bytes by hand."""

import weakref
from collections.abc import Callable, Iterator

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.data import DataLoader

from sepico_pl.adapt.pseudo_labels import IgnoredRows, teacher_vote
from sepico_pl.augment.appearance import StrongAugmentation
from sepico_pl.augment.balanced_crop import ClassBalancedCrop
from sepico_pl.augment.chance import Chance
from sepico_pl.contrast.modes import (
    BankContrast,
    DistributionContrast,
    MultiStageContrast,
    PrototypeContrast,
)
from sepico_pl.model.heads import LightHead, ProjectionHead
from sepico_pl.model.segmentor import Segmentor
from sepico_pl.module import SePiCo, SourceOnly, pixel_cross_entropy
from sepico_pl.optim import AdamWPoly

CLASSES = 4
MODES = {"prototype": PrototypeContrast, "bank": BankContrast, "distribution": DistributionContrast}
STRONG = StrongAugmentation(
    jitter_probability=0.8, jitter_strength=0.2, blur_probability=0.5, blur_sigma=(0.15, 1.15)
)


class TinyEncoder(nn.Module):
    """Two strided convolutions with batch norm and dropout."""

    channels = (8, 16)

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.coarse = nn.Sequential(
            nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Dropout(0.1)
        )

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        fine = self.fine(image)
        return [fine, self.coarse(fine)]


def student(*, projected: bool = True) -> Segmentor:
    torch.manual_seed(0)
    encoder = TinyEncoder()
    channels = encoder.channels
    head = LightHead(channels=channels, num_classes=CLASSES, width=8, dropout=0.1, norm="batch")
    projection = ProjectionHead(channels=channels, width=8, depth=2, stages="last", norm="batch")
    return Segmentor(encoder, head, projection if projected else None)


def parts(network: Segmentor, seed: int = 0) -> dict:
    optimizer = AdamWPoly(
        learning_rate=1e-2,
        head_factor=1.0,
        weight_decay=0.1,
        warmup_steps=1,
        warmup_start=0.5,
        power=1.0,
    )
    return {
        "student": network,
        "class_names": tuple("abcd"),
        "optimizer": optimizer,
        "batch_norm": "running",
        "strong": STRONG,
        "chance": Chance(seed),
    }


def sepico(mode: str | None = "distribution", *, start: int = 1, weight: float = 1.0) -> SePiCo:
    contrast = None
    if mode is not None:
        length = {"length": 3} if mode == "bank" else {}
        stage = MODES[mode](
            num_classes=CLASSES,
            width=8,
            temperature=0.1,
            weight=weight,
            diversity_weight=0.0,
            min_share=0.5,
            **length,
        )
        contrast = MultiStageContrast([stage])
    return SePiCo(
        **parts(student(projected=mode is not None)),
        contrast=contrast,
        vote=teacher_vote,
        crop=ClassBalancedCrop(size=(16, 16), tries=3, largest_share=0.75),
        ignored_rows=IgnoredRows(0, 1, 16),
        teacher_decay=0.9,
        confidence_threshold=0.3,
        contrast_start=start,
    )


def batches(count: int = 4) -> list[dict]:
    dice = torch.Generator().manual_seed(5)
    result = []
    for _ in range(count):
        label = torch.randint(0, CLASSES, (2, 4, 4), generator=dice)
        label = label.repeat_interleave(4, 1).repeat_interleave(4, 2)
        source = {"image": torch.randn(2, 3, 16, 16, generator=dice), "label": label}
        target = {"image": torch.randn(2, 3, 16, 32, generator=dice)}
        result.append({"source": source, "target": target})
    return result


def fit(task: pl.LightningModule, data: list[dict]) -> pl.Trainer:
    torch.manual_seed(7)
    trainer = pl.Trainer(
        max_steps=len(data),
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, DataLoader(data, batch_size=None))
    return trainer


def weights(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


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


class Gauge:
    """Bytes of tensors saved for backward that are alive, and their peak."""

    def __init__(self) -> None:
        self.alive, self.peak = 0, 0

    def pack(self, tensor: torch.Tensor) -> "Saved":
        saved = Saved(tensor)
        size = tensor.numel() * tensor.element_size()
        self.alive += size
        self.peak = max(self.peak, self.alive)
        weakref.finalize(saved, self.release, size)
        return saved

    def release(self, size: int) -> None:
        self.alive -= size


class Saved:
    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


def peak_of(run: Callable[[Gauge], None]) -> int:
    gauge = Gauge()
    with saved_tensors_hooks(gauge.pack, lambda saved: saved.tensor):
        run(gauge)
    return gauge.peak


def test_one_graph_is_alive_at_a_time() -> None:
    largest: list[int] = []

    def one_by_one(gauge: Gauge) -> None:
        for _, loss in sepico(start=0).train().losses(batches(1)[0]):
            largest.append(gauge.alive)
            loss.backward()
            del loss

    def all_at_once(gauge: Gauge) -> None:
        sum(loss for _, loss in sepico(start=0).train().losses(batches(1)[0])).backward()

    peak = peak_of(one_by_one)
    assert len(largest) == 3
    assert peak < 1.4 * max(largest)
    assert peak_of(all_at_once) > 1.4 * max(largest)
