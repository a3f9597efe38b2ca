from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from sepico_pl.data.datamodule import AdaptationData
from sepico_pl.data.geometry import RandomCropFlip, RandomFlip, fit, is_balanced, to_tensor
from sepico_pl.data.ledger import Ledger
from sepico_pl.data.rare_classes import RareClassSampling, count_classes
from sepico_pl.data.streams import (
    SOURCE_DICE,
    TARGET_DICE,
    TARGET_PLACE,
    EvaluationSet,
    Positions,
    SourceStream,
    TargetStream,
)
from sepico_pl.data.streets import StreetImages, StreetScenes, streets
from sepico_pl.types import InputError

SIZE = (48, 96)
SCENES = StreetScenes("day", "train", 8, SIZE, seed=0)


def source(seed: int = 0, *, rare: bool = True) -> SourceStream:
    counts = count_classes(SCENES, 9)
    sampling = RareClassSampling(counts, temperature=0.05, min_pixels=20) if rare else None
    return SourceStream(
        SCENES,
        box=SIZE,
        crop=RandomCropFlip((32, 40), tries=10),
        largest_share=0.75,
        rare_classes=sampling,
        seed=seed,
    )


def test_a_sample_depends_on_seed_and_position_alone() -> None:
    one, other = source(), source()
    other[3], other[9]
    for position in (0, 5, 12):
        assert torch.equal(one[position]["image"], other[position]["image"])
        assert torch.equal(one[position]["label"], other[position]["label"])
    assert not torch.equal(source(seed=1)[5]["image"], one[5]["image"])
    assert len({one[p]["image"].numpy().tobytes() for p in range(20)}) == 20


def test_workers_change_nothing() -> None:
    target = TargetStream(StreetImages("night", "train", 6, SIZE, seed=0), box=SIZE, seed=0)
    positions = Positions(start=2, steps=6, batch_size=2, rank=0, ranks=1)
    for stream in (source(), target):
        alone, shared_out = (
            list(DataLoader(stream, batch_size=2, sampler=positions, num_workers=workers))
            for workers in (0, 2)
        )
        assert len(alone) == len(shared_out) == 4
        for one, other in zip(alone, shared_out, strict=True):
            assert torch.equal(one["image"], other["image"])


def test_ranks_share_the_global_batch_and_a_later_start_continues() -> None:
    whole = list(Positions(start=0, steps=5, batch_size=4, rank=0, ranks=1))
    ranks = [list(Positions(start=0, steps=5, batch_size=2, rank=r, ranks=2)) for r in (0, 1)]
    joined = [p for step in range(5) for rank in ranks for p in rank[2 * step : 2 * step + 2]]
    assert joined == whole == list(range(20))
    assert list(Positions(start=3, steps=5, batch_size=4, rank=0, ranks=1)) == whole[12:]
    assert len(Positions(start=3, steps=5, batch_size=4, rank=0, ranks=1)) == 20


def test_crops_belong_to_their_labels_and_show_the_rare_class() -> None:
    stream = source()
    rare_shown = 0
    for position in range(40):
        sample = stream[position]
        assert sample["image"].shape == (3, 32, 40)
        assert sample["label"].shape == (32, 40)
        rare_shown += int(((sample["label"] == 4) | (sample["label"] == 3)).any())
        sky = sample["image"][:, sample["label"] == 6]
        if sky.numel():
            assert sky[2].mean() > sky[0].mean(), "the sky of the label is blue in the image"
    uniform = source(rare=False)
    plain = sum(
        int(((uniform[p]["label"] == 4) | (uniform[p]["label"] == 3)).any()) for p in range(40)
    )
    assert rare_shown > plain


def test_balance_of_a_crop() -> None:
    half = np.array([[0, 1], [0, 1]], np.uint8)
    assert is_balanced(half, 0.75)
    assert not is_balanced(half, 0.5)
    assert not is_balanced(np.zeros((2, 2), np.uint8), 1.1)
    assert not is_balanced(np.full((2, 2), 3, np.uint8), 1.1)
    assert not is_balanced(np.full((2, 2), 255, np.uint8), 0.75)


