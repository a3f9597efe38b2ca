import numpy as np
import pytest
import torch
from timm.layers import DropPath
from torch import nn

from sepico_pl.adapt.teacher import Teacher, ema_decay
from sepico_pl.types import InputError


class FunctionalDropout(nn.Module):
    """Drops by looking at its own mode, as timm's attention does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(x, 0.5, self.training)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    deep = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Sequential(nn.Dropout2d(0.5), FunctionalDropout()))
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), deep, nn.Dropout(0.5))


def shift(student: nn.Module, amount: float) -> None:
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(amount)


def test_schedule_is_the_official_one(golden) -> None:
    record = golden("g_h_misc.npz")
    ours = [ema_decay(int(step), 0.999) for step in record["ema_iters"]]
    np.testing.assert_allclose(ours, record["ema_alpha"], atol=1e-12)


def test_follows_a_hand_computed_average() -> None:
    student = network()
    teacher = Teacher(student, decay=0.6)
    shift(student, 1.0)
    teacher.follow(student, 0)
    first = [p.detach().clone() for p in student.parameters()]
    for ours, theirs in zip(teacher.network.parameters(), first, strict=True):
        assert torch.equal(ours, theirs)
    # Steps 1, 2, 3 keep 1/2, 0.6 (limit; 2/3 without it) and 0.6.
    expected, place = 0.0, 0.0
    for step, keep in ((1, 0.5), (2, 0.6), (3, 0.6)):
        shift(student, 2.0)
        place += 2.0
        teacher.follow(student, step)
        expected = keep * expected + (1 - keep) * place
    for ours, start in zip(teacher.network.parameters(), first, strict=True):
        torch.testing.assert_close(ours, start + expected)
        assert not ours.requires_grad
    own = next(teacher.network.parameters())
    assert not torch.equal(own, next(student.parameters()))


def test_buffers_come_from_its_own_passes() -> None:
    student = network().train()
    teacher = Teacher(student, decay=0.9)
    teacher.train()
    student(torch.randn(4, 3, 8, 8))
    teacher.follow(student, 1)
    assert teacher.network[1].num_batches_tracked == 0
    teacher(torch.randn(4, 3, 8, 8))
    assert teacher.network[1].num_batches_tracked == 1
    assert not torch.equal(teacher.network[1].running_mean, student[1].running_mean)


def test_dropout_is_off_at_any_depth_while_batch_norm_uses_the_batch() -> None:
    holder = nn.Module()
    holder.teacher = Teacher(network(), decay=0.9)
    holder.train()
    image = torch.randn(4, 3, 8, 8)
    first, second = (holder.teacher(image) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first[0], holder.teacher(image[:1])[0])
    holder.eval()
    torch.testing.assert_close(holder.teacher(image)[0], holder.teacher(image[:1])[0])


def test_student_would_drop() -> None:
    """The same network in its own train mode is random: the test above can fail."""
    student, image = network().train(), torch.randn(4, 3, 8, 8)
    assert not torch.equal(student(image), student(image))


def test_probabilities_in_float32() -> None:
    teacher = Teacher(network().bfloat16(), decay=0.9)
    probabilities = teacher(torch.randn(2, 3, 8, 8).bfloat16())
    assert probabilities.dtype == torch.float32
    assert probabilities.sum(dim=1).min().item() == pytest.approx(1.0)


class DroppingNorm(nn.BatchNorm2d):
    """Batch norm with a dropout of its own below it, as timm's BatchNormAct2d may have."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.drop(super().forward(x))


@pytest.mark.parametrize(
    "layer", [DroppingNorm(3), DropPath(0.5), nn.Sequential(nn.Identity(), nn.AlphaDropout(0.5))]
)
def test_nothing_drops_not_even_before_train_is_called(layer: nn.Module) -> None:
    """Lightning never calls train() on a module it finds: the modes of the constructor stay."""
    teacher, image = Teacher(layer.train(), decay=0.9), torch.randn(16, 3, 4, 4)
    assert teacher.training
    assert torch.equal(teacher(image), teacher(image))
    assert torch.equal(teacher.train()(image), teacher(image))
    torch.manual_seed(0)
    assert not torch.equal(layer(image), layer(image))


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_decay_must_be_a_share(decay: float) -> None:
    with pytest.raises(InputError, match=r"adapt\.teacher_decay"):
        Teacher(network(), decay)


def test_no_pass_of_the_teacher_has_a_graph() -> None:
    """Not even to an image that has one."""

    class Embedding(nn.Module):
        def encode(self, image: torch.Tensor) -> list[torch.Tensor]:
            return [image]

        def embed(self, stages: list[torch.Tensor]) -> list[torch.Tensor]:
            return [2 * stage for stage in stages]

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image

    teacher, image = Teacher(Embedding(), decay=0.9), torch.randn(2, 3, 8, 8, requires_grad=True)
    assert not teacher(image).requires_grad
    assert not teacher.embed(image)[0].requires_grad


def test_a_teacher_without_memory_is_the_student() -> None:
    student = network()
    teacher = Teacher(student, decay=0.0)
    shift(student, 1.0)
    teacher.follow(student, 5)
    for own, theirs in zip(teacher.network.parameters(), student.parameters(), strict=True):
        assert torch.equal(own, theirs)
