import numpy as np
import pytest
import torch

from sepico_pl.data.classes import CITYSCAPES
from sepico_pl.metrics import confusion_matrix, iou_per_class, mean_iou


def test_iou_is_the_official_one(golden) -> None:
    record = golden("g_h_misc.npz")
    matrix = confusion_matrix(19)
    for prediction, truth in zip(record["iou_pred"], record["iou_gt"], strict=True):
        matrix.update(torch.from_numpy(prediction).long(), torch.from_numpy(truth).long())
    counts = matrix.compute()
    per_class = iou_per_class(counts)
    np.testing.assert_allclose(per_class, record["iou_IoU"], atol=1e-6)
    assert torch.isnan(per_class[18])
    assert per_class[17] == 0
    assert abs(100 * mean_iou(counts) - float(record["iou_mIoU_nanmean_pct"])) <= 0.005


def test_by_hand() -> None:
    matrix = confusion_matrix(3)
    matrix.update(torch.tensor([[0, 0, 1, 1]]), torch.tensor([[0, 1, 1, 255]]))
    assert iou_per_class(matrix.compute())[:2].tolist() == [0.5, 0.5]
    assert mean_iou(matrix.compute()) == 0.5


def test_a_class_that_never_occurs_is_left_out_of_the_mean(golden) -> None:
    per_class = golden("g_h_misc.npz")["iou_IoU"]
    assert np.isnan(per_class[18])
    matrix = confusion_matrix(19)
    record = golden("g_h_misc.npz")
    matrix.update(
        torch.from_numpy(record["iou_pred"]).long(), torch.from_numpy(record["iou_gt"]).long()
    )
    counts = matrix.compute()
    assert abs(mean_iou(counts) - np.nanmean(per_class)) <= 1e-6
    assert abs(mean_iou(counts) - np.nansum(per_class) / 19) > 1e-3


def test_one_matrix_over_all_images_is_not_the_mean_over_images() -> None:
    matrix = confusion_matrix(2)
    for prediction, truth in (([0, 0, 0, 1], [0, 0, 0, 0]), ([0, 0, 1, 1], [0, 1, 1, 1])):
        matrix.update(torch.tensor([prediction]), torch.tensor([truth]))
    assert matrix.compute().tolist() == [[4, 1], [1, 2]]
    assert iou_per_class(matrix.compute()).tolist() == [4 / 6, 2 / 4]


def test_means_over_nineteen_sixteen_and_thirteen_classes_by_hand() -> None:
    """Predictions and labels of eight pixels.

    road (0): truth 0 0 0, predicted 0 0 9 -> 2 / 3; wall (3): predicted right once -> 1 / 1;
    terrain (9): truth 9, predicted 0 -> 0 / 2, and one more road predicted -> road 2 / 4;
    car (13): truth 13 13, predicted 13 14 -> 1 / 2; truck (14): truth none -> 0 / 1;
    bus (15): truth 15 predicted 15 -> 1.
    """
    truth = torch.tensor([0, 0, 0, 3, 9, 13, 13, 15, 255])
    prediction = torch.tensor([0, 0, 9, 3, 0, 13, 14, 15, 7])
    matrix = confusion_matrix(19)
    matrix.update(prediction, truth)
    counts = matrix.compute()
    iou = {c: float(iou_per_class(counts)[c]) for c in (0, 3, 9, 13, 14, 15)}
    assert iou == {0: 0.5, 3: 1.0, 9: 0.0, 13: 0.5, 14: 0.0, 15: 1.0}
    subsets = CITYSCAPES.subsets
    assert mean_iou(counts, subsets["mIoU19"]) == pytest.approx(3.0 / 6)
    assert mean_iou(counts, subsets["mIoU16"]) == pytest.approx((0.5 + 1 + 0.5 + 1) / 4)
    assert mean_iou(counts, subsets["mIoU13"]) == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert mean_iou(counts) == mean_iou(counts, subsets["mIoU19"])


def test_subsets_are_synthias() -> None:
    left_out = {
        name: {CITYSCAPES.names[c] for c in range(19) if c not in ids}
        for name, ids in CITYSCAPES.subsets.items()
    }
    assert left_out == {
        "mIoU19": set(),
        "mIoU16": {"terrain", "truck", "train"},
        "mIoU13": {"terrain", "truck", "train", "wall", "fence", "pole"},
    }
    assert [len(ids) for ids in CITYSCAPES.subsets.values()] == [19, 16, 13]
