"""A network asked as the protocol says, for the results of whole batches.

Shapes: B batch, C classes, H, W image size, h, w input size.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from sepico_pl.assembly import Config
from sepico_pl.model.heads import resize
from sepico_pl.protocol import device_of, inference_of
from sepico_pl.serving.loading import load
from sepico_pl.serving.results import Prediction
from sepico_pl.types import ByteArray, Size


class Predictor:
    """Predicts images of one size at a time.

    Args:
        plain: the configuration of `predict`.
        rank: of this process; its GPU is that of this index.

    Raises:
        InputError: for a checkpoint or protocol that cannot be used.
    """

    def __init__(self, plain: Config, rank: int = 0) -> None:
        """Load the network."""
        self.model = load(
            plain["checkpoint"],
            network=plain["network"],
            batch_norm=plain["batch_norm"],
            statistics=plain["statistics"],
            device=device_of(plain["accelerator"], rank),
        )
        self.inference = inference_of(plain, len(self.model.classes))
        self.wants_logits: bool = plain["logits"]

    @torch.inference_mode()
    def __call__(self, images: Sequence[ByteArray]) -> list[Prediction]:
        """Return the predictions of images (H, W, 3), all of one size."""
        size = images[0].shape[:2]
        batch = self.model.input_of(images)
        input_size = batch.shape[-2:]
        # Logits of a single view are resized image by image: a batch of large ones is too much.
        asked_size = input_size if self.inference.single_view else size
        asked = self.inference(self.model, batch, asked_size)
        return [self._prediction(scores, size, input_size) for scores in asked]

    def _prediction(self, scores: Tensor, size: Size, input_size: Size) -> Prediction:
        """Turn scores (C, ., .) into what is delivered."""
        full = resize(scores[None], size)[0]
        probabilities = self.inference.probabilities(full)
        logits = None
        if self.wants_logits:
            small = scores if self.inference.single_view else log(probabilities)
            logits = resize(small[None], input_size)[0].half().cpu().numpy()
        return Prediction(
            ids=full.max(dim=0).indices.byte().cpu().numpy(),
            confidence=(255 * probabilities.amax(dim=0)).round().byte().cpu().numpy(),
            logits=logits,
        )


def log(probabilities: Tensor) -> Tensor:
    """Return finite logarithms."""
    return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()
