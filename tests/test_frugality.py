"""What a step must not cost: memory that grows with the classes, waits for the device, forwards."""

import pytest
import pytorch_lightning as pl
import torch
from bench_contrast import (
    ExpandedMoments,
    contrasts,
    gradient_of,
    looped_bank,
    mean_loss,
    unit_pixels,
)
from measuring import LiveBytes, peak_bytes
from pytorch_lightning.plugins import MixedPrecision
from tiny_sepico import batches, fit, sepico
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from sepico_pl.augment.balanced_crop import ClassBalancedCrop
from sepico_pl.augment.chance import Chance
from sepico_pl.contrast.modes import PIECE
from sepico_pl.contrast.pixels import downscale_labels
from sepico_pl.contrast.statistics import ClassBank, ClassMoments


def test_live_bytes_are_counted_by_hand() -> None:
    with LiveBytes() as live:
        one = torch.zeros(1000)  # 4 kB
        two = one + 1  # 8 kB
        view = two[10:]
        del one, two  # the view keeps its 4 kB
        assert live.now == 4000
        view.add_(1)
        big = torch.cat([view, view])
        del big
    assert live.peak == 4000 + 2 * 990 * 4


def test_statistics_take_a_tenth_of_the_expansion_whatever_the_number_of_classes() -> None:
    taken = {}
    for num_classes in (19, 150):
        embeddings, labels = unit_pixels(4000, 32, num_classes, "cpu")
        ours, expanded = ClassMoments(num_classes, 32), ExpandedMoments(num_classes, 32)
        taken[num_classes] = peak_bytes(lambda m=ours, q=embeddings, y=labels: m.update(q, y))
        whole = peak_bytes(lambda m=expanded, q=embeddings, y=labels: m.update(q, y))
        assert taken[num_classes] < whole / 10
        torch.testing.assert_close(ours.mean, expanded.mean, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(ours.variance, expanded.variance, rtol=1e-3, atol=1e-6)
    tables = 131 * 32 * 8  # what one (C, D) table of float64 is larger by
    assert taken[150] - taken[19] <= 8 * tables


def test_updates_of_many_pixels_take_no_more_than_those_of_few() -> None:
    moments = ClassMoments(19, 32)
    taken = []
    for count in (4_000, 200_000):
        embeddings, labels = unit_pixels(count, 32, 19, "cpu")
        taken.append(peak_bytes(lambda q=embeddings, y=labels: moments.update(q, y)))
    assert taken[1] <= taken[0] + 200_000 * 8  # a one for each label


@pytest.mark.parametrize("name", ["prototype", "distribution", "bank"])
def test_losses_in_pieces_are_those_of_all_pixels_at_once(name: str) -> None:
    mode = contrasts(19, 5, "cpu")[name]
    embeddings, labels = unit_pixels(PIECE + 100, 512, 19, "cpu")
    whole = gradient_of(lambda q: mode.pixel_losses(q, labels).mean(), embeddings)()
    torch.testing.assert_close(gradient_of(mean_loss(mode, labels), embeddings)(), whole)


def test_the_bank_agrees_with_each_pixel_times_each_entry_of_each_bank() -> None:
    bank = contrasts(19, 7, "cpu")["bank"]
    embeddings, labels = unit_pixels(300, 512, 19, "cpu")
    loops = gradient_of(lambda q: looped_bank(q, labels, list(bank.bank.entries), 0.1), embeddings)
    ours = gradient_of(mean_loss(bank, labels), embeddings)
    torch.testing.assert_close(ours(), loops(), rtol=1e-4, atol=1e-8)


def test_crop_labels_and_statistics_read_no_value_on_the_host() -> None:
    """A fake tensor has no values: whatever would have to read one fails."""
    crop = ClassBalancedCrop(size=(8, 8), tries=3, largest_share=0.75)
    corners = Chance(0).crop_corners(2, 3, (8, 24))
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        labels = torch.zeros(2, 16, 32, dtype=torch.int64)
        with pytest.raises(DataDependentOutputException):
            labels.sum().item()
        chance = Chance(0)
        chance.crop_corners = lambda *_: mode.from_tensor(corners)
        where = crop.choose(labels, 4, chance)
        assert crop(torch.zeros(2, 3, 16, 32), where).shape == (2, 3, 8, 8)
        assert downscale_labels(labels, 4, 4, 0.75).shape == (2, 4, 8)
        for statistics in (ClassMoments(4, 6), ClassBank(4, 6, 3)):
            statistics.update(torch.zeros(20, 6), torch.zeros(20, dtype=torch.int64))


@pytest.mark.parametrize(("width", "forwards"), [(32, 2), (16, 1)])
def test_the_teacher_is_asked_once_where_the_crop_is_the_whole_image(
    width: int, forwards: int
) -> None:
    task, asked = sepico(), []
    task.teacher.register_forward_hook(lambda *_: asked.append(1))
    data = batches(1)
    data[0]["target"]["image"] = data[0]["target"]["image"][..., :width]
    fit(task, data)
    assert len(asked) == forwards


class Noting:
    """Keeps what a task notes."""

    def __init__(self, task: pl.LightningModule) -> None:
        self.values = []
        task.logs_this_step = lambda: True
        task.note = lambda name, value: self.values.append((name, value))

    @property
    def norms(self) -> list[float]:
        return [float(value) for name, value in self.values if name == "train/gradient_norm"]


def test_the_gradient_norm_is_unscaled_where_the_fused_optimizer_unscales() -> None:
    plain, scaled = sepico(None), sepico(None)
    noted = Noting(plain), Noting(scaled)
    fit(plain, batches(2))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    fit(scaled, batches(2), plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
    assert noted[1].norms == pytest.approx(noted[0].norms, rel=0.05)


def test_bfloat16_stays_within_two_percent_in_a_step_and_five_in_two() -> None:
    found = []
    for precision in ("32-true", "bf16-mixed"):
        task, losses = sepico(start=0), []
        task.log = lambda name, value, losses=losses, **_: losses.append(float(value))
        fit(task, batches(2), precision=precision)
        found.append(losses)
        assert task.contrast.stages[0].moments.mean.dtype == torch.float64
    assert len(found[0]) == 10
    assert found[1][:5] == pytest.approx(found[0][:5], rel=0.02)
    assert found[1] == pytest.approx(found[0], rel=0.05)
