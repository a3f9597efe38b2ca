"""What must hold for any input, tried on many (hypothesis), and two fuzzers.

Longer: `pytest tests/test_properties.py --hypothesis-profile=long -n0`.
"""

import io
import math
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import configured
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sepico_pl.assembly import build_data, build_task, check_config
from sepico_pl.augment.balanced_crop import ClassBalancedCrop, crop_score
from sepico_pl.augment.chance import Chance
from sepico_pl.augment.class_mix import class_masks, classes_present, paste
from sepico_pl.checkpoints import flat
from sepico_pl.cli import explain
from sepico_pl.contrast.pixels import downscale_labels
from sepico_pl.contrast.statistics import ClassBank, ClassMoments
from sepico_pl.data.files import read_colours, read_image
from sepico_pl.data.geometry import RandomCropFlip
from sepico_pl.data.labels import IdLabels
from sepico_pl.metrics import iou_per_class, mean_iou
from sepico_pl.training import build_trainer
from sepico_pl.types import InputError

CLASSES = 4
sides = st.integers(1, 24)
seeds = st.integers(0, 2**32 - 1)


def labels_of(shape: tuple[int, ...], seed: int, classes: int = CLASSES) -> np.ndarray:
    dice = np.random.default_rng(seed)
    ids = [*range(classes), 255]
    return dice.choice(np.array(ids, np.uint8), shape)


@given(height=sides, width=sides, crop=st.tuples(sides, sides), seed=seeds)
def test_a_crop_shows_image_and_label_of_the_same_places(
    height: int, width: int, crop: tuple[int, int], seed: int
) -> None:
    rows, columns = np.mgrid[0:height, 0:width]
    image = np.stack([rows, columns, rows * 0 + 200], axis=2).astype(np.uint8)
    label = (rows * 7 + columns * 3).astype(np.uint8) % 200
    cut, cut_label = RandomCropFlip(crop, tries=2)(
        image, label, np.random.default_rng(seed), lambda _: False
    )
    assert cut.shape == (*crop, 3)
    assert cut_label.shape == crop
    kept = cut_label != 255
    assert kept.sum() == min(height, crop[0]) * min(width, crop[1])
    y, x = (cut[..., channel].astype(int)[kept] for channel in (0, 1))
    np.testing.assert_array_equal(cut_label[kept], label[y, x])
    assert len(set(zip(y.tolist(), x.tolist(), strict=True))) == kept.sum()


@given(size=st.tuples(sides, sides), data=st.data(), seed=seeds, share=st.floats(0.01, 1))
def test_the_balanced_crop_is_the_best_candidate_and_inside(
    size: tuple[int, int], data: st.DataObject, seed: int, share: float
) -> None:
    crop = (data.draw(st.integers(1, size[0])), data.draw(st.integers(1, size[1])))
    labels = torch.from_numpy(labels_of((2, *size), seed)).long()
    chooser = ClassBalancedCrop(size=crop, tries=4, largest_share=share)
    chosen = chooser.choose(labels, CLASSES, Chance(seed))
    room = (size[0] - crop[0], size[1] - crop[1])
    candidates = Chance(seed).crop_corners(2, 4, room).tolist()

    def score(label: torch.Tensor, top: int, left: int) -> float:
        part = label[top : top + crop[0], left : left + crop[1]]
        counts = torch.bincount(part[part != 255], minlength=CLASSES)
        return float(crop_score(counts, share))

    for label, corner, tried in zip(labels, chosen.tolist(), candidates, strict=True):
        assert 0 <= corner[0] <= room[0]
        assert 0 <= corner[1] <= room[1]
        assert corner in tried
        assert score(label, *corner) == max(score(label, *other) for other in tried)
    assert chooser(labels, chosen).shape == (2, *crop)


