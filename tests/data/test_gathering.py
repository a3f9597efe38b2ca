"""Which files of a folder are images, and that the others are counted and named."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sepico_pl.data.ledger import Ledger
from sepico_pl.data.listing import all_images
from sepico_pl.data.own import folder
from sepico_pl.serving.inputs import find_photographs
from sepico_pl.types import DomainPair, InputError


def touch(folder: Path, *files: str) -> None:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()


def predicted(folder: Path) -> list[Path]:
    return [one.path for one in find_photographs(str(folder), Path("/nowhere"))]


Find = Callable[[Path], list[Path]]
both = pytest.mark.parametrize("find", [all_images, predicted])


@both
def test_folders_below_and_linked_ones_are_read(
    tmp_path: Path, find: Find, capsys: pytest.CaptureFixture[str]
) -> None:
    touch(tmp_path, "day/a.png", "day/berlin/b.JPG", "day/berlin/deep/c.png", "far/d.png")
    (tmp_path / "day/linked").symlink_to(tmp_path / "far")
    (tmp_path / "day/again").symlink_to(tmp_path / "far")
    found = [path.relative_to(tmp_path / "day").as_posix() for path in find(tmp_path / "day")]
    expected = ["a.png", "again/d.png", "berlin/b.JPG", "berlin/deep/c.png", "linked/d.png"]
    assert sorted(found) == expected
    assert capsys.readouterr().out == ""


@both
def test_what_is_left_out_is_counted_and_named(
    tmp_path: Path, find: Find, capsys: pytest.CaptureFixture[str]
) -> None:
    touch(tmp_path, "day/a.png", "day/b.heic", "day/c.HEIC", "day/below/d.avif", "day/e")
    touch(tmp_path, "day/.f.png", "day/.git/g.png")
    (tmp_path / "day/loop").symlink_to(tmp_path / "day")
    os.mkfifo(tmp_path / "day/h.png")
    assert [path.name for path in find(tmp_path / "day")] == ["a.png"]
    line = capsys.readouterr().out
    assert line.startswith(f"8 files left out of {tmp_path / 'day'}: ")
    assert line.count("\n") == 1
    kinds = [".heic (2)", ".avif (1)", "hidden (2)", "without suffix (1)"]
    for kind in [*kinds, "links back to a folder above (1)", "pipes or devices (1)"]:
        assert kind in line


@both
def test_a_folder_of_which_all_is_left_out_is_refused(tmp_path: Path, find: Find) -> None:
    touch(tmp_path, "a.heic", "b.gif")
    with pytest.raises(InputError, match=r"2 files left out of .*\.heic \(1\), \.gif \(1\); conv"):
        find(tmp_path)


@both
def test_a_link_that_leads_nowhere_is_not_left_out(tmp_path: Path, find: Find) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
    assert find(tmp_path) == [tmp_path / "a.png"]


def test_a_pattern_counts_what_it_names_and_does_not_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    touch(tmp_path, "a.png", "b.heic", "below/c.png")
    assert predicted(tmp_path / "*") == [tmp_path / "a.png"]
    said = f"2 files left out of {tmp_path}/*: .heic (1), folders (1)\n"
    assert capsys.readouterr().out == said
    assert predicted(tmp_path / "**/*") == [tmp_path / "a.png", tmp_path / "below/c.png"]
    with pytest.raises(InputError, match=r"no image there .*\.heic \(1\); convert"):
        predicted(tmp_path / "*.heic")


def own(root: Path, **others: str) -> DomainPair:
    folders = {"source_images": "day", "source_labels": "labels", "target_images": "night"}
    paths = {key: str(root / name) for key, name in {**folders, **others}.items()}
    return folder(**paths, classes=["road", "sky"])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for stem, value in (("berlin/0", 0), ("bonn/0", 1)):
        for part in ("day", "labels", "night"):
            file = tmp_path / part / f"{stem}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            array = np.full((4, 6), value, np.uint8)
            Image.fromarray(array).save(file)
    return tmp_path


def test_labels_are_matched_by_the_path_below_their_folder(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = own(root)
    found.source_train.check(Ledger(None))
    assert found.source_train.class_counts.tolist() == [[24, 0], [0, 24]]
    assert len(found.target_train) == 2
    assert capsys.readouterr().out == ""
    shutil.copy(root / "labels/bonn/0.png", root / "labels/bonn/1.png")
    assert len(own(root).source_train) == 2
    assert "1 labels left out, without an image in" in capsys.readouterr().out


def test_folders_of_other_parts_are_not_read(root: Path) -> None:
    for part in ("labels", "night"):
        shutil.move(root / part, root / "day" / part)
    found = own(root, source_labels="day/labels", target_images="day/night")
    assert (len(found.source_train), len(found.target_train)) == (2, 2)
    assert len(own(root, source_images="day/labels", source_labels="day/labels").source_train) == 2


def test_a_label_in_another_folder_is_missing(root: Path) -> None:
    shutil.move(root / "labels/bonn/0.png", root / "labels/0.png")
    with pytest.raises(InputError, match=r"day/bonn/0\.png: its label .*labels/bonn/0\.png is mis"):
        own(root).source_train.check(Ledger(None))


@pytest.mark.parametrize("part", ["day", "labels", "night"])
def test_names_that_are_not_utf8_are_refused(root: Path, part: str) -> None:
    shutil.move(root / part / "bonn/0.png", os.fsencode(root / part) + b"/bonn/caf\xe9.png")
    if part == "labels":
        shutil.move(root / "day/bonn/0.png", os.fsencode(root / "day") + b"/bonn/caf\xe9.png")
    found = own(root)
    with pytest.raises(InputError, match=r"bonn/caf\\xe9\.png: the name is not UTF-8.*rename"):
        (len(found.source_train), len(found.target_train))
    if part == "night":
        with pytest.raises(InputError, match=r"bonn/caf\\xe9\.png: the name is not UTF-8"):
            predicted(root / part)
