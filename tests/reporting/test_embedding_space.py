"""The command on checkpoints: a trained one, ones of every kind, and ones it must refuse."""

import csv
import json
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import chromium, violations
from command_line import SOURCE_ONLY, TINY, call, configured
from miniatures import cityscapes, gta
from PIL import Image

from sepico_pl.assembly import build_data, build_task
from sepico_pl.checkpoints import load, save
from sepico_pl.contrast.statistics import ClassMoments
from sepico_pl.data.streets import STREETS_CLASSES, StreetScenes
from sepico_pl.reporting.embedding_map import Points, draw, equal_picks, map_pixels
from sepico_pl.reporting.embedding_measures import MEASURES, Domain
from sepico_pl.reporting.embedding_sampling import Embedder

SVG = "{http://www.w3.org/2000/svg}"


def untrained(path: Path, *overrides: str) -> Path:
    """Write the checkpoint of a network as it was built."""
    plain = configured(*overrides)
    torch.manual_seed(0)
    save(path, build_task(plain, build_data(plain).pair), plain)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run, analysed: every selected pixel is in the sample."""
    folder = tmp_path_factory.mktemp("trained")
    words = ["dataset.val_length=3", "keep.every=2", "hydra.run.dir=run"]
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert call(monkeypatch, folder, "train", *TINY, *words) == ""
        words = ["checkpoint=run/last.ckpt", "pixels_per_class=100000", "map_pixels=7"]
        assert call(monkeypatch, folder, "embeddings", *words) == ""
    return folder / "run"


def summary_of(folder: Path) -> dict:
    return json.loads((folder / "embeddings" / "summary.json").read_text())


def points_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "embeddings" / "points.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_summary_says_what_was_measured_and_how(trained: Path) -> None:
    summary = summary_of(trained)
    assert summary["features"] == "projection"
    assert summary["batch_norm"] == "target"
    assert "our reading" in summary["definition"]
    assert [row["class"] for row in summary["rows"]] == list(STREETS_CLASSES.names)
    assert list(summary["measures"]) == list(MEASURES)
    assert all(set(row) == {"class", *MEASURES} for row in summary["rows"])
    for name, mean in summary["means"].items():
        values = [row[name] for row in summary["rows"] if row[name] is not None]
        assert mean == pytest.approx(np.mean(values), abs=1e-5)


def test_the_measures_are_those_of_the_validation_images(trained: Path) -> None:
    """Embedded anew image by image; the cells of 4 x 4 pixels by counting."""
    data, task = load(trained / "last.ckpt")
    embedder = Embedder(task.student, None).eval()
    found: dict[str, list[tuple[np.ndarray, int]]] = {"source": [], "target": []}
    with torch.no_grad(), task.judge(embedder, data.statistics_images(torch.device("cpu"))):
        for world, domain in (("day", "source"), ("night", "target")):
            scenes = StreetScenes(world, "val", 3, (32, 64), 0)
            for index in range(3):
                image, label = scenes[index]
                mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
                normal = torch.from_numpy((image / 255 - mean) / std).permute(2, 0, 1)[None].float()
                embeddings = embedder(normal)[0].permute(1, 2, 0).double().numpy()
                for y, x in np.ndindex(*embeddings.shape[:2]):
                    cell = label[4 * y : 4 * y + 4, 4 * x : 4 * x + 4].ravel()
                    name, count = Counter(cell.tolist()).most_common(1)[0]
                    if count >= 12 and name != 255:
                        found[domain].append((embeddings[y, x], name))
    rows = summary_of(trained)["rows"]
    means = {}
    for domain, pixels in found.items():
        for label, row in enumerate(rows):
            own = [pixel for pixel, name in pixels if name == label]
            assert row[f"pixels_{domain}"] == len(own)
            means[domain, label] = np.mean(own, axis=0) if own else None
    for label, row in enumerate(rows):
        here, there = means["source", label], means["target", label]
        if here is None or there is None:
            assert row["mean_cosine"] is None
        else:
            cosine = here @ there / np.linalg.norm(here) / np.linalg.norm(there)
            assert row["mean_cosine"] == pytest.approx(cosine, abs=1e-4)


def test_the_map_shows_as_many_pixels_of_a_class_from_either_domain(trained: Path) -> None:
    rows, points = summary_of(trained)["rows"], points_of(trained)
    shown = Counter((point["class"], point["domain"]) for point in points)
    for row in rows:
        count = min(7, row["pixels_source"], row["pixels_target"])
        assert shown[row["class"], "source"] == shown[row["class"], "target"] == count
    path = trained / "embeddings" / "map.svg"
    assert path.stat().st_size < 1_000_000
    root = ET.fromstring(path.read_text())
    assert root.get("role") == "img"
    assert f"{len(points)} pixel embeddings" in root.get("aria-label")
    assert len(list(root.iter(f"{SVG}use"))) >= len(points)


def test_the_same_command_gives_the_same_numbers_and_another_seed_another_sample(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [f"checkpoint={trained / 'last.ckpt'}", "pixels_per_class=5", "map_pixels=5"]
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        extra = [f"seed={seed}", f"run={name}"]
        assert call(monkeypatch, trained.parent, "embeddings", *words, *extra) == ""
    one, two, three = (trained.parent / name for name in ("one", "two", "three"))
    for name in ("summary.json", "points.csv", "map.svg"):
        content = (one / "embeddings" / name).read_bytes()
        assert content == (two / "embeddings" / name).read_bytes()
    assert points_of(one) != points_of(three)
    of_all = [(row["domain_distance"], row["mean_cosine"]) for row in summary_of(trained)["rows"]]
    for folder in (one, three):
        rows = summary_of(folder)["rows"]
        assert [(row["domain_distance"], row["mean_cosine"]) for row in rows] == of_all


def test_the_teacher_and_running_statistics_can_be_asked(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["checkpoint=run/checkpoints/step_00000002.ckpt", "network=teacher"]
    words += ["batch_norm=running", "images=1", "run=teacher"]
    assert call(monkeypatch, trained.parent, "embeddings", *words) == ""
    summary = summary_of(trained.parent / "teacher")
    assert (summary["network"], summary["batch_norm"]) == ("teacher", "running")
    assert summary["source_images"] == "1 of validation"
    assert summary["rows"] != summary_of(trained)["rows"]


@pytest.mark.parametrize(
    "overrides",
    [
        ["adapt=none", *SOURCE_ONLY],
        ["contrast=none", *TINY],
        ["head.projection.stages=layerwise", *TINY],
        ["norm=group", "contrast=bank", "dataset.classes=cityscapes", *TINY],
    ],
)
def test_any_checkpoint_of_ours_can_be_analysed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str]
) -> None:
    untrained(tmp_path / "last.ckpt", *overrides)
    assert call(monkeypatch, tmp_path, "embeddings", "checkpoint=last.ckpt", "images=1") == ""
    kind = "encoder" if overrides[0] in ("adapt=none", "contrast=none") else "projection"
    assert summary_of(tmp_path)["features"] == kind


def test_too_few_pixels_give_no_map_and_take_an_earlier_one_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    untrained(tmp_path / "last.ckpt", "adapt=none", *SOURCE_ONLY)
    (tmp_path / "embeddings").mkdir()
    (tmp_path / "embeddings" / "map.svg").touch()
    words = ["checkpoint=last.ckpt", "images=1", "map_pixels=1", "features=encoder"]
    assert call(monkeypatch, tmp_path, "embeddings", *words) == ""
    assert "too few pixels for a map" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "embeddings").iterdir()] == ["summary.json"]


def test_a_source_without_validation_images_lends_its_training_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gta(tmp_path / "data" / "gta")
    cityscapes(tmp_path / "data" / "cityscapes")
    words = ["dataset=gta", f"data_root={tmp_path / 'data'}", "data.source_size=[48,96]"]
    words += ["data.target_size=[48,96]", "data.crop_size=[32,32]", "data.workers=0"]
    untrained(tmp_path / "last.ckpt", *words)
    assert call(monkeypatch, tmp_path, "embeddings", "checkpoint=last.ckpt") == ""
    summary = summary_of(tmp_path)
    assert summary["source_images"].endswith("of training")
    assert summary["target_images"].endswith("of validation")
    assert sum(row["pixels_source"] for row in summary["rows"]) > 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["checkpoint=absent.ckpt"], "checkpoint=absent.ckpt"),
        ([], "checkpoint is not set: give it as checkpoint=<value>"),
        (["checkpoint=last.ckpt", "images=0"], "images=0 must be a positive integer"),
        (["checkpoint=last.ckpt", "seed=-1"], "seed=-1 must be an integer >= 0"),
        (["checkpoint=last.ckpt", "images=true"], "images=True must be a positive integer"),
        (["checkpoint=2024"], "checkpoint=2024: there is no such file"),
        (["checkpoint=[a]"], "checkpoint=[a]: there is no such file"),
        (["checkpoint=last.ckpt", "accelerator=abacus"], "accelerator=abacus is unknown"),
        (["checkpoint=last.ckpt", "features=head"], "features=head is unknown; choose projection"),
        (["checkpoint=last.ckpt", "features=projection"], "trained without contrast"),
        (["checkpoint=last.ckpt", "batch_norm=x"], "batch_norm=x is unknown"),
        (["checkpoint=last.ckpt", "network=teacher"], "choose network=student"),
        (["checkpoint=unlabelled.ckpt"], "its target has no validation labels"),
    ],
)
def test_bad_input_gets_one_line(
    refusable: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], told: str
) -> None:
    error = call(monkeypatch, refusable, "embeddings", *words)
    assert told in error
    assert len(error.splitlines()) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_a_gpu_that_is_not_there_is_refused(
    refusable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["checkpoint=last.ckpt", "accelerator=gpu", "images=1"]
    error = call(monkeypatch, refusable, "embeddings", *words)
    assert error == "error: accelerator=gpu: there is no GPU here; choose auto or cpu"


def test_the_home_folder_is_found(refusable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(refusable))
    (refusable / "2024").mkdir()
    (refusable / "2024/last.ckpt").symlink_to(refusable / "last.ckpt")
    words = ["checkpoint='~/2024/last.ckpt'", "images=1", "map_pixels=1"]
    assert call(monkeypatch, refusable, "embeddings", *words) == ""
    assert (refusable / "2024/embeddings/summary.json").is_file()


@pytest.fixture(scope="module")
def refusable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a source-only checkpoint, and one whose data has no labelled target."""
    folder = tmp_path_factory.mktemp("refusable")
    untrained(folder / "last.ckpt", "adapt=none", *SOURCE_ONLY)
    for kind, level in (("images", 90), ("labels", 1)):
        (folder / kind).mkdir()
        size = (64, 64, 3) if kind == "images" else (64, 64)
        Image.fromarray(np.full(size, level, np.uint8)).save(folder / kind / "a.png")
    words = [f"dataset.source_images={folder}/images", f"dataset.source_labels={folder}/labels"]
    words += [f"dataset.target_images={folder}/images", "dataset.classes=[road,car]"]
    untrained(folder / "unlabelled.ckpt", "dataset=folder", "data.crop_size=[32,32]", *words)
    return folder


