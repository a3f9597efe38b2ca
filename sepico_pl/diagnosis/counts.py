"""Counts of target cells and what follows from them, without torch: the report reads them too."""

from typing import NamedTuple


class CellCounts(NamedTuple):
    """Cells by their true class, each a list of C integers.

    Attributes:
        cells: that have the class.
        concept: of these, where the nearest concept is that of the class.
        head: of these, where the head says the class.
        both: of these, where both do.
    """

    cells: list[int]
    concept: list[int]
    head: list[int]
    both: list[int]


def accuracies(counts: CellCounts) -> dict[str, float]:
    """Return accuracies, and shares of cells that one alone has right, in percent of all cells.

    Empty where no cell counts.
    """
    cells, concept, head, both = (sum(one) for one in counts)
    if cells == 0:
        return {}
    return {
        "accuracy/concept": 100 * concept / cells,
        "accuracy/head": 100 * head / cells,
        "share/concept_alone_right": 100 * (concept - both) / cells,
        "share/head_alone_right": 100 * (head - both) / cells,
    }