def test_short_images_are_padded_with_what_is_ignored() -> None:
    image, label = np.full((10, 60, 3), 200, np.uint8), np.ones((10, 60), np.uint8)
    rng = np.random.default_rng(0)
    cropped, of_label = RandomCropFlip((16, 40), 1)(image, label, rng, lambda _: True)
    assert cropped.shape == (16, 40, 3)
    assert (of_label[:10] == 1).all()
    assert (of_label[10:] == 255).all()
    assert to_tensor(cropped)[:, 10:].abs().max() < 0.02


@pytest.mark.parametrize(
    ("size", "box", "expected"),
    [((1052, 1914), (720, 1280), (704, 1280)), ((760, 1280), (760, 1280), (760, 1280))],
)
def test_fit_keeps_the_aspect_ratio_as_the_paper_does(size, box, expected) -> None:
    image = np.zeros((*size, 3), np.uint8)
    resized, label = fit(image, image[..., 0], box)
    assert resized.shape[:2] == label.shape == expected


def test_labels_are_judged_at_their_own_size() -> None:
    sample = EvaluationSet(SCENES, (24, 48))[0]
    assert sample["image"].shape == (3, 24, 48)
    assert sample["label"].shape == SIZE


def test_normalisation_by_hand() -> None:
    pixel = to_tensor(np.array([[[255, 0, 128]]], np.uint8))
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (128 / 255 - 0.406) / 0.225]
    torch.testing.assert_close(pixel.flatten(), torch.tensor(expected))


def settings(**changes: object) -> dict:
    return {
        "source_size": SIZE,
        "target_size": SIZE,
        "crop_size": (32, 32),
        "crop_tries": 3,
        "largest_share": 0.75,
        "rare_class_temperature": None,
        "rare_class_pixels": 10,
        "batch_size": 2,
        "judge_batch_size": 2,
        "statistics_images": 5,
        "workers": 0,
        "seed": 0,
        **changes,
    }


def test_statistics_images_are_unlabelled_and_spread_evenly() -> None:
    pair = streets(SIZE, seed=0, train_length=10, val_length=2)
    batches = list(AdaptationData(pair, **settings()).statistics_images(torch.device("cpu")))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    expected = torch.stack([to_tensor(pair.target_train[i]) for i in (0, 2, 4, 6, 8)])
    assert torch.equal(torch.cat(batches), expected)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"source_size": (48, 0)}, "data.source_size"),
        ({"crop_size": (32,)}, "data.crop_size"),
        ({"crop_size": (49, 32)}, "data.crop_size"),
        ({"batch_size": -1}, "data.batch_size"),
        ({"statistics_images": 0}, "data.statistics_images"),
        ({"judge_batch_size": 1.5}, "data.judge_batch_size"),
    ],
)
def test_bad_settings_name_their_key(change: dict, key: str) -> None:
    pair = streets(SIZE, seed=0, train_length=2, val_length=2)
    with pytest.raises(InputError, match=key):
        AdaptationData(pair, **settings(**change)).check_training(Ledger(None))


