"""Gradients of each term of a step, against those that `backward` leaves."""

import pytest
import torch
from tiny_sepico import CLASSES, batches, parts, sepico, student

from sepico_pl.diagnosis.gradients import contrast_cosine, cosine_of, gradient_norms
from sepico_pl.module import SePiCo, SourceOnly
from sepico_pl.types import IGNORE_INDEX

Gradients = dict[str, list[torch.Tensor]]


def left_by_backward(task: SourceOnly, batch: dict) -> dict[str, Gradients]:
    """Return what the loss of each pass leaves at encoder and head."""
    found: dict[str, Gradients] = {}
    for name, loss in task.losses(batch):
        task.zero_grad()
        loss.backward()
        for part in ("encoder", "head"):
            left = [p.grad for p in getattr(task.student, part).parameters() if p.grad is not None]
            found.setdefault(name, {})[part] = [gradient.clone() for gradient in left]
    return found


def norm(gradients: list[torch.Tensor]) -> float:
    return float(torch.cat([one.flatten() for one in gradients]).norm())


@pytest.mark.parametrize("mode", ["prototype", "bank", "distribution"])
def test_norms_are_those_of_backward(mode: str) -> None:
    """A contrast without weight leaves the source's cross-entropy: the difference is its own."""
    batch = batches()[0]
    found = gradient_norms(sepico(mode, start=0).copy_at_step(), batch)
    whole = left_by_backward(sepico(mode, start=0), batch)
    without = left_by_backward(sepico(mode, start=0, weight=0.0), batch)
    contrast = [
        a - b for a, b in zip(whole["source"]["encoder"], without["source"]["encoder"], strict=True)
    ]
    assert found == {
        "encoder/mixed": pytest.approx(norm(whole["mixed"]["encoder"]), rel=1e-5),
        "decoder/mixed": pytest.approx(norm(whole["mixed"]["head"]), rel=1e-5),
        "encoder/target_contrast": pytest.approx(norm(whole["target"]["encoder"]), rel=1e-5),
        "encoder/source": pytest.approx(norm(without["source"]["encoder"]), rel=1e-5),
        "decoder/source": pytest.approx(norm(without["source"]["head"]), rel=1e-5),
        "encoder/source_contrast": pytest.approx(norm(contrast), rel=1e-4),
    }
    assert min(found.values()) > 1e-3


def test_the_scale_of_losses_cancels() -> None:
    batch = batches()[0]
    plain, scaled = (
        gradient_norms(sepico(start=0).copy_at_step(), batch, s) for s in (1.0, 4096.0)
    )
    assert scaled == pytest.approx(plain, rel=1e-6)


def test_terms_of_other_methods() -> None:
    batch = batches()[0]
    alone = SourceOnly(**parts(student(projected=False)))
    task = SourceOnly(**parts(student(projected=False)))
    task.chance.start(0, rank=0, ranks=1)
    image = task.strong(batch["source"]["image"], task.strong.draw(task.chance), task.chance)
    loss = torch.nn.functional.cross_entropy(task.student(image), batch["source"]["label"])
    loss.backward()
    expected = {
        f"{name}/source": norm([p.grad for p in getattr(task.student, part).parameters()])
        for name, part in (("encoder", "encoder"), ("decoder", "head"))
    }
    assert gradient_norms(alone.copy_at_step(), batch) == pytest.approx(expected, rel=1e-5)
    untaught = gradient_norms(sepico(None).copy_at_step(), batch)
    assert set(untaught) == {
        f"{part}/{n}" for part in ("encoder", "decoder") for n in ("source", "mixed")
    }
    early = gradient_norms(sepico(start=5).copy_at_step(), batch)
    assert not any("contrast" in name for name in early)


def test_a_copied_at_is_the_one_that_follows() -> None:
    """Same step number, same dice, same losses, though the copy is asked first."""
    task, batch = sepico(start=0), batches()[0]
    with torch.random.fork_rng():
        before = {name: float(loss.detach()) for name, loss in task.copy_at_step().losses(batch)}
    assert before == {name: float(loss.detach()) for name, loss in task.losses(batch)}
    later = task.copy_at_step()
    later.copied_at = 3
    with torch.random.fork_rng():
        assert {name: float(loss.detach()) for name, loss in later.losses(batch)} != before


def taught(mode: str) -> SePiCo:
    task = sepico(mode, start=0)
    for batch in batches():
        task.update_statistics(batch["source"])
    return task.eval()


@pytest.mark.parametrize("mode", ["prototype", "bank", "distribution"])
def test_cosine_against_gradients_by_hand(mode: str) -> None:
    task = taught(mode)
    images = batches()[0]["source"]["image"]
    truths = batches()[0]["source"]["label"]
    pseudo = (truths + (torch.arange(16) >= 8)) % CLASSES  # the right half is mistaken
    cosines = []
    for place in range(2):
        vectors = []
        for label in (pseudo, truths):
            task.zero_grad()
            embeddings = task.student.embed(task.student.encode(images[place : place + 1]))
            task.contrast(embeddings, label[place : place + 1]).backward()
            vectors.append(torch.cat([p.grad.flatten() for p in task.student.encoder.parameters()]))
        cosines.append(float(torch.cosine_similarity(*vectors, dim=0)))
    found = contrast_cosine(task, images, pseudo, truths)
    assert found == pytest.approx(sum(cosines) / 2, abs=1e-5)
    assert -1 < found < 0.99
    assert contrast_cosine(task, images, truths, truths) == pytest.approx(1.0)


def test_images_without_a_selected_pixel_have_no_cosine() -> None:
    task = taught("prototype")
    images, truths = batches()[0]["source"]["image"], batches()[0]["source"]["label"]
    nothing = torch.full_like(truths, IGNORE_INDEX)
    assert contrast_cosine(task, images, nothing, truths) is None
    half = torch.stack([truths[0], nothing[1]])
    assert contrast_cosine(task, images, half, truths) == pytest.approx(1.0)


def test_cosine_of_pieces() -> None:
    one = [torch.tensor([3.0]), torch.tensor([4.0, 0.0])]
    assert cosine_of(one, [torch.tensor([-6.0]), torch.tensor([-8.0, 0.0])]) == -1.0
    assert cosine_of(one, [torch.tensor([4.0]), torch.tensor([-3.0, 7.0])]) == pytest.approx(0.0)
    assert cosine_of(one, [torch.tensor([0.0]), torch.tensor([0.0, 0.0])]) is None
