"""The training step: one graph alive at a time; judging and precision around it."""

import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from tiny_sepico import MODES, Data, batches, fit, same, sepico, weights
from torch.autograd.graph import saved_tensors_hooks

from sepico_pl.adapt.batch_norm import batch_norm_policy
from sepico_pl.callbacks import Throughput
from sepico_pl.loggers import CSVMetrics
from sepico_pl.module import SePiCo
from sepico_pl.optim import GradientClip
from sepico_pl.tables import read_rows
from sepico_pl.types import InputError


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


class Gauged(SePiCo):
    """Notes the bytes that each loss's graph holds while it is alone."""

    gauge: Gauge
    largest: int

    def losses(self, batch: dict) -> Iterator[tuple[str, torch.Tensor]]:
        before = self.gauge.alive
        for name, loss in super().losses(batch):
            self.largest = max(self.largest, self.gauge.alive - before)
            yield name, loss
            del loss
            assert self.gauge.alive == before, f"the graph of {name} outlives its backward pass"


def test_the_training_step_holds_one_graph_at_a_time() -> None:
    task = sepico(start=0)
    task.__class__, task.largest = Gauged, 0

    def train(gauge: Gauge) -> None:
        task.gauge = gauge
        fit(task, batches(2))

    peak = peak_of(train)
    assert 0 < task.largest <= peak < 1.4 * task.largest


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


class Modes(pl.Callback):
    """Notes, before each training step, which layers of the teacher are in train mode."""

    def __init__(self) -> None:
        self.training: list[set[str]] = []

    def on_train_batch_start(self, trainer: pl.Trainer, task: SePiCo, *_: object) -> None:
        modules = task.teacher.network.modules()
        self.training.append({type(module).__name__ for module in modules if module.training})


