import hashlib
import subprocess
import sys

import numpy as np
import pytest
from torch.utils.data import DataLoader

from sepico_pl.data.streams import EvaluationSet
from sepico_pl.data.streets import STREETS_CLASSES, StreetImages, StreetScenes, streets
from sepico_pl.types import InputError, LabelledImages, UnlabelledImages

SIZE = (64, 128)
NAMES = STREETS_CLASSES.names


def scenes(world: str, split: str = "train", count: int = 40, size=SIZE) -> StreetScenes:
    return StreetScenes(world, split, count, size, seed=0)


def digest(collection: StreetScenes, count: int = 5) -> str:
    content = b"".join(part.tobytes() for i in range(count) for part in collection[i])
    return hashlib.sha256(content).hexdigest()


def test_a_scene_is_the_same_in_another_process() -> None:
    code = (
        "import hashlib; from sepico_pl.data.streets import StreetScenes;"
        "s = StreetScenes('night', 'train', 40, (64, 128), seed=0);"
        "print(hashlib.sha256(b''.join(p.tobytes() for i in range(5) for p in s[i])).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == digest(scenes("night"))


def test_a_scene_is_the_same_in_a_worker() -> None:
    dataset = EvaluationSet(scenes("night", count=6), SIZE)
    alone, workers = (list(DataLoader(dataset, num_workers=number)) for number in (0, 2))
    for one, other in zip(alone, workers, strict=True):
        assert (one["image"] == other["image"]).all()
        assert (one["label"] == other["label"]).all()


def test_scenes_worlds_splits_and_seeds_differ() -> None:
    kinds = [
        digest(StreetScenes(world, split, 40, SIZE, seed), 1)
        for world in ("day", "night")
        for split in ("train", "val")
        for seed in (0, 1)
    ]
    assert len(set(kinds)) == 8
    night = scenes("night")
    assert len({night[i][0].tobytes() for i in range(40)}) == 40


@pytest.mark.parametrize("world", ["day", "night"])
def test_every_class_is_there_and_none_fills_the_scene(world: str) -> None:
    labels = np.stack([scenes(world).label(i) for i in range(40)])
    shares = np.bincount(labels.ravel(), minlength=256) / labels.size
    assert (shares[:9] > 0.003).all()
    assert shares[:9].max() < 0.5
    assert shares[9:255].sum() == 0
    assert (shares[255] > 0) == (world == "night")


@pytest.mark.parametrize("size", [(32, 32), (64, 128), (90, 161)])
def test_labels_belong_to_images_at_any_size(size: tuple[int, int]) -> None:
    for world in ("day", "night"):
        collection = scenes(world, size=size, count=3)
        image, label = collection[1]
        assert image.shape == (*size, 3)
        assert image.dtype == label.dtype == np.uint8
        np.testing.assert_array_equal(collection.label(1), label)


def brightness(world: str) -> dict[str, float]:
    total, count = np.zeros(9), np.zeros(9)
    collection = scenes(world)
    for i in range(40):
        image, label = collection[i]
        known = label < 9
        grey = image.mean(axis=2)
        total += np.bincount(label[known], weights=grey[known], minlength=9)
        count += np.bincount(label[known], minlength=9)
    return dict(zip(NAMES, total / count, strict=True))


@pytest.mark.parametrize(
    ("lighter_by_day", "lighter_by_night"), [("car", "road"), ("car", "pole"), ("person", "pole")]
)
def test_the_shift_depends_on_the_class(lighter_by_day: str, lighter_by_night: str) -> None:
    """No change of tone that is one for all pixels turns the order of two classes around."""
    day, night = brightness("day"), brightness("night")
    assert day[lighter_by_day] > day[lighter_by_night] + 15
    assert night[lighter_by_night] > night[lighter_by_day] + 5


def test_target_images_come_without_labels() -> None:
    images = StreetImages("night", "train", 5, SIZE, seed=0)
    assert isinstance(images, UnlabelledImages)
    assert not isinstance(images, LabelledImages)
    assert not hasattr(images, "label")
    np.testing.assert_array_equal(images[2], scenes("night")[2][0])


def test_the_oracle_sees_the_target_world() -> None:
    pair = streets(SIZE, seed=0, train_length=4, val_length=3, source_world="night")
    np.testing.assert_array_equal(pair.source_train[1][0], pair.target_train[1])


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"size": (0, 128)}, "dataset.size"),
        ({"size": (64, -1)}, "dataset.size"),
        ({"size": (64,)}, "dataset.size"),
        ({"train_length": 0}, "dataset.train_length"),
        ({"val_length": -3}, "dataset.val_length"),
        ({"source_world": "dawn"}, "dataset.source_world"),
    ],
)
def test_bad_settings_name_their_key(change: dict, key: str) -> None:
    settings = {"size": SIZE, "seed": 0, "train_length": 4, "val_length": 2, **change}
    with pytest.raises(InputError, match=key):
        streets(**settings)