def test_classes_are_drawn_from_the_map_in_equal_numbers() -> None:
    source, target = torch.tensor([0] * 9 + [1] * 2 + [2]), torch.tensor([1] * 5 + [0] * 3)
    here, there = equal_picks(source, target, 4)
    assert Counter(source[here].tolist()) == Counter(target[there].tolist()) == {0: 3, 1: 2}
    assert here.tolist()[:3] == [0, 3, 6]


def test_neighbours_stay_neighbours_on_the_map() -> None:
    labels = torch.arange(3).repeat(20)
    noise = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
    embeddings = torch.nn.functional.normalize(4 * torch.eye(8)[labels] + 0.1 * noise, dim=1)
    domain = Domain(ClassMoments(3, 8), embeddings, labels)
    points = map_pixels(domain, domain, 20, seed=0)
    assert points is not None
    distance = np.linalg.norm(points.place[:, None] - points.place[None], axis=-1)
    nearest = distance.argsort(axis=1)[:, 1:6]
    assert (points.labels[nearest] == points.labels[:, None]).all()
    assert points.domains == ["source"] * 60 + ["target"] * 60


def test_pixels_that_are_all_alike_have_no_map() -> None:
    domain = Domain(ClassMoments(2, 3), torch.ones(20, 3), torch.arange(2).repeat(10))
    assert map_pixels(domain, domain, 9, seed=0) is None


