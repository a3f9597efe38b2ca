import numpy as np
import pytest
import torch

from sepico_pl.contrast.pixels import downscale_labels, labels_at, select_pixels
from sepico_pl.types import IGNORE_INDEX


def test_downscaling_is_the_official_one(golden) -> None:
    record = golden("c_labels.npz")
    cases = [key for key in record.files if key.startswith("down_")]
    assert len(cases) > 30
    for key in cases:
        _, mask, scale, share = key.split("_")
        labels = torch.from_numpy(record[f"mask_{mask}"])[:, 0].long()
        ours = downscale_labels(labels, int(scale[1:]), 19, float(share[1:]))
        np.testing.assert_array_equal(ours, record[key][:, 0], err_msg=key)


@pytest.mark.parametrize("name", ["A", "B", "C"])
@pytest.mark.parametrize("pooled", [0, 1])
def test_selection_is_the_official_one(golden, name: str, pooled: int) -> None:
    record = golden("c_labels.npz")
    embeddings = torch.from_numpy(record[f"feat_{name}"])
    labels = torch.from_numpy(record[f"mask_{name}"])[:, 0].long()
    pixels, classes = select_pixels(embeddings, labels, 19, 0.75 if pooled else None)
    key = f"prep_{name}_avg{pooled}"
    if f"{key}_feat" not in record.files:
        # The official code crashes: 68 x 100 is no multiple of 9 x 13.
        assert (name, pooled) == ("C", 1)
        assert len(pixels) == len(classes) > 0
        return
    np.testing.assert_array_equal(pixels, record[f"{key}_feat"])
    np.testing.assert_array_equal(classes, record[f"{key}_mask"])


def test_a_cell_needs_its_share() -> None:
    labels = torch.tensor([[[1, 1, 2, 2], [1, 2, 255, 255], [0, 0, 3, 3], [0, 0, 3, 255]]])
    assert downscale_labels(labels, 2, 4, 0.75).tolist() == [[[1, 255], [0, 3]]]
    assert downscale_labels(labels, 2, 4, 0.8).tolist() == [[[255, 255], [0, 255]]]


def test_sizes_that_are_no_multiple() -> None:
    labels = torch.full((1, 13, 21), 2)
    labels[:, :, 12:] = IGNORE_INDEX
    cells = labels_at(labels, (3, 5), 4, 0.75)
    assert cells.shape == (1, 3, 5)
    assert cells[0, :, 0].tolist() == [2, 2, 2]
    assert cells[0, :, -1].tolist() == [IGNORE_INDEX] * 3


def test_labels_of_the_maps_own_size_are_taken_as_they_are() -> None:
    labels = torch.tensor([[[1, 2, 0], [255, 3, 1]]])
    for share in (None, 0.75, 1.0):
        assert torch.equal(labels_at(labels, (2, 3), 4, share), labels)
    assert labels_at(labels, (4, 6), 4, 0.75)[0, ::2, ::2].tolist() == labels[0].tolist()
