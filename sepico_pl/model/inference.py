"""How a network is asked: whole or in windows, at one or several scales, mirrored too.

Shapes: B batch, C classes, H, W label size, h, w input size.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from sepico_pl.model.heads import resize
from sepico_pl.types import InputError, Size


class Inference:
    """Scores of the classes at the label's size.

    Args:
        scales: factors of the input size; probabilities are averaged over them.
        flip: average with the mirrored image's as well.
        window: height and width of sliding windows, of which as many go through the network
            together as have the area of the image; None to see the whole image at once.
        stride: step between windows, at most their size; None for two thirds of it.
        class_weights: (C,) factors of the probabilities; None for none.
    """

    def __init__(
        self,
        *,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        window: Size | None = None,
        stride: Size | None = None,
        class_weights: Tensor | None = None,
    ) -> None:
        """Remember how.

        Raises:
            InputError: for scales, windows or strides that cannot be.
        """
        if not scales or any(not scale > 0 for scale in scales):
            message = f"scales={list(scales)}: give at least one, each above 0"
            raise InputError(message)
        if window is not None and (len(window) != 2 or min(window) <= 0):
            message = f"window={list(window)} must be [height, width], both above 0"
            raise InputError(message)
        if window is not None and stride is None:
            stride = [max(1, side * 2 // 3) for side in window]
        if stride is not None and (
            window is None
            or len(stride) != 2
            or not all(0 < step <= side for step, side in zip(stride, window, strict=True))
        ):
            message = f"stride={list(stride)} must be [height, width] within window={window}"
            raise InputError(message)
        self.scales, self.flip, self.window, self.stride = tuple(scales), flip, window, stride
        self.class_weights = class_weights

    def __call__(self, network: nn.Module, image: Tensor, size: Size) -> Tensor:
        """Return scores (B, C, H, W) of images (B, 3, h, w); their argmax is the prediction.

        A single view without class weights gives its logits, resized; otherwise probabilities.
        """
        if self.single_view:
            return resize(self._logits(network, image), size)
        views = self._views(network, image)
        scores = resize(next(views), size).softmax(dim=1)
        for logits in views:
            scores += resize(logits, size).softmax(dim=1)
        scores /= len(self.scales) * (1 + self.flip)
        if self.class_weights is not None:
            scores *= self.class_weights.to(scores)[:, None, None]
        return scores

    @property
    def single_view(self) -> bool:
        """Whether scores are the logits of one view, not probabilities."""
        return self.scales == (1.0,) and not self.flip and self.class_weights is None

    def probabilities(self, scores: Tensor) -> Tensor:
        """Turn scores (C, ...) into probabilities, which sum up to 1."""
        return scores.softmax(dim=0) if self.single_view else scores / scores.sum(dim=0)

    def _views(self, network: nn.Module, image: Tensor) -> Iterator[Tensor]:
        for scale in self.scales:
            height, width = (max(1, int(side * scale + 0.5)) for side in image.shape[-2:])
            scaled = image if scale == 1 else resize(image, (height, width))
            yield self._logits(network, scaled)
            if self.flip:
                yield self._logits(network, scaled.flip(-1)).flip(-1)

    def _logits(self, network: nn.Module, image: Tensor) -> Tensor:
        if self.window is None or self.stride is None:
            logits: Tensor = network(image).float()
            return logits
        whole = image.shape[-2:]
        window = [min(side, most) for side, most in zip(self.window, whole, strict=True)]
        places = list(_places(whole, window, self.stride))
        total: Tensor | None = None
        seen = torch.zeros(1, 1, *whole, device=image.device)
        at_once = max(1, math.prod(whole) // math.prod(window))
        for first in range(0, len(places), at_once):
            chosen = places[first : first + at_once]
            parts = network(torch.cat([image[..., rows, columns] for rows, columns in chosen]))
            for (rows, columns), part in zip(chosen, parts.split(len(image)), strict=True):
                if total is None:
                    total = part.new_zeros(*part.shape[:2], *whole, dtype=torch.float32)
                total[..., rows, columns] += part.float()
                seen[..., rows, columns] += 1
        assert total is not None
        return total / seen


def _places(whole: Size, window: Size, stride: Size) -> Iterator[tuple[slice, slice]]:
    """Yield rows and columns of each window of an image."""
    for top in _starts(whole[0], window[0], stride[0]):
        for left in _starts(whole[1], window[1], stride[1]):
            yield slice(top, top + window[0]), slice(left, left + window[1])


def _starts(whole: int, window: int, stride: int) -> list[int]:
    """Return where windows start; the last one ends with the image."""
    last = whole - window
    return [*range(0, last, stride), last]