def test_the_drawing_stands_out_on_any_page_and_tells_domains_by_shape(tmp_path: Path) -> None:
    """Black on black and white on white keep an outline in the text's colour."""
    labels = np.repeat(np.arange(9), 2)
    place = np.stack([labels, np.tile([0, 1], 9)], axis=1).astype(np.float32)
    svg = draw(Points(place, labels, ["source", "target"] * 9), STREETS_CLASSES)
    body = f"<main style='color:%s;background:%s'><h1>map</h1>{svg}</main>"
    page_of = f"<html lang='en'><title>map</title>{body}"
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 800})
        for ink, paper in (("#e8ebef", "#1b2027"), ("#1b1f26", "#ffffff")):
            (tmp_path / "map.html").write_text(page_of % (ink, paper))
            page.goto((tmp_path / "map.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            strokes = "[...document.querySelectorAll('use')].map(u => getComputedStyle(u).stroke)"
            red, green, blue = (int(ink[index : index + 2], 16) for index in (1, 3, 5))
            assert set(page.evaluate(strokes)) == {f"rgb({red}, {green}, {blue})"}
        uses = page.locator("use")
        assert len({uses.nth(index).get_attribute("xlink:href") for index in range(18)}) >= 2
        words = {word.strip() for word in page.locator("svg text").all_text_contents()}
        assert {"source", "target", *STREETS_CLASSES.names} <= words
        assert violations(page) == []
