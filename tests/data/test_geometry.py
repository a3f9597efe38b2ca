import numpy as np
import pytest
import torch

from sepico_pl.data.geometry import check_crop_fits, common_size, fit, fitted_size, to_size
from sepico_pl.data.streams import TargetStream
from sepico_pl.types import InputError


@pytest.mark.parametrize(
    ("size", "box", "expected"),
    [
        ((1052, 1914), (720, 1280), (704, 1280)),  # GTA, as the official pipeline has it
        ((1046, 1914), (720, 1280), (700, 1280)),
        ((760, 1280), (760, 1280), (760, 1280)),  # SYNTHIA
        ((1024, 2048), (640, 1280), (640, 1280)),  # Cityscapes
        ((1080, 1920), (720, 1280), (720, 1280)),  # Dark Zurich, ACDC
        ((720, 1280), (720, 1280), (720, 1280)),  # BDD100K
        ((1280, 720), (720, 1280), (1280, 720)),  # upright: the longer side goes by the longer one
        ((100, 100), (720, 1280), (720, 720)),
        ((41, 1000), (720, 1280), (52, 1280)),  # 52.48
        ((1000, 41), (720, 1280), (1280, 52)),
        ((9, 1000), (32, 64), (1, 64)),  # 0.58
        ((1, 1000), (32, 64), (1, 64)),  # 0.06: never nothing
        ((1000, 1), (32, 64), (64, 1)),
    ],
)
def test_sizes_keep_the_aspect_ratio(size, box, expected) -> None:
    assert fitted_size(size, box) == expected
    image = np.zeros((*size, 3), np.uint8)
    resized, label = fit(image, image[..., 0], box)
    assert resized.shape[:2] == label.shape == expected


def test_labels_keep_their_ids() -> None:
    label = np.random.default_rng(0).choice(np.array([0, 7, 255], np.uint8), (30, 50))
    _, resized = fit(np.zeros((30, 50, 3), np.uint8), label, (17, 40))
    assert set(np.unique(resized)) <= {0, 7, 255}


def ramp(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 2, columns * 2, rows * 0], axis=-1).astype(np.uint8)


def test_one_size_for_all() -> None:
    box = (32, 64)
    size = common_size([(32, 64), (64, 128), (32, 32)], box)
    assert size == (32, 64)
    same = ramp(64, 128)
    np.testing.assert_array_equal(to_size(same, box, size, (0.9, 0.9)), fit(same, None, box)[0])
    for height, width in ((32, 32), (100, 40), (33, 70), (5, 200)):
        for where in ((0.0, 0.0), (1.0, 1.0), (0.5, 0.3)):
            assert to_size(ramp(height, width), box, size, where).shape == (32, 64, 3)
    upright = ramp(64, 64)  # covers 64 x 64, of which rows 0 to 31 or 32 to 63 are taken
    np.testing.assert_array_equal(to_size(upright, box, size, (0.0, 0.0)), upright[:32])
    np.testing.assert_array_equal(to_size(upright, box, size, (1.0, 0.0)), upright[32:])


class Referenced:
    """Pictures that tell where each pixel comes from, with the same as a reference."""

    def __init__(self, sizes: list[tuple[int, int]]) -> None:
        self.sizes = sizes

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> np.ndarray:
        return ramp(*self.sizes[index])

    def name(self, index: int) -> str:
        return f"picture {index}"

    def reference(self, index: int) -> np.ndarray:
        return self[index]

    def size(self, index: int) -> tuple[int, int]:
        return self.sizes[index]


def test_day_and_night_are_cropped_and_mirrored_alike() -> None:
    stream = TargetStream(Referenced([(32, 64), (32, 64), (80, 64)]), box=(32, 64), seed=3)
    assert stream.size == (32, 64)
    samples = [stream[position] for position in range(24)]
    assert all(torch.equal(sample["image"], sample["reference"]) for sample in samples)
    assert {tuple(sample["image"].shape) for sample in samples} == {(3, 32, 64)}
    different = {sample["image"].numpy().tobytes() for sample in samples}
    assert len(different) > 4  # two mirrorings of the plain images, more of the cropped ones
    assert torch.equal(stream[5]["reference"], stream[5]["image"])


def test_one_common_size_is_that_of_most_images() -> None:
    assert common_size([(10, 20)] * 2 + [(20, 20)] * 3, (20, 40)) == (20, 20)


def test_what_covers_keeps_its_aspect_ratio() -> None:
    """33 x 70 covers 32 x 64 as 32 x 68: all rows, 64 of 68 columns. 100 x 40 as 160 x 64."""
    wide, tall = ramp(33, 70) // 2, ramp(100, 40) // 2
    box = size = (32, 64)
    left, right = (to_size(wide, box, size, (0.0, place)) for place in (0.0, 1.0))
    rows = (np.arange(32) + 0.5) * 33 / 32 - 0.5
    columns = (np.arange(68) + 0.5) * 70 / 68 - 0.5
    np.testing.assert_allclose(left[:, 0, 0], rows, atol=1)
    np.testing.assert_allclose(left[0, :, 1], columns[:64], atol=1)
    np.testing.assert_allclose(right[0, :, 1], columns[4:], atol=1)
    rows = (np.arange(160) + 0.5) * 100 / 160 - 0.5
    middle = to_size(tall, box, size, (0.5, 0.9))
    np.testing.assert_allclose(middle[:, 0, 0], rows[64:96], atol=1)
    np.testing.assert_allclose(middle[0, :, 1], (np.arange(64) + 0.5) * 40 / 64 - 0.5, atol=1)


def test_a_crop_may_be_as_large_as_the_image_and_no_larger() -> None:
    check_crop_fits((32, 64), (32, 64))
    for crop in ((33, 64), (32, 65)):
        with pytest.raises(InputError, match=rf"{crop[0]}x{crop[1]} .*32x64"):
            check_crop_fits((32, 64), crop)
