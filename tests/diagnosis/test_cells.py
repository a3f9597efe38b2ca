"""Counts and shares of cells, against what can be counted by hand."""

import pytest
import torch

from sepico_pl.diagnosis.cells import accuracy, count_cells
from sepico_pl.diagnosis.counts import CellCounts, accuracies


def test_cells_by_true_class() -> None:
    truth = torch.tensor([[0, 0, 0, 0], [2, 2, 255, 255]])
    concept = torch.tensor([[0, 0, 1, 2], [2, 0, 0, 255]])
    head = torch.tensor([[0, 1, 0, 2], [0, 0, 0, 255]])
    counts = count_cells(truth, concept, head, num_classes=4)
    assert counts == ([4, 0, 2, 0], [2, 0, 1, 0], [2, 0, 0, 0], [1, 0, 0, 0])
    assert accuracies(counts) == {
        "accuracy/concept": 50.0,
        "accuracy/head": pytest.approx(100 * 2 / 6),
        "share/concept_alone_right": pytest.approx(100 * 2 / 6),
        "share/head_alone_right": pytest.approx(100 * 1 / 6),
    }


def test_a_class_that_nobody_has_as_concept_is_wrong_everywhere() -> None:
    nobody = torch.full((3,), 255)
    truth = torch.tensor([1, 1, 255])
    assert count_cells(truth, nobody, truth, num_classes=2) == ([0, 2], [0, 0], [0, 2], [0, 0])


def test_without_cells_there_are_no_shares() -> None:
    nothing = torch.full((2, 2), 255)
    counts = count_cells(nothing, nothing, nothing, num_classes=2)
    assert counts == CellCounts([0, 0], [0, 0], [0, 0], [0, 0])
    assert accuracies(counts) == {}


def test_accuracy_counts_labelled_pixels_alone() -> None:
    truth = torch.tensor([0, 1, 1, 255])
    label = torch.tensor([0, 1, 0, 1])
    assert accuracy(label, truth, torch.ones(4, dtype=torch.bool)) == pytest.approx(200 / 3)
    assert accuracy(label, truth, torch.tensor([True, False, True, True])) == 50.0
    assert accuracy(label, truth, torch.tensor([False, False, False, True])) is None
