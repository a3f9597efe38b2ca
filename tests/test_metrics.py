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
