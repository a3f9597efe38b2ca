import numpy as np

from sepico_pl.data.streams import EvaluationSet


class Sizes:
    """Labelled images of these sizes."""

    def __init__(self, *sizes: tuple[int, int]) -> None:
        self.sizes = sizes

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((*self.sizes[index], 3), np.uint8), self.label(index)

    def label(self, index: int) -> np.ndarray:
        return np.full(self.sizes[index], index, np.uint8)

    def size(self, index: int) -> tuple[int, int]:
        return self.sizes[index]

    def name(self, index: int) -> str:
        return str(index)


def test_images_of_one_size_are_evaluated_together() -> None:
    wide, tall = (20, 40), (40, 20)
    images = EvaluationSet(Sizes(wide, tall, wide, wide, tall), (20, 40))
    assert images.batches(2, rank=0, ranks=1) == [[0, 2], [3], [1, 4]]
    assert images.batches(8, rank=0, ranks=1) == [[0, 2, 3], [1, 4]]


def test_several_processes_evaluate_the_batches_of_one() -> None:
    wide, tall = (20, 40), (40, 20)
    images = EvaluationSet(Sizes(wide, tall, wide, wide, tall), (20, 40))
    assert images.batches(2, rank=0, ranks=2) == [[0, 2], [1, 4]]
    assert images.batches(2, rank=1, ranks=2) == [[3]]
    for ranks in (1, 2, 3):
        shares = [images.batches(1, rank=rank, ranks=ranks) for rank in range(ranks)]
        assert sorted(one for share in shares for batch in share for one in batch) == [*range(5)]


def test_a_process_without_a_batch_of_its_own_evaluates_what_counts_nowhere() -> None:
    images = EvaluationSet(Sizes((20, 40), (40, 20)), (20, 40))
    shares = [images.batches(2, rank=rank, ranks=3) for rank in range(3)]
    assert shares == [[[0]], [[1]], [[2]]]
    labels = [images[index]["label"] for index in range(3)]
    assert [label.unique().tolist() for label in labels] == [[0], [1], [255]]
    assert labels[2].shape == (20, 40)
