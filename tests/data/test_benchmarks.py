import csv
import re
from pathlib import Path

import cv2
import miniatures
import numpy as np
import pytest
from PIL import Image

from sepico_pl.data import benchmarks
from sepico_pl.data.benchmark import Benchmark
from sepico_pl.data.classes import CITYSCAPES_TRAIN_IDS, SYNTHIA_TRAIN_IDS
from sepico_pl.data.correspondences import read_correspondences
from sepico_pl.data.labels import IdLabels
from sepico_pl.data.ledger import Ledger
from sepico_pl.data.listing import read_stems
from sepico_pl.types import IGNORE_INDEX, InputError, LabelledImages, ReferencedImages

MAKERS = {
    "gta": benchmarks.gta,
    "synthia": benchmarks.synthia,
    "cityscapes": benchmarks.cityscapes,
    "dark_zurich": benchmarks.dark_zurich,
    "acdc": benchmarks.acdc,
    "bdd100k": benchmarks.bdd100k,
    "nighttime_driving": benchmarks.nighttime_driving,
}


@pytest.fixture(scope="module")
def formats(shared: Path) -> str:
    return (shared / "FORMATS.md").read_text()


def made(name: str, root: Path) -> Benchmark:
    miniatures.ALL[name](root)
    return MAKERS[name](str(root))


def checked(benchmark: Benchmark, split: str):
    collection = benchmark.labelled(split)
    collection.check(Ledger(None))
    return collection


def test_the_tables_of_ids(formats: str) -> None:
    text = formats.split("`[255]*7 + ")[1].split("`")[0]
    assert len(text.strip("[]").split(",")) == 27
    ids = [255] * 7 + [int(number) for number in text.strip("[]").split(",")]
    assert [CITYSCAPES_TRAIN_IDS[index] for index in range(34)] == ids
    assert CITYSCAPES_TRAIN_IDS[34] == IGNORE_INDEX
    assert sorted(CITYSCAPES_TRAIN_IDS) == list(range(35))
    listed = re.search(r"As a list: `\[(.*?)\]`", formats)[1]
    assert list(SYNTHIA_TRAIN_IDS.values()) == [int(number) for number in listed.split(",")]
    assert list(SYNTHIA_TRAIN_IDS) == list(range(23))


def test_published_counts(formats: str) -> None:
    """Each number stands in the section of its data set."""
    sections = {part[:2]: part for part in formats.split("\n### ")}
    for name, section in (
        ("cityscapes", "C1"),
        ("gta", "C2"),
        ("synthia", "C3"),
        ("dark_zurich", "C4"),
        ("bdd100k", "C6"),
        ("nighttime_driving", "C6"),
    ):
        for count in MAKERS[name]("/nowhere").published.values():
            assert re.search(rf"\b{count}\b", sections[section]), (name, count)
    twilight = benchmarks.dark_zurich("/nowhere", period="twilight")
    assert re.search(rf"twilight {twilight.published['train']}\b", sections["C4"])
    acdc = benchmarks.acdc("/nowhere").published
    assert (acdc["train"], acdc["val"], acdc["test"]) == (1600, 406, 2000)
    assert all(str(count) in sections["C5"] for count in acdc.values())
    night = benchmarks.acdc("/nowhere", conditions=["night"]).published
    assert (night["train"], night["val"], night["test"]) == (400, 106, 500)


@pytest.mark.parametrize(
    ("name", "split", "world", "scenes_split"),
    [
        ("gta", "train", "day", "train"),
        ("synthia", "train", "day", "train"),
        ("cityscapes", "train", "day", "train"),
        ("cityscapes", "val", "day", "val"),
        ("dark_zurich", "val", "night", "val"),
        ("acdc", "val", "night", "val"),
        ("bdd100k", "train", "night", "train"),
        ("nighttime_driving", "test", "night", "val"),
    ],
)
def test_labels_become_train_ids(
    name: str, split: str, world: str, scenes_split: str, tmp_path: Path
) -> None:
    collection = checked(made(name, tmp_path), split)
    truth = miniatures.scenes(world, scenes_split)
    for index in range(2):
        image, label = collection[index]
        np.testing.assert_array_equal(label, truth.label(index))
        if name != "bdd100k":  # JPEG
            np.testing.assert_array_equal(image, truth[index][0])
    assert collection.class_counts.sum() > 0


def test_cityscapes_with_train_ids_alone(tmp_path: Path) -> None:
    miniatures.cityscapes(tmp_path, train_ids=True)
    collection = checked(benchmarks.cityscapes(str(tmp_path)), "val")
    np.testing.assert_array_equal(collection.label(1), miniatures.scenes("day", "val").label(1))


