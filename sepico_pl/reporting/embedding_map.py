"""A map of an embedding space: t-SNE of as many pixels of either domain, by class.

Shapes: N pixels, D embedding width.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from torch import Tensor

from sepico_pl.quoting import printable
from sepico_pl.reporting.charts import INK, chart, to_svg
from sepico_pl.reporting.embedding_measures import Domain
from sepico_pl.types import ClassSet

DOMAINS = ("source", "target")
MARKERS = {"source": "o", "target": "^"}
PERPLEXITY = 30
FEWEST = 5


class Points(NamedTuple):
    """Where pixels lie on the map.

    Attributes:
        place: (N, 2) float.
        labels: class ids, (N,).
        domains: "source" or "target", N of them.
    """

    place: NDArray[np.float32]
    labels: NDArray[np.int64]
    domains: list[str]


def map_pixels(source: Domain, target: Domain, per_class: int, seed: int) -> Points | None:
    """Lay out pixels so that neighbours in the embedding space are neighbours on the map.

    t-SNE (van der Maaten and Hinton 2008) of as many pixels of a class from the source as from the
    target, at most `per_class`; a class that only one domain has is left out. Distances between
    far groups, and the groups' sizes, mean nothing.

    Returns:
        None for fewer than five pixels, or if all are the same.
    """
    picks = equal_picks(source.labels, target.labels, per_class)
    taken = [domain.embeddings[pick] for domain, pick in zip((source, target), picks, strict=True)]
    embeddings = torch.cat(taken).float().numpy()
    if len(embeddings) < FEWEST or (embeddings == embeddings[0]).all():
        return None
    perplexity = min(PERPLEXITY, (len(embeddings) - 1) / 3)
    layout = TSNE(perplexity=perplexity, init="pca", random_state=seed)
    labels = [domain.labels[pick] for domain, pick in zip((source, target), picks, strict=True)]
    domains = [name for name, pick in zip(DOMAINS, picks, strict=True) for _ in pick]
    return Points(layout.fit_transform(embeddings), torch.cat(labels).numpy(), domains)


def equal_picks(source: Tensor, target: Tensor, per_class: int) -> tuple[Tensor, Tensor]:
    """Return indices of as many pixels of each class from the source (N,) as from the target (M,).

    The samples are in no order of chance, so the picks are spread evenly over them.
    """
    picks: list[list[Tensor]] = [[], []]
    for label in torch.unique(torch.cat([source, target])):
        found = [(labels == label).nonzero()[:, 0] for labels in (source, target)]
        count = min(per_class, *map(len, found))
        for pick, indices in zip(picks, found, strict=True):
            pick.append(indices[torch.arange(count) * len(indices) // max(count, 1)])
    empty = source.new_zeros(0)
    return torch.cat([empty, *picks[0]]), torch.cat([empty, *picks[1]])


def draw(points: Points, classes: ClassSet) -> str:
    """Draw the map as SVG that follows the page's colours; classes in those of the palette."""
    shown = [index for index in range(len(classes)) if (points.labels == index).any()]
    with chart(4.4, 5.0) as figure:
        axes: Any = figure.subplots()
        axes.set_axis_off()
        axes.margins(0.02)
        axes.set_aspect("equal", adjustable="datalim")
        domains = np.array(points.domains)
        for index in shown:
            for domain, marker in MARKERS.items():
                place = points.place[(points.labels == index) & (domains == domain)]
                axes.scatter(*place.T, marker=marker, **_look(_colour(classes, index)))
        figure.legend(handles=_legend(classes, shown), loc="outside lower center", ncols=3)
        return to_svg(figure, described(points, [printable(classes.names[i]) for i in shown]))


def _colour(classes: ClassSet, index: int) -> tuple[float, float, float]:
    red, green, blue = classes.palette[index]
    return red / 255, green / 255, blue / 255


def _look(colour: tuple[float, float, float]) -> dict[str, Any]:
    """Fill with the class's colour, and outline in the text's, which no background hides."""
    return {"s": 12, "color": [colour], "edgecolors": INK, "linewidths": 0.35, "clip_on": False}


def _legend(classes: ClassSet, shown: Sequence[int]) -> list[Any]:
    patches = [
        Patch(
            facecolor=_colour(classes, index),
            edgecolor=INK,
            linewidth=0.35,
            label=printable(classes.names[index]),
        )
        for index in shown
    ]
    markers = [
        Line2D([], [], marker=marker, linestyle="", fillstyle="none", color=INK, label=domain)
        for domain, marker in MARKERS.items()
    ]
    return [*markers, *patches]


def described(points: Points, names: Sequence[str]) -> str:
    """Say what the map shows, for those who cannot see it."""
    return (
        f"t-SNE map of {len(points.labels)} pixel embeddings, half of them source (circles) and "
        f"half target (triangles), coloured by class: {', '.join(names)}"
    )
