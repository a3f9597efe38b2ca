"""Class ids as pictures, alone and over a photograph."""

from pathlib import Path

import numpy as np
from PIL import Image

from sepico_pl.data.classes import CITYSCAPES
from sepico_pl.data.painting import boundaries, names_by_id, overlay, paint, palette_image
from sepico_pl.types import ClassSet

CLASSES = ClassSet(names=("left", "right"), palette=((200, 0, 100), (0, 100, 50)))
IDS = np.repeat(np.array([[0, 0, 0, 1, 1, 1]], np.uint8), 4, axis=0)


def test_half_photograph_half_colour_with_a_line_between() -> None:
    image = np.full((4, 6, 3), 100, np.uint8)
    laid_over = overlay(image, IDS, CLASSES)
    assert (laid_over.shape, laid_over.dtype) == ((4, 6, 3), np.uint8)
    assert (laid_over[:, :2] == (150, 50, 100)).all()
    assert (laid_over[:, 2] == 255).all()
    assert (laid_over[:, 3:] == (50, 100, 75)).all()
    assert (image == 100).all()


def test_one_class_has_no_boundary() -> None:
    assert not boundaries(np.zeros((5, 5), np.uint8), thickness=3).any()


def test_lines_as_thick_as_asked() -> None:
    ids = np.zeros((30, 30), np.uint8)
    ids[:, 15:] = 1
    for thickness in (1, 2, 5):
        assert boundaries(ids, thickness).sum(axis=1).tolist() == [thickness] * 30
    assert np.array_equal(boundaries(ids, 1).T, boundaries(ids.T.copy(), 1))


def test_ids_are_painted_in_the_classes_colours(tmp_path: Path) -> None:
    ids = np.array([[0, 13, 255]], np.uint8)
    expected = [[CITYSCAPES.palette[0], CITYSCAPES.palette[13], (0, 0, 0)]]
    assert paint(ids, CITYSCAPES).tolist() == np.array(expected).tolist()
    palette_image(ids, CITYSCAPES).save(tmp_path / "ids.png")
    with Image.open(tmp_path / "ids.png") as image:
        assert np.array_equal(np.asarray(image), ids)
        assert np.array_equal(np.asarray(image.convert("RGB")), paint(ids, CITYSCAPES))
    assert names_by_id(CITYSCAPES)[255] == "ignore"
    assert names_by_id(CITYSCAPES)[18] == "bicycle"