def test_the_older_bdd100k(tmp_path: Path) -> None:
    miniatures.old_bdd100k(tmp_path)
    assert len(checked(benchmarks.bdd100k(str(tmp_path)), "train")) == 4


def test_day_references(tmp_path: Path) -> None:
    images = made("dark_zurich", tmp_path).images("train")
    assert isinstance(images, ReferencedImages)
    assert not isinstance(images, LabelledImages)
    images.check(Ledger(None))
    days = miniatures.scenes("day")
    for index in range(4):
        np.testing.assert_array_equal(images.reference(index), days[index // 2][0])
    plain = benchmarks.dark_zurich(str(tmp_path), references=False).images("train")
    assert not isinstance(plain, ReferencedImages)


def test_weather_references(tmp_path: Path) -> None:
    miniatures.acdc(tmp_path)
    images = benchmarks.acdc(str(tmp_path), ["rain"], references=True).images("train")
    np.testing.assert_array_equal(images.reference(1), miniatures.scenes("day")[1][0])
    assert len(images) == 2


def test_real_lists(shared: Path, tmp_path: Path) -> None:
    lists = shared / "fixtures" / "lists"
    folder = tmp_path / "corresp/train/night"
    folder.mkdir(parents=True)
    (folder / "all.csv").write_bytes((lists / "zurich_dn_pair_train.csv").read_bytes())
    days = read_correspondences(folder)
    published = benchmarks.dark_zurich("/nowhere").published
    assert len(days) == published["train"] == 2416
    sequences = [key.split("/")[2] for key in days]
    assert {s: sequences.count(s) for s in sequences} == {
        "GOPR0351": 1027,
        "GOPR0376": 1061,
        "GP010376": 328,
    }
    for name, count in (("zurich_test.txt", "test"), ("zurich_val.txt", "val")):
        assert len(read_stems(lists / name)) == published[count]
    night = benchmarks.bdd100k("/nowhere", listed="x").published["night"]
    assert len(read_stems(lists / "bdd100k_night_images.txt")) == night
    driving = benchmarks.nighttime_driving("/nowhere").published["test"]
    assert len(read_stems(lists / "nighttime_driving_images.txt")) == driving


def test_real_samples(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fixtures = shared / "fixtures"
    gta = checked(benchmarks.gta(str(fixtures / "gta_format")), "train")
    printed = capsys.readouterr().out
    assert "skipped 1 pairs of different sizes" in printed
    assert "15188.png" in printed
    assert [Path(gta.name(index)).stem for index in range(len(gta))] == ["00001", "00002"]
    cityscapes = checked(benchmarks.cityscapes(str(fixtures / "cityscapes")), "val")
    np.testing.assert_array_equal(gta.label(0), cityscapes.label(0))
    train_ids = next((fixtures / "cityscapes").rglob("*_labelTrainIds.png"))
    shipped = np.asarray(Image.open(train_ids))
    assert (shipped != cityscapes.label(0)).sum() == 77  # resized separately, says the README
    synthia = checked(benchmarks.synthia(str(fixtures / "synthia_format")), "train")
    both = (synthia.label(0) != 255) & (gta.label(0) != 255)
    assert both.mean() > 0.5
    assert (synthia.label(0)[both] == gta.label(0)[both]).all()
    dusk = benchmarks.dark_zurich(str(fixtures / "dark_zurich_mini"), period="twilight")
    images = dusk.images("train")
    images.check(Ledger(None))
    assert images[0].shape == images.reference(0).shape == (270, 480, 3)
    assert images[0].mean() < images.reference(0).mean()


@pytest.mark.parametrize(
    ("name", "split", "expected"),
    [
        ("dark_zurich", "train", "dark_zurich: split train has no labels"),
        ("gta", "val", "gta: split val has no labels"),
        ("cityscapes", "test", "splits with labels: train, val"),
        ("nighttime_driving", "", r"split \(none\) has no labels"),
    ],
)
def test_an_unlabelled_split_is_no_source(name: str, split: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        MAKERS[name]("/nowhere").labelled(split)


def test_dummy_labels_of_cityscapes_test_are_found(tmp_path: Path) -> None:
    """As if somebody called the test split val."""
    made("cityscapes", tmp_path)
    for part in ("leftImg8bit", "gtFine"):
        for path in sorted((tmp_path / part / "val").rglob("*.png")):
            path.unlink()
        (tmp_path / part / "test").rename(tmp_path / part / "val" / "moved")
        (tmp_path / part / "val" / "moved" / "bonn").rename(tmp_path / part / "val" / "bonn")
    with pytest.raises(InputError, match=r"has a class, everything is void.*unlabelled split"):
        checked(benchmarks.cityscapes(str(tmp_path)), "val")


def test_a_sixteen_bit_label_made_eight_bit(tmp_path: Path) -> None:
    """What Pillow makes of SYNTHIA's labels, saved again: every id is 0."""
    synthia = made("synthia", tmp_path)
    for path in (tmp_path / "GT" / "LABELS").iterdir():
        with Image.open(path) as image:
            cut = np.asarray(image.convert("RGB"))
        assert cut[..., 0].max() == 0
        Image.fromarray(cut[..., 0]).save(path)
    with pytest.raises(InputError, match="re-saved with 8 bits"):
        checked(synthia, "train")


def test_colour_labels_in_place_of_ids(tmp_path: Path) -> None:
    synthia = made("synthia", tmp_path)
    (tmp_path / "GT" / "LABELS").rename(tmp_path / "GT" / "kept")
    (tmp_path / "GT" / "COLOR").rename(tmp_path / "GT" / "LABELS")
    with pytest.raises(InputError, match=r"0000000\.png: cannot be read as label \(a colour"):
        checked(synthia, "train")


def test_copies_beside_the_originals_are_not_listed_twice(tmp_path: Path) -> None:
    """The official conversion writes train ids into the same folder."""
    gta = made("gta", tmp_path)
    for folder in ("images", "labels"):
        content = (tmp_path / folder / "00001.png").read_bytes()
        (tmp_path / folder / "00001_labelTrainIds.png").write_bytes(content)
        (tmp_path / folder / "._00001.png").write_bytes(b"macOS")
    assert len(checked(gta, "train")) == 4


def test_missing_folders_name_the_remedy(tmp_path: Path) -> None:
    for name, maker in MAKERS.items():
        with pytest.raises(InputError, match=rf"set paths\.{name}=<folder>.*SEPICO_DATA"):
            maker(str(tmp_path / "none")).files("val")
        with pytest.raises(InputError, match=r"docs/datasets\.md"):
            maker(str(tmp_path)).files("val")


def test_correspondences_that_do_not_fit(tmp_path: Path) -> None:
    miniatures.dark_zurich(tmp_path)
    listing = tmp_path / "corresp/train/night/GOPR0351.csv"
    rows = list(csv.reader(listing.open()))

    def references() -> list[Path]:
        return [day for _, day in benchmarks.dark_zurich(str(tmp_path)).images("train").both]

    assert len(references()) == 4
    listing.write_text("".join(f"{a},{b}\n" for a, b in rows[1:]))
    with pytest.raises(InputError, match=r"frame_000000_rgb_anon\.png: no day image in .*vote=tea"):
        references()
    (listing.parent / "more.csv").write_text(f"{rows[1][0]},train/day/other\n")
    with pytest.raises(InputError, match=r"more\.csv:1: .* has the day image train/day/other"):
        references()
    (listing.parent / "more.csv").write_text("one\n")
    with pytest.raises(InputError, match=r"more\.csv:1: 1 columns"):
        references()
    for file in listing.parent.iterdir():
        file.unlink()
    with pytest.raises(InputError, match="no csv file of day correspondences"):
        references()


def test_choices_that_do_not_exist() -> None:
    with pytest.raises(InputError, match="period=dawn"):
        benchmarks.dark_zurich("/x", period="dawn")
    with pytest.raises(InputError, match=r"conditions=\['hail'\]"):
        benchmarks.acdc("/x", conditions=["hail"])
    with pytest.raises(InputError, match="no split x; splits: train"):
        benchmarks.gta("/x").images("x")


def test_a_list_of_night_images(tmp_path: Path) -> None:
    miniatures.bdd100k(tmp_path)
    listing = tmp_path / "night.txt"
    listing.write_text("seg/images/val/val0001-ab.jpg\nseg/images/train/train0002-ab.jpg\n")
    night = checked(benchmarks.bdd100k(str(tmp_path), listed=str(listing)), "night")
    assert [Path(night.name(index)).stem for index in range(2)] == ["train0002-ab", "val0001-ab"]
    listing.write_text("seg/images/val/gone.jpg\n")
    with pytest.raises(InputError, match=r"1 of 1 images .*seg/images/val/gone\.jpg"):
        checked(benchmarks.bdd100k(str(tmp_path), listed=str(listing)), "night")


def test_unknown_ids_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.array([[7, 35, 60]], np.uint8))
    with pytest.raises(InputError, match=r"unknown class ids \[35, 60\]; known are 0 to 34"):
        IdLabels(CITYSCAPES_TRAIN_IDS).read(path)