@pytest.mark.parametrize("of", ["norm", "value"])
def test_gradients_are_clipped_in_the_step_and_logged_as_they_were(tmp_path: Path, of: str) -> None:
    bound = 1e-3
    task, free = sepico(), sepico()
    task.gradient_clip = GradientClip(bound, of)
    log = CSVMetrics(save_dir=str(tmp_path))
    fit(task, batches(1), logger=log, log_every_n_steps=1)
    fit(free, batches(1))
    clipped, gradients = (
        torch.cat([p.grad.flatten() for p in one.student.parameters() if p.grad is not None])
        for one in (task, free)
    )
    logged = float(next(iter(read_rows(tmp_path / "metrics.csv").values()))["train/gradient_norm"])
    assert logged == pytest.approx(float(gradients.norm()), rel=1e-4)
    if of == "norm":
        torch.testing.assert_close(clipped, gradients * bound / gradients.norm(), rtol=1e-3, atol=0)
    else:
        torch.testing.assert_close(clipped, gradients.clamp(-bound, bound), rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("batch_norm", ["running", "target"])
def test_judging_leaves_training_as_it_was(batch_norm: str) -> None:
    plain, judged = sepico(), sepico()
    plain.batch_norm = judged.batch_norm = batch_norm
    fit(plain, batches())
    modes = Modes()
    trainer = fit(judged, Data(), val_check_interval=1, callbacks=[modes])
    assert same(weights(plain), weights(judged))
    assert modes.training == [{"BatchNorm2d"}] * 4
    assert {"val/target/mIoU", "val/source/mIoU"} <= trainer.callback_metrics.keys()
    assert 0 <= trainer.callback_metrics["val/target/mIoU"] <= 100
    assert {name for name in trainer.progress_bar_metrics if "val" in name} == {"val/target/mIoU"}
    # One pixel column per class: all four occur in the truth.
    assert {f"val/source/IoU/{name}" for name in "abcd"} <= trainer.callback_metrics.keys()


@pytest.mark.parametrize("mode", list(MODES))
def test_mixed_precision_trains_with_statistics_in_float64(mode: str) -> None:
    task = sepico(mode)
    fit(task, batches(), precision="bf16-mixed")
    assert all(torch.isfinite(p).all() for p in task.student.parameters())
    full = sepico(mode)
    fit(full, batches())
    ours, theirs = (t.contrast.stages[0].moments for t in (task, full))
    assert ours.mean.dtype == torch.float64
    assert torch.equal(ours.count, theirs.count)
    # bfloat16 keeps 8 bits of the network's activations, and the weights drift apart with them.
    torch.testing.assert_close(ours.mean, theirs.mean, rtol=0, atol=0.05)


def test_logged_values_are_the_yielded_losses(tmp_path: Path) -> None:
    task = sepico(start=0)
    log = CSVMetrics(save_dir=str(tmp_path))
    trainer = fit(task, batches(1), logger=log, log_every_n_steps=1)
    logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert {"train/mixed", "train/target", "train/source"} <= logged.keys()
    assert trainer.progress_bar_metrics.keys() == {"train/mixed", "train/target", "train/source"}
    assert logged["train/target"] == pytest.approx(logged["train/target_contrast"])
    assert logged["train/source"] > logged["train/source_contrast"] > 0
    (row,) = read_rows(tmp_path / "metrics.csv").values()
    assert -2 <= float(row["train/source_margin"]) <= 2


def test_a_margin_is_logged_only_where_a_pixel_counts(tmp_path: Path) -> None:
    """A value of an earlier step is not repeated: a resumed run would not know it."""
    task = sepico(start=0)
    blank = batches(2)
    blank[1]["source"]["label"].fill_(255)
    log = CSVMetrics(save_dir=str(tmp_path))
    fit(task, blank, logger=log, log_every_n_steps=1)
    first, second = read_rows(tmp_path / "metrics.csv").values()
    assert "train/source_margin" in first
    assert "train/source_margin" not in second
    assert "train/source_contrast" in second


class Norms(pl.Callback):
    """Notes the norm of all gradients of each step, in another way than the log does."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        gradients = [p.grad.flatten() for p in pl_module.student.parameters() if p.grad is not None]
        self.seen.append(float(torch.cat(gradients).double().pow(2).sum() ** 0.5))


def test_what_is_noted_of_a_step_is_what_happened(tmp_path: Path) -> None:
    task, norms = sepico(start=0), Norms()
    log = CSVMetrics(save_dir=str(tmp_path))
    fit(task, batches(2), logger=log, log_every_n_steps=1, callbacks=[norms])
    rows = list(read_rows(tmp_path / "metrics.csv").values())
    noted = [float(row["train/gradient_norm"]) for row in rows]
    assert noted == pytest.approx(norms.seen, rel=1e-5)
    assert task.preview is not None
    confidence = task.preview.confidence
    assert float(rows[1]["train/confidence"]) == pytest.approx(float(confidence.mean()))
    trusted = (confidence >= task.confidence_threshold).float().mean()
    assert float(rows[1]["train/coverage"]) == pytest.approx(float(trusted))


def test_the_contrasts_gradient_scales_with_its_weight(tmp_path: Path) -> None:
    norms = {}
    for weight in (0.0, 1.0, 3.0):
        folder = tmp_path / str(weight)
        folder.mkdir()
        log = CSVMetrics(save_dir=str(folder))
        fit(sepico(start=0, weight=weight), batches(1), logger=log, log_every_n_steps=1)
        (row,) = read_rows(folder / "metrics.csv").values()
        norms[weight] = float(row["train/source_contrast_gradient"])
    assert norms[0.0] == 0 < norms[1.0]
    assert norms[3.0] == pytest.approx(3 * norms[1.0], rel=1e-5)


def test_judging_does_not_count_as_training_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By a clock that ticks once per step and a hundred times per judging."""
    now = 0.0

    class Ticks(pl.Callback):
        def on_train_batch_start(self, *_: object) -> None:
            nonlocal now
            now += 1

        def on_validation_batch_start(self, *_: object) -> None:
            nonlocal now
            now += 100

    monkeypatch.setattr("sepico_pl.callbacks.time", SimpleNamespace(monotonic=lambda: now))
    log = CSVMetrics(save_dir=str(tmp_path))
    callbacks = [Throughput(), Ticks()]
    fit(
        sepico(), Data(), logger=log, log_every_n_steps=2, val_check_interval=1, callbacks=callbacks
    )
    rows = read_rows(tmp_path / "metrics.csv").values()
    rates = [float(row["train/images_per_second"]) for row in rows if "train/mixed" in row]
    assert rates == [2.0, 2.0]  # two images per step, one tick per step


def test_a_policy_of_batch_norm_is_one_of_two() -> None:
    assert [batch_norm_policy(name, "key") for name in ("running", "target")] == [
        "running",
        "target",
    ]
    with pytest.raises(InputError, match=r"^adapt\.batch_norm=batch is unknown"):
        batch_norm_policy("batch", "adapt.batch_norm")


def test_what_is_noted_comes_with_the_steps_that_are_logged(tmp_path: Path) -> None:
    log = CSVMetrics(save_dir=str(tmp_path))
    fit(sepico(start=0), batches(4), logger=log, log_every_n_steps=2)
    rows = read_rows(tmp_path / "metrics.csv")
    assert {step for step, row in rows.items() if "train/source" in row} == {"1", "3"}
    for name in ("gradient_norm", "coverage", "target_margin", "source_contrast_gradient"):
        assert {step for step, row in rows.items() if f"train/{name}" in row} == {"1", "3"}


class OneSourceClass(Data):
    """Judges the source by an image of the first class alone, half of it unlabelled."""

    def val_dataloader(self) -> list:
        target, source = super().val_dataloader()
        label = torch.zeros(1, 32, 64, dtype=torch.int64)
        label[:, :16] = 255
        source.dataset[0] = {**source.dataset[0], "label": label}
        return [target, source]


def test_each_domain_has_a_matrix_of_its_own() -> None:
    task = sepico()
    fit(task, OneSourceClass(), val_check_interval=2)
    pixels = {domain: counts.sum(dim=1).tolist() for domain, counts in task.confusion.items()}
    assert pixels == {"target": [512] * 4, "source": [1024, 0, 0, 0]}


def test_scores_are_of_the_classes_that_occur_and_counting_begins_anew() -> None:
    task = sepico()
    task.class_subsets = {"mIoU2": (0, 1)}
    truth = torch.tensor([[0, 0, 0, 2, 255]])
    task.source_matrix.update(torch.tensor([[0, 0, 2, 2, 3]]), truth)
    (scores,) = task.scores(["source"]).values()
    expected = {"mIoU": 175 / 3, "mIoU2": 200 / 3, "IoU/a": 200 / 3, "IoU/c": 50}
    assert scores == pytest.approx(expected)
    task.source_matrix.update(torch.tensor([[1]]), torch.tensor([[1]]))
    assert task.scores(["source"])["source"]["IoU/b"] == 100
    assert task.confusion["source"].sum() == 1


def test_what_is_no_number_is_not_noted(tmp_path: Path) -> None:
    class Noting(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, *_: object) -> None:
            for name, value in (("inf", float("inf")), ("nan", float("nan")), ("one", 1.0)):
                pl_module.note(f"train/{name}", torch.tensor(value))
            pl_module.note("train/none", None)

    log = CSVMetrics(save_dir=str(tmp_path))
    fit(sepico(None), batches(1), logger=log, log_every_n_steps=1, callbacks=[Noting()])
    (row,) = read_rows(tmp_path / "metrics.csv").values()
    assert row["train/one"] == "1.0"
    assert not {"train/inf", "train/nan", "train/none"} & row.keys()