class OneLabel:
    """One black image; its rare class is 11 pixels of the first row and 1 of the second."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((4, 20, 3), np.uint8), self.label(index)

    def label(self, index: int) -> np.ndarray:
        label = np.zeros((4, 20), np.uint8)
        label[0, :11] = label[1, 0] = 1
        return label

    def name(self, index: int) -> str:
        return "one"


def test_a_crop_must_show_more_than_half_of_the_rare_class_pixels() -> None:
    """Of crops 10 wide only the leftmost shows 11 of the wanted 20, the next one shows 10."""
    scenes = OneLabel()
    sampling = RareClassSampling(count_classes(scenes, 2), temperature=0.01, min_pixels=20)
    stream = SourceStream(
        scenes,
        box=(4, 20),
        crop=RandomCropFlip((4, 10), tries=300),
        largest_share=0.9,
        rare_classes=sampling,
        seed=0,
    )
    assert [int((stream[p]["label"] == 1).sum()) for p in range(6)] == [11] * 6


def test_a_crop_of_one_class_is_drawn_again() -> None:
    """Crops 8 wide from column 3 on show 8 pixels or less of the second class among 32."""
    stream = SourceStream(
        OneLabel(),
        box=(4, 20),
        crop=RandomCropFlip((4, 8), tries=300),
        largest_share=0.75,
        rare_classes=None,
        seed=0,
    )
    assert [int((stream[p]["label"] == 1).sum()) for p in range(6)] == [9] * 6


def test_half_of_all_images_are_mirrored() -> None:
    image = np.arange(2, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    rng = np.random.default_rng(0)
    source, target = RandomCropFlip((1, 2), tries=1), RandomFlip()
    drawn = [source(image, image[..., 0], rng, lambda _: True)[0] for _ in range(4000)]
    seen = [target([image], rng)[0] for _ in range(4000)]
    for images in (drawn, seen):
        share = np.mean([one[0, 0, 0] for one in images])
        assert abs(share - 0.5) < 3 * np.sqrt(0.25 / 4000)


def test_domains_and_places_are_drawn_apart() -> None:
    """Another image of the target than of the source, and a place that no index hangs on."""
    assert len({SOURCE_DICE, TARGET_DICE, TARGET_PLACE}) == 3
    scenes = StreetScenes("day", "train", 8, SIZE, seed=0)
    plain = source(rare=False)
    target = TargetStream(StreetImages("day", "train", 8, SIZE, seed=0), box=SIZE, seed=0)
    names = [(plain.name(p), target.name(p)) for p in range(200)]
    assert {name for name, _ in names} == {scenes.name(index) for index in range(8)}
    assert 10 < sum(one == other for one, other in names) < 45  # an eighth of them by chance


def test_a_crop_is_tried_as_often_as_allowed_and_the_last_one_stands() -> None:
    image = np.arange(12, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    tried = []

    def refuse(label: np.ndarray) -> bool:
        tried.append(label.copy())
        return False

    rng = np.random.default_rng(0)
    drawn, label = RandomCropFlip((1, 4), tries=7)(image, image[..., 0], rng, refuse)
    assert len(tried) == 7
    np.testing.assert_array_equal(label, tried[-1])
    np.testing.assert_array_equal(drawn[..., 0], label)
    assert len({one.tobytes() for one in tried}) > 2


def test_a_run_takes_each_ranks_samples_from_its_step_on() -> None:
    """Steps 2 and 3 of the second of two ranks, two samples each, with the configured crops."""
    pair = streets(SIZE, seed=0, train_length=6, val_length=2)
    changes = {"rare_class_temperature": 0.05, "rare_class_pixels": 3200, "seed": 4}
    data = AdaptationData(pair, **settings(**changes))
    data.setup("fit")
    data.trainer = SimpleNamespace(global_step=2, max_steps=4, global_rank=1, world_size=2)
    loaders = data.train_dataloader()
    sampling = RareClassSampling(
        count_classes(pair.source_train, 9), temperature=0.05, min_pixels=8
    )
    streams = {
        "source": SourceStream(
            pair.source_train,
            box=SIZE,
            crop=RandomCropFlip((32, 32), tries=3),
            largest_share=0.75,
            rare_classes=sampling,
            seed=4,
        ),
        "target": TargetStream(pair.target_train, box=SIZE, seed=4),
    }
    for domain, stream in streams.items():
        images = torch.cat([batch["image"] for batch in loaders[domain]])
        expected = torch.stack([stream[position]["image"] for position in (10, 11, 14, 15)])
        assert torch.equal(images, expected)
