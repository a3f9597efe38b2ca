import math

import pytest
import torch

from sepico_pl.augment.balanced_crop import ClassBalancedCrop, crop_score
from sepico_pl.augment.chance import Chance
from sepico_pl.types import InputError


@pytest.mark.parametrize(
    ("counts", "score"),
    [
        ([50, 30, 20], math.log(50) + math.log(30) + math.log(20)),
        ([74, 26, 0], math.log(74) + math.log(26)),
        ([75, 25, 0], 0.0),
        ([100, 0, 0], 0.0),
        ([0, 0, 0], 0.0),
        ([2, 2, 1], 2 * math.log(2)),
        ([1, 1, 0], 0.0),
    ],
)
def test_scores_by_hand(counts: list[int], score: float) -> None:
    assert crop_score(torch.tensor(counts), 0.75).item() == pytest.approx(score)


class GivenCorners(Chance):
    def __init__(self, corners: list[list[tuple[int, int]]]) -> None:
        super().__init__(0)
        self.corners = torch.tensor(corners)

    def crop_corners(self, images: int, tries: int, room: tuple[int, int]) -> torch.Tensor:
        return self.corners


def labels() -> torch.Tensor:
    """Left half one class, right half stripes of three: (1, 8, 16)."""
    label = torch.zeros(1, 8, 16, dtype=torch.int64)
    label[..., 8:] = torch.arange(8) % 3
    label[0, 0, 0] = 255
    return label


def test_the_most_balanced_crop_wins_and_the_first_among_equals() -> None:
    crop = ClassBalancedCrop(size=(8, 8), tries=4, largest_share=0.75)
    assert crop.choose(labels(), 3, GivenCorners([[(0, 0), (0, 4), (0, 8), (0, 2)]])).tolist() == [
        [0, 8]
    ]
    assert crop.choose(labels(), 3, GivenCorners([[(0, 0), (0, 1), (0, 0)]])).tolist() == [[0, 0]]


def test_every_tensor_is_cropped_alike() -> None:
    crop = ClassBalancedCrop(size=(4, 6), tries=1, largest_share=0.75)
    image = torch.arange(2 * 3 * 8 * 16).reshape(2, 3, 8, 16)
    corners = torch.tensor([[1, 2], [4, 10]])
    cropped, of_labels = crop(image, corners), crop(image[:, 0], corners)
    assert torch.equal(cropped[0], image[0, :, 1:5, 2:8])
    assert torch.equal(cropped[1], image[1, :, 4:8, 10:16])
    assert torch.equal(of_labels, cropped[:, 0])


def test_a_crop_that_does_not_fit() -> None:
    crop = ClassBalancedCrop(size=(9, 8), tries=1, largest_share=0.75)
    with pytest.raises(InputError, match=r"data\.crop_size.*9x8.*8x16"):
        crop.choose(labels(), 3, Chance(0))


def test_ignored_pixels_do_not_count() -> None:
    """One class is 4 of 5 valid pixels: unbalanced, though it is only a quarter of the crop."""
    label = torch.full((2, 4, 4), 255)
    label[:, 0] = 1
    label[0, 1, 0], label[1, 1, :3] = 2, 2
    crop = ClassBalancedCrop(size=(4, 4), tries=1, largest_share=0.75)
    counts = crop._counts(label, torch.zeros(2, 1, 2, dtype=torch.int64), 3)
    assert counts.tolist() == [[[0, 4, 1]], [[0, 4, 3]]]
    scores = crop_score(counts, 0.75)[:, 0].tolist()
    assert scores == pytest.approx([0.0, math.log(4) + math.log(3)])


def test_each_image_has_its_own_crop() -> None:
    both = torch.cat([labels(), labels().flip(-1)])
    corners = [[(0, 0), (0, 8)], [(0, 0), (0, 8)]]
    crop = ClassBalancedCrop(size=(8, 8), tries=2, largest_share=0.75)
    assert crop.choose(both, 3, GivenCorners(corners)).tolist() == [[0, 8], [0, 0]]


def test_a_crop_of_the_whole_image_fits() -> None:
    crop = ClassBalancedCrop(size=(8, 16), tries=2, largest_share=0.75)
    assert crop.choose(labels(), 3, Chance(0)).tolist() == [[0, 0]]
    assert crop.keeps(labels())
    assert not ClassBalancedCrop(size=(8, 15), tries=2, largest_share=0.75).keeps(labels())
    assert not ClassBalancedCrop(size=(7, 16), tries=2, largest_share=0.75).keeps(labels())
    with pytest.raises(InputError, match=r"data\.crop_size.*8x17.*8x16"):
        ClassBalancedCrop(size=(8, 17), tries=1, largest_share=0.75).choose(labels(), 3, Chance(0))
