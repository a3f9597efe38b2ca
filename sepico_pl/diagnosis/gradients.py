"""Gradients of each term of a training step, and of the target contrast by two labels.

All leave `.grad` alone. Losses are multiplied by `scale` before they are differentiated, and what
is measured divided by it: gradients in half precision vanish otherwise.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sepico_pl.module import SePiCo
from sepico_pl.task import SegmentationTask
from sepico_pl.types import AdaptationBatch


def gradient_norms(
    task: SegmentationTask, batch: AdaptationBatch, scale: float = 1.0
) -> dict[str, float]:
    """Go through a training step and measure the gradient of each of its terms.

    The contrast within the loss of a pass is a term of its own, and the rest of that loss another.
    One graph is alive at a time, as in training.

    Args:
        task: a copy at the step; going through it moves its teacher and statistics.
        batch: that the step is trained on.
        scale: of the losses.

    Returns:
        Euclidean norms by "encoder/<term>" and "decoder/<term>"; no entry where a term does not
        depend on that part.
    """
    parts = {"encoder": task.student.encoder, "decoder": task.student.head}
    norms = {}
    with contrast_losses(task) as contrasts:
        for name, loss in task.losses(batch):
            for term, value in terms(name, loss, contrasts).items():
                for part, norm in norms_of(value * scale, parts).items():
                    norms[f"{part}/{term}"] = norm / scale
                del value
            contrasts.clear()
            del loss
    return norms


@contextmanager
def contrast_losses(task: SegmentationTask) -> Iterator[list[Tensor]]:
    """Give a list that receives each loss of the task's contrast, with its graph."""
    losses: list[Tensor] = []
    contrast = task.contrast if isinstance(task, SePiCo) else None
    if contrast is None:
        yield losses
        return
    hook = contrast.register_forward_hook(lambda _, __, loss: losses.append(loss))
    try:
        yield losses
    finally:
        hook.remove()


def terms(name: str, loss: Tensor, contrasts: Sequence[Tensor]) -> dict[str, Tensor]:
    """Part the loss of a pass: its contrast, if it has one, and the rest, if there is one."""
    if not contrasts:
        return {name: loss}
    contrast = torch.stack(list(contrasts)).sum()
    found = {f"{name}_contrast": contrast}
    return found if any(one is loss for one in contrasts) else {name: loss - contrast, **found}


def norms_of(loss: Tensor, parts: dict[str, nn.Module]) -> dict[str, float]:
    """Return the norm of a loss's gradient at each part that it depends on; the graph stays."""
    owned = [(name, one) for name, part in parts.items() for one in parameters_of(part)]
    gradients = torch.autograd.grad(
        loss, [parameter for _, parameter in owned], retain_graph=True, allow_unused=True
    )
    squares: dict[str, list[Tensor]] = {}
    for (name, _), gradient in zip(owned, gradients, strict=True):
        if gradient is not None:
            squares.setdefault(name, []).append(gradient.double().square().sum())
    return {name: float(torch.stack(found).sum().sqrt()) for name, found in squares.items()}


def parameters_of(part: nn.Module) -> list[Tensor]:
    """Return the parameters that are trained."""
    return [one for one in part.parameters() if one.requires_grad]


def contrast_cosine(
    task: SePiCo, images: Tensor, pseudo_labels: Tensor, truths: Tensor, scale: float = 1.0
) -> float | None:
    """Compare what the target contrast asks of the encoder by pseudo-labels and by the truth.

    The cosine between the two gradients at the encoder's parameters, image by image (one graph at
    a time), averaged over those images in which both labels select a pixel.

    Args:
        task: with a contrast; it is in the mode that it is to be asked in.
        images: (B, 3, H, W), normalised.
        pseudo_labels: (B, H, W) int64, 255 ignored.
        truths: the same of the true labels.
        scale: of the losses.

    Returns:
        In [-1, 1]; None if there is no such image.
    """
    assert task.contrast is not None
    cosines = []
    for place in range(len(images)):
        one_image = slice(place, place + 1)
        labels = (pseudo_labels[one_image], truths[one_image])
        embeddings = task.student.embed(task.student.encode(images[one_image]))
        one, other = (
            encoder_gradient(task, task.contrast(embeddings, label) * scale) for label in labels
        )
        cosine = cosine_of(one, other)
        if cosine is not None:
            cosines.append(cosine)
    return sum(cosines) / len(cosines) if cosines else None


def encoder_gradient(task: SePiCo, loss: Tensor) -> list[Tensor]:
    """Return the gradient of a loss at the encoder's parameters that it depends on."""
    parameters = parameters_of(task.student.encoder)
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return [gradient for gradient in gradients if gradient is not None]


def cosine_of(one: Sequence[Tensor], other: Sequence[Tensor]) -> float | None:
    """Return the cosine between two vectors given in pieces; None if one has no length."""
    inner = sum(float((a.double() * b.double()).sum()) for a, b in zip(one, other, strict=True))
    lengths = [
        sum(float(piece.double().square().sum()) for piece in vector) for vector in (one, other)
    ]
    product = (lengths[0] * lengths[1]) ** 0.5
    return inner / product if product > 0 else None
