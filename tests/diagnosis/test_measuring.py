"""What a measurement says on a tiny network, and that it leaves the network alone."""

import math

import pytest
import torch
from tiny_sepico import CLASSES, batches, parts, same, sepico, student, weights

from sepico_pl.adapt.batch_norm import use_batch_statistics
from sepico_pl.contrast.modes import DistributionContrast, PrototypeContrast
from sepico_pl.diagnosis.callback import same_rng
from sepico_pl.diagnosis.measuring import Scenes, measure
from sepico_pl.module import SourceOnly
from sepico_pl.types import IGNORE_INDEX

TARGET = {
    *("pseudo_label/all", "pseudo_label/trusted", "pseudo_label/contrasted"),
    *("accuracy/concept", "accuracy/head"),
    *("share/concept_alone_right", "share/head_alone_right"),
    *("margin/target", "cosine/encoder"),
}


def scenes() -> Scenes:
    source = batches()[3]["source"]
    truth = source["label"].clone()
    truth[0, :4] = IGNORE_INDEX
    return Scenes(source["image"], truth)


@pytest.mark.parametrize("mode", ["prototype", "bank", "distribution"])
def test_the_task_stays_as_it_is(mode: str) -> None:
    task, batch = sepico(mode, start=0), batches()[0]
    task.contrasted = {7}
    before, dice = weights(task), torch.get_rng_state()
    chance = task.chance.dice.bit_generator.state
    with same_rng(task.device):
        values, counts = measure(task.copy_at_step(), batch, scenes())
    assert same(before, weights(task))
    assert torch.equal(dice, torch.get_rng_state())
    assert task.chance.dice.bit_generator.state == chance
    assert all(p.grad is None for p in task.parameters())
    assert (task.contrasted, task.preview, task.training) == ({7}, None, True)
    assert {n for n in values if not n.startswith("gradient/")} == TARGET | {"margin/source"}
    assert counts is not None
    assert sum(counts.cells) == 2 * 16 - 4  # 16 cells of each image, the first row unlabelled


def test_values_against_a_slow_look_at_the_same_networks() -> None:
    batch, (image, truth) = batches()[0], scenes()
    values, counts = measure(sepico("prototype", start=0).copy_at_step(), batch, scenes())
    task = sepico("prototype", start=0)
    for _ in task.losses(batch):
        pass  # the teacher follows, the statistics move
    pseudo = task.teacher(image)
    confidence, label = pseudo.max(dim=1)
    known = truth != IGNORE_INDEX
    right = label == truth
    trusted = known & (confidence >= 0.3)
    trusted[:, 15:] = False  # ignored rows: 1 of 16 at the bottom
    assert values["pseudo_label/all"] == pytest.approx(100 * float(right[known].float().mean()))
    assert values["pseudo_label/trusted"] == pytest.approx(
        100 * float(right[trusted].float().mean())
    )
    use_batch_statistics(task.student)
    with torch.no_grad():
        stages = task.student.encode(image)
        (embeddings,) = task.student.embed(stages)
        head = task.student.decode(stages, (16, 16)).argmax(dim=1)
    mean = task.contrast.last.moments.mean.float()
    tally, margins = dict.fromkeys(("cells", "concept", "head", "both"), 0), []
    for b in range(2):
        for y in range(4):
            for x in range(4):
                place = (b, slice(4 * y, 4 * y + 4), slice(4 * x, 4 * x + 4))
                true = int(truth[place].flatten()[0])
                if true == IGNORE_INDEX:
                    continue
                similarity = mean @ embeddings[b, :, y, x]
                votes = torch.bincount(head[place].flatten(), minlength=CLASSES)
                concept, said = (int(one.argmax()) == true for one in (similarity, votes))
                others = [float(s) for k, s in enumerate(similarity) if k != true]
                margins.append(float(similarity[true]) - max(others))
                for name, is_so in zip(tally, (True, concept, said, concept and said), strict=True):
                    tally[name] += is_so
    assert {name: sum(one) for name, one in counts._asdict().items()} == tally
    assert 0 < tally["concept"] < tally["cells"]
    assert values["margin/target"] == pytest.approx(sum(margins) / len(margins), abs=1e-5)
    assert values["accuracy/head"] == pytest.approx(100 * tally["head"] / tally["cells"])


def test_without_true_labels_or_contrast() -> None:
    batch = batches()[0]
    values, counts = measure(sepico(start=0).copy_at_step(), batch, None)
    assert counts is None
    assert {n for n in values if not n.startswith("gradient/")} == {"margin/source"}
    values, counts = measure(sepico(None).copy_at_step(), batch, scenes())
    assert counts is None
    labels = {"pseudo_label/all", "pseudo_label/trusted"}
    assert {n for n in values if not n.startswith("gradient/")} == labels
    values, counts = measure(SourceOnly(**parts(student())).copy_at_step(), batch, scenes())
    assert (set(values), counts) == ({"gradient/encoder/source", "gradient/decoder/source"}, None)


def test_several_embedding_maps() -> None:
    """Cells are those of the last map, though the contrast goes over each of them."""
    task = sepico("distribution", start=0, stages="layerwise")
    assert task.contrast is not None
    assert len(task.contrast.stages) == 2
    values, counts = measure(task.copy_at_step(), batches()[0], scenes())
    assert {n for n in values if not n.startswith("gradient/")} == TARGET | {"margin/source"}
    assert counts is not None
    assert sum(counts.cells) == 2 * 16 - 4


def filled(contrast: PrototypeContrast | DistributionContrast) -> None:
    contrast.moments.count.copy_(torch.tensor([5, 5, 0]))
    contrast.moments.mean.copy_(torch.tensor([[0.9, 0.0], [0.0, 0.5], [9.0, 9.0]]))
    contrast.moments.variance.copy_(torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.0, 0.0]]))


@pytest.mark.parametrize(
    ("kind", "expected"), [(PrototypeContrast, [0, 1, 0]), (DistributionContrast, [1, 1, 1])]
)
def test_the_nearest_concept_has_the_score_of_the_contrast(
    kind: type[PrototypeContrast] | type[DistributionContrast], expected: list[int]
) -> None:
    """The variance of class 1 along the first axis draws pixels there; class 2 is not seen yet."""
    contrast = kind(
        num_classes=3, width=2, temperature=0.1, weight=1, diversity_weight=0, min_share=None
    )
    pixels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]])
    as_map = pixels.T.reshape(1, 2, 1, 3)
    assert contrast.nearest(as_map).tolist() == [[[IGNORE_INDEX] * 3]]
    filled(contrast)
    assert contrast.nearest(as_map).tolist() == [[expected]]
    scores = contrast.scores(pixels)[:, :2]
    spread = 0.5 / (2 * 0.01) if kind is DistributionContrast else 0.0
    assert scores[2].tolist() == pytest.approx([7.2, 3.0 + 0.64 * spread], rel=1e-5)
    loss = contrast.pixel_losses(pixels, torch.zeros(3, dtype=torch.long))
    with_all = contrast.scores(pixels)
    assert float(loss[2]) == pytest.approx(float(with_all[2].logsumexp(0)) - 7.2, rel=1e-5)
    assert math.isfinite(float(loss.sum()))
