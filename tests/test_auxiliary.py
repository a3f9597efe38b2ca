"""The contrast's control: cross-entropy at its cells, and nothing for the projection head."""

import math

import pytest
import torch
from tiny_sepico import CLASSES, batches, fit, same, sepico, weights

from sepico_pl.auxiliary import AuxiliaryCrossEntropy, cell_cross_entropy
from sepico_pl.task import pixel_cross_entropy

BLOCKS = torch.tensor([[0, 1, 2, 3], [3, 2, 255, 0], [1, 1, 255, 2], [0, 255, 3, 1]])
"""Labels of the 4x4 cells of the coarse embedding map; the fine one has 8x8."""


def auxiliary(**settings: object) -> AuxiliaryCrossEntropy:
    task = sepico(**{"start": 0, **settings})
    task.__class__ = AuxiliaryCrossEntropy
    return task


def example() -> tuple[torch.Tensor, torch.Tensor]:
    """Return images (2, 3, 16, 16), and labels whose cells have one class each."""
    image = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    cells = torch.stack([BLOCKS, BLOCKS.T])
    return image, cells.repeat_interleave(4, 1).repeat_interleave(4, 2)


def mean_by_hand(logits: torch.Tensor, cells: torch.Tensor) -> float:
    """Average -log softmax over the cells that are not 255, one by one; sizes agree."""
    losses = [
        -float(logits[image, :, row, column].log_softmax(0)[cells[image, row, column]])
        for image, row, column in (cells != 255).nonzero().tolist()
    ]
    return math.fsum(losses) / len(losses)


def test_cells_to_ignore_do_not_count() -> None:
    logits = torch.tensor([[[[2.0, 5.0]], [[0.0, 7.0]]]])
    found = cell_cross_entropy(logits, torch.tensor([[[0, 255]]]))
    assert float(found) == pytest.approx(math.log(1 + math.exp(-2)))


def test_logits_are_sampled_bilinearly() -> None:
    """In the middle of 2x2 logits of a class: 1 and 5 on average, against 0."""
    first = torch.tensor([[0.0, 2.0, 5.0, 5.0], [1.0, 1.0, 6.0, 4.0]])
    logits = torch.stack([first, torch.zeros(2, 4)])[None]
    found = cell_cross_entropy(logits, torch.tensor([[[0, 1]]]))
    expected = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(5))) / 2
    assert float(found) == pytest.approx(expected)


def test_without_a_cell_it_is_a_zero_that_keeps_the_graph() -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    found = cell_cross_entropy(logits, torch.full((1, 2, 2), 255))
    found.backward()
    assert float(found.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("stages", ["last", "layerwise"])
def test_the_losses_of_a_network_by_hand(stages: str) -> None:
    """The head's 8x8 logits at the fine map's cells; means of 2x2 of them at the coarse one's."""
    task = auxiliary(stages=stages, weight=0.5).eval()
    image, label = example()
    logits = task.student.head(task.student.encode(image)).detach()
    assert logits.shape == (2, CLASSES, 8, 8)
    means = logits.reshape(2, CLASSES, 4, 2, 4, 2).mean(dim=(3, 5))
    expected = 0.5 * mean_by_hand(means, label[:, ::4, ::4])
    if stages == "layerwise":
        expected += 0.5 * mean_by_hand(logits, label[:, ::2, ::2])
    assert float(task.target_loss(image, label).detach()) == pytest.approx(expected, rel=1e-5)
    plain = float(pixel_cross_entropy(task.student(image), label).detach())
    assert float(task.source_loss(image, label).detach()) == pytest.approx(
        plain + expected, rel=1e-5
    )


@pytest.mark.parametrize(("stages", "logits_per_cell"), [("last", 4), ("fused", 1)])
def test_it_takes_as_many_pixels_as_the_contrast(stages: str, logits_per_cell: int) -> None:
    """A logit that no cell takes has no gradient."""
    task = auxiliary(stages=stages).eval()
    image, label = example()
    dice = torch.Generator().manual_seed(4)
    label[:, 8:] = label[:, 8:].where(torch.rand(2, 8, 16, generator=dice) < 0.5, 255)
    task.contrast(task.student.embed(task.student.encode(image)), label)
    (selected,) = task.contrast.pixels()
    held = []
    task.student.head.register_forward_hook(lambda *passed: held.append(passed[-1]))
    loss = task.target_loss(image, label)
    (gradient,) = torch.autograd.grad(loss, held)
    cells = gradient.shape[-2] * gradient.shape[-1] // logits_per_cell
    assert len(image) * cells / 2 < selected < len(image) * cells
    assert int((gradient != 0).any(dim=1).sum()) == selected * logits_per_cell


def test_the_projection_head_learns_nothing_and_does_not_decay() -> None:
    task = auxiliary()
    before = weights(task.student.projection)
    fit(task, batches())
    parameters = dict(task.student.projection.named_parameters())
    assert all(parameter.grad is None for parameter in parameters.values())
    assert same(parameters, before)


def test_class_statistics_are_those_of_the_contrast() -> None:
    tasks = [sepico(start=0), auxiliary()]
    for task in tasks:
        fit(task, batches(1))
    contrasted, control = (weights(task.contrast) for task in tasks)
    assert int(contrasted["stages.0.moments.count"].sum()) == 2 * 4 * 4
    assert same(contrasted, control)
    norms = [weights(task.student.projection) for task in tasks]
    running = {name: value for name, value in norms[0].items() if "num_batches" in name}
    assert running
    assert same(running, norms[1])


def test_it_begins_when_the_contrast_would() -> None:
    early, late = (sepico(start=2), auxiliary(start=2)), (sepico(start=1), auxiliary(start=1))
    for task in (*early, *late):
        fit(task, batches(2))
    assert same(weights(early[0].student), weights(early[1].student))
    assert not same(weights(late[0].student), weights(late[1].student))


def test_weight_zero_takes_it_away() -> None:
    image, label = example()
    task = auxiliary(weight=0.0).eval()
    assert float(task.target_loss(image, label).detach()) == 0
    plain = pixel_cross_entropy(task.student(image), label)
    torch.testing.assert_close(task.source_loss(image, label), plain)