@given(shape=st.tuples(st.integers(1, 3), sides, sides), seed=seeds)
def test_a_mix_takes_every_pixel_from_where_its_class_says(
    shape: tuple[int, int, int], seed: int
) -> None:
    source = torch.from_numpy(labels_of(shape, seed)).long()
    target = torch.from_numpy(labels_of(shape, seed + 1)).long()
    present = classes_present(source)
    assert present.tolist() == sorted(set(source.flatten().tolist()))
    pasted = Chance(seed).pasted_classes(present, len(source))
    mask = class_masks(source, pasted)
    images = torch.rand(2, len(source), 3, *shape[1:])
    mixed, label = paste(mask, *images), paste(mask, source, target)
    for n, classes in enumerate(pasted):
        assert len(set(classes.tolist())) == math.ceil(len(present) / 2)
        for y, x in np.ndindex(*shape[1:]):
            from_source = source[n, y, x].item() in classes.tolist()
            assert label[n, y, x] == (source if from_source else target)[n, y, x]
            origin = images[0 if from_source else 1]
            assert torch.equal(mixed[n, :, y, x], origin[n, :, y, x])


@given(
    pixels=st.integers(0, 60),
    cuts=st.lists(st.integers(0, 60), max_size=6),
    offset=st.floats(-100, 100),
    seed=seeds,
)
def test_any_split_of_the_pixels_gives_the_same_statistics(
    pixels: int, cuts: list[int], offset: float, seed: int
) -> None:
    dice = np.random.default_rng(seed)
    embeddings = torch.from_numpy(dice.normal(offset, 1, (pixels, 3)))
    labels = torch.from_numpy(dice.integers(0, CLASSES, pixels))
    whole, parts = ClassMoments(CLASSES, 3), ClassMoments(CLASSES, 3)
    whole.update(embeddings, labels)
    ends = [0, *sorted(min(cut, pixels) for cut in cuts), pixels]
    for first, last in pairwise(ends):
        parts.update(embeddings[first:last], labels[first:last])
    assert torch.equal(whole.count, parts.count)
    torch.testing.assert_close(parts.mean, whole.mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(parts.variance, whole.variance, rtol=1e-9, atol=1e-9)
    for c in range(CLASSES):
        of_class = embeddings[labels == c]
        if len(of_class):
            torch.testing.assert_close(whole.mean[c], of_class.mean(0), rtol=1e-12, atol=1e-12)
            variance = of_class.var(0, unbiased=False)
            torch.testing.assert_close(whole.variance[c], variance, rtol=1e-9, atol=1e-9)


@given(
    batches=st.lists(st.lists(st.integers(0, CLASSES - 1), max_size=8), max_size=8),
    length=st.integers(1, 4),
)
def test_the_bank_holds_the_last_batch_means(batches: list[list[int]], length: int) -> None:
    bank = ClassBank(CLASSES, 1, length)
    kept: dict[int, list[float]] = {c: [0.0] for c in range(CLASSES)}
    for number, batch in enumerate(batches, 1):
        labels = torch.tensor(batch, dtype=torch.int64)
        bank.update(torch.full((len(batch), 1), float(number)), labels)
        for c in set(batch):
            kept[c].append(float(number))
    for c in range(CLASSES):
        filled = int(bank.filled[c])
        assert sorted(bank.entries[c, :filled, 0].tolist()) == kept[c][-length:]


@given(
    cells=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    rest=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    scale=st.integers(1, 6),
    share=st.sampled_from([0.0, 0.3, 0.5, 0.75, 1.0]),
    seed=seeds,
)
def test_a_cell_keeps_its_majority_or_nothing(
    cells: tuple[int, int], rest: tuple[int, int], scale: int, share: float, seed: int
) -> None:
    size = [n * scale + min(r, scale - 1) for n, r in zip(cells, rest, strict=True)]
    labels = torch.from_numpy(labels_of((1, *size), seed)).long()
    small = downscale_labels(labels, scale, CLASSES, share)[0]
    assert small.shape == cells
    for y, x in np.ndindex(*cells):
        cell = labels[0, y * scale : (y + 1) * scale, x * scale : (x + 1) * scale]
        counts = torch.bincount(cell.flatten(), minlength=256)
        best = int(counts.max())
        majority = {c for c in (*range(CLASSES), 255) if counts[c] == best}
        enough = best / scale**2 >= share - 1e-6
        assert small[y, x].item() in (majority if enough else {255})


@given(seed=seeds, subset=st.sets(st.integers(0, 5), min_size=1))
def test_a_subset_is_the_mean_of_its_classes(seed: int, subset: set[int]) -> None:
    dice = np.random.default_rng(seed)
    matrix = torch.from_numpy(dice.integers(0, 30, (6, 6)))
    absent = int(dice.integers(6))
    matrix[absent], matrix[:, absent] = 0, 0
    per_class = iou_per_class(matrix)
    assert per_class[absent].isnan()
    present = [c for c in subset if not per_class[c].isnan()]
    ours = mean_iou(matrix, sorted(subset))
    if present:
        assert ours == pytest.approx(sum(float(per_class[c]) for c in present) / len(present))
    else:
        assert math.isnan(ours)
    assert mean_iou(matrix) == pytest.approx(mean_iou(matrix, list(range(6))), nan_ok=True)


@cache
def good_files() -> list[bytes]:
    """Return label and picture files of every kind that is read."""
    dice = np.random.default_rng(0)
    ids = dice.integers(0, 4, (9, 11), dtype=np.uint8)
    kinds = [
        (ids, None, "png"),
        (ids, "P", "png"),
        (ids.astype(np.uint16), None, "png"),
        (ids > 1, None, "png"),
        (np.stack([ids] * 3, 2), None, "png"),
        (np.stack([ids] * 3, 2), "RGBA", "png"),
        (np.stack([ids] * 3, 2), None, "jpeg"),
        (np.stack([ids] * 3, 2), None, "webp"),
        (ids, None, "tiff"),
    ]
    files = []
    for array, mode, form in kinds:
        stream = io.BytesIO()
        image = Image.fromarray(array)
        (image.convert(mode) if mode else image).save(stream, form)
        files.append(stream.getvalue())
    return files


@pytest.mark.filterwarnings("ignore")
@given(
    which=st.integers(0, 8),
    edits=st.lists(
        st.tuples(st.floats(0, 1), st.binary(max_size=4), st.integers(0, 4)), max_size=4
    ),
    end=st.floats(0, 1),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_fuzz_a_damaged_file_is_read_or_refused(
    tmp_path: Path, which: int, edits: list[tuple[float, bytes, int]], end: float
) -> None:
    content = good_files()[which]
    for place, new, dropped in edits:
        at = int(place * len(content))
        content = content[:at] + new + content[at + dropped :]
    path = tmp_path / "file.png"
    path.write_bytes(content[: math.ceil((0.3 + end) * len(content))])
    for read in (IdLabels({0: 0, 1: 1, 2: 2, 3: 3}).read, read_image, read_colours):
        try:
            array = read(path)
        except InputError as error:
            said = str(error)
        else:
            said = str(path)
            assert array.dtype == np.uint8
            assert array.ndim == (2 if read not in (read_image, read_colours) else 3)
        assert str(path) in said


@cache
def keys() -> list[str]:
    names = {"trainer", "logger"}
    return sorted(
        {
            key
            for contrast in ("bank", "distribution")
            for key in flat(configured(f"contrast={contrast}"))
            if key.split(".")[0] not in names or key.startswith("trainer.")
        }
    )


VALUES = (
    "-1 0 1 7 0.5 1.5 1e3 .inf nan abc '' null true [] [1] [1,2] [a,b] {} {a:1} '1' ${seed} ???"
)


@given(data=st.data())
def test_fuzz_any_override_is_taken_or_refused(data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(keys()), min_size=1, max_size=2, unique=True))
    words = [f"{key}={data.draw(st.sampled_from(VALUES.split()))}" for key in chosen]
    small = ["dataset.train_length=2", "dataset.val_length=1", "contrast=bank", "logger=none"]
    try:
        plain = configured(*small, *words)
        check_config(plain)
        pair_data = build_data(plain)
        build_task(plain, pair_data.pair)
        build_trainer(plain, Path("nowhere"))
    except Exception as error:
        if explain(error) is None:
            raise


@given(text=st.text(max_size=30))
def test_fuzz_any_words_are_taken_or_refused(text: str) -> None:
    try:
        configured(text)
    except Exception as error:
        if explain(error) is None:
            raise
