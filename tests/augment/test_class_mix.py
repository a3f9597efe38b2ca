import json
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_fill import load

from sepico_pl.augment.class_mix import class_masks, classes_present, paste


@pytest.mark.parametrize("case", [0, 1, 2])
def test_masks_and_mixtures_are_the_official_ones(shared: Path, golden, case: int) -> None:
    record, fill = golden("g_h_misc.npz"), load(shared / "golden" / "fill.py")
    classes = json.loads((shared / "golden" / "g_h_misc.json").read_text())[f"mix_classes_c{case}"]
    source, target = torch.from_numpy(fill.fill("h.img", (2, 3, 32, 48)))
    labels = torch.from_numpy(record["mix_label"])[:, 0].long()
    mask = class_masks(labels[:1], [torch.tensor(classes)])
    np.testing.assert_array_equal(mask, record[f"mix_mask_c{case}"])
    image = paste(mask, source[None], target[None])
    np.testing.assert_array_equal(image, record[f"mix_img_c{case}"])
    label = paste(mask, labels[:1], labels[1:])
    np.testing.assert_array_equal(label, record[f"mix_lbl_c{case}"][0])


def test_each_image_has_classes_of_its_own() -> None:
    labels = torch.tensor([[[0, 1], [255, 2]]] * 2)
    masks = class_masks(labels, [torch.tensor([1, 255]), torch.tensor([0, 2])])
    assert masks.tolist() == [[[False, True], [True, False]], [[True, False], [False, True]]]
    assert paste(masks, torch.ones(2, 3, 2, 2), torch.zeros(2, 3, 2, 2)).sum() == 12


def test_classes_that_are_present() -> None:
    labels = torch.tensor([[[3, 1], [255, 3]], [[1, 1], [0, 254]]])
    assert classes_present(labels).tolist() == [0, 1, 3, 254, 255]
