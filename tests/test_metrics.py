import numpy as np
import torch

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
