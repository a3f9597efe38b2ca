"""Embeds the labelled images of a domain, and keeps class statistics and a sample of the pixels.

Shapes: B batch, C classes, D embedding width, H, W image size, h, w embedding size, N pixels.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from sepico_pl.contrast.pixels import nearest_labels, select_pixels
from sepico_pl.contrast.statistics import ClassMoments, at_least_float32
from sepico_pl.data.checks import with_progress
from sepico_pl.data.streams import EvaluationSet, evenly
from sepico_pl.model.heads import PYRAMID_STAGES, resize
from sepico_pl.model.segmentor import Segmentor
from sepico_pl.reporting.embedding_measures import Domain
from sepico_pl.types import IGNORE_INDEX, InputError

FEATURES = ("projection", "encoder", "fused")
MIN_SHARE = 0.75


class Embedder(nn.Module):
    """A network as the map from images to unit embeddings.

    A module of its own, so that a batch-norm policy reaches the projection head as well, which a
    forward pass of the network leaves out.

    Args:
        network: whose parts are used.
        features: "projection" (its last map, where each stage has one), "encoder" (the last
            stage), "fused" (the last four stages, each of unit length, resized to the finest and
            concatenated), or None for the projection where there is one, else the last stage.

    Raises:
        InputError: for another name, or a projection that the network lacks.
    """

    def __init__(self, network: Segmentor, features: str | None) -> None:
        """Choose what to embed with."""
        super().__init__()
        has_projection = network.projection is not None
        self.features = features or ("projection" if has_projection else "encoder")
        if self.features not in FEATURES:
            message = f"features={features} is unknown; choose {', '.join(FEATURES)} or null"
            raise InputError(message)
        if self.features == "projection" and not has_projection:
            message = (
                "features=projection: this network was trained without contrast and has no "
                "projection head; choose encoder or fused"
            )
            raise InputError(message)
        self.network = network

    @property
    def width(self) -> int:
        """D."""
        if self.features == "projection" and self.network.projection is not None:
            return self.network.projection.widths[-1]
        channels = self.network.encoder.channels
        return channels[-1] if self.features == "encoder" else sum(channels[-PYRAMID_STAGES:])

    @property
    def description(self) -> str:
        """What the embeddings are, in words."""
        if self.features == "projection" and self.network.projection is not None:
            return f"projection of stages={self.network.projection.stages}"
        return {"encoder": "last encoder stage", "fused": "last four encoder stages"}[self.features]

    def forward(self, image: Tensor) -> Tensor:
        """Return unit embeddings (B, D, h, w), at least float32, of images (B, 3, H, W)."""
        stages = self.network.encode(image)
        if self.features == "projection":
            found = self.network.embed(stages)[-1]
        elif self.features == "encoder":
            found = stages[-1]
        else:
            pyramid = [F.normalize(stage, dim=1) for stage in stages[-PYRAMID_STAGES:]]
            found = torch.cat([resize(one, pyramid[0].shape[-2:]) for one in pyramid], dim=1)
        return F.normalize(at_least_float32(found), dim=1)

    def labels(self, label: Tensor, image: Tensor) -> Tensor:
        """Bring a label (B, H', W') to the size that an image (B, 3, H, W) is padded to."""
        height, width = image.shape[-2:]
        padding = (0, -width % self.network.divisor, 0, -height % self.network.divisor)
        return F.pad(nearest_labels(label, (height, width)), padding, value=IGNORE_INDEX)


class ClassSample:
    """A uniform sample of at most `per_class` pixels of each class out of any number of them.

    Each pixel draws a random key, and the smallest keys of each class stay: which ones depends
    neither on how the pixels come in batches nor on the number of other classes' pixels kept.

    Args:
        per_class: largest number of a class.
        width: D.
        seed: of the keys.

    Attributes:
        embeddings: (N, D).
        labels: their classes, (N,) int64.
    """

    def __init__(self, per_class: int, width: int, seed: Sequence[int]) -> None:
        """Start empty."""
        self.per_class = per_class
        self.dice = np.random.default_rng(seed)
        self.keys = np.empty(0)
        self.labels = np.empty(0, dtype=np.int64)
        self.embeddings = torch.empty(0, width)

    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Let pixels (N, D) of classes (N,) into the sample, if their keys are small enough."""
        keys = np.concatenate([self.keys, self.dice.random(len(labels))])
        classes = np.concatenate([self.labels, labels.cpu().numpy()])
        kept = smallest_by_class(keys, classes, self.per_class)
        together = torch.cat([self.embeddings.to(embeddings), embeddings])
        self.embeddings = together[torch.from_numpy(kept).to(together.device)]
        self.keys, self.labels = keys[kept], classes[kept]


def smallest_by_class(
    keys: NDArray[np.float64], classes: NDArray[np.int64], per_class: int
) -> NDArray[np.int64]:
    """Return the indices, ascending, of the `per_class` smallest keys (N,) of each class (N,)."""
    order = np.lexsort((keys, classes))
    ordered = classes[order]
    rank = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    return np.sort(order[rank < per_class])


@torch.no_grad()
def embed_domain(
    embedder: Embedder,
    scenes: EvaluationSet,
    *,
    num_classes: int,
    images: int,
    sample: ClassSample,
    title: str,
) -> Domain:
    """Embed the labelled pixels of at most `images` images, evenly taken.

    A cell of the embedding map counts if one class has 75 % of it (`contrast.pixels`).

    Args:
        embedder: in evaluation mode.
        scenes: images at the network's input size, with labels.
        num_classes: C.
        images: largest number.
        sample: empty; filled.
        title: of the progress bar.

    Returns:
        What was found, on the CPU.
    """
    device = next(embedder.parameters()).device
    moments = ClassMoments(num_classes, embedder.width).to(device)
    chosen = evenly(len(scenes), images)
    for index in with_progress(chosen, len(chosen), title):
        item = scenes[index]
        image, label = item["image"][None].to(device), item["label"][None].to(device)
        embeddings = embedder(image)
        pixels, classes = select_pixels(
            embeddings, embedder.labels(label, image), num_classes, MIN_SHARE
        )
        moments.update(pixels, classes)
        sample.update(pixels, classes)
    return Domain(moments.cpu(), sample.embeddings.cpu(), torch.from_numpy(sample.labels))
