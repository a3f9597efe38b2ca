"""Any labelled benchmark as the source, any benchmark as the target."""

from sepico_pl.data.benchmark import Benchmark
from sepico_pl.data.classes import CITYSCAPES
from sepico_pl.types import DomainPair


def domain_pair(source: Benchmark, target: Benchmark) -> DomainPair:
    """Join two benchmarks; both speak of Cityscapes' nineteen classes.

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
