"""Any labelled benchmark as the source, any benchmark as the target."""

from typing import Protocol

from sepico_pl.data.benchmark import Benchmark
from sepico_pl.data.classes import CITYSCAPES
from sepico_pl.types import DomainPair, LabelledImages


class Source(Protocol):
    """Labelled images by split."""

    @property
    def train(self) -> str:
        """Return the split to train on; "" for none."""
        ...

    @property
    def val(self) -> str:
        """Return the split to evaluate on; "" for none."""
        ...

    def labelled(self, split: str) -> LabelledImages:
        """Return a split; raise InputError for one without labels."""
        ...


def domain_pair(source: Source, target: Benchmark) -> DomainPair:
    """Join a labelled source and a target; both speak of Cityscapes' nineteen classes.

    Raises:
        InputError: if the source has no labels to train on, or the target no images.
    """
    return DomainPair(
        classes=CITYSCAPES,
        source_train=source.labelled(source.train),
        target_train=target.images(target.train),
        source_val=source.labelled(source.val) if source.val else None,
        target_val=target.labelled(target.val) if target.val else None,
    )
