"""Run folders of strangers, and damaged ones: one line, and nothing of elsewhere on the page."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from compared_runs import make, rows_of
from PIL import Image
from sample_runs import (
    write_confusion,
    write_metrics,
    write_panel,
    write_run,
    write_scores,
)

from sepico_pl.data.streets import STREETS_CLASSES
from sepico_pl.reporting.comparing import compare
from sepico_pl.reporting.comparing_settings import sort_runs
from sepico_pl.reporting.embedding_output import write
from sepico_pl.reporting.page import write_report
from sepico_pl.reporting.page_pictures import HIGHEST, panel_of
from sepico_pl.reporting.runs import Run, find_runs
from sepico_pl.types import InputError

JSON_FILES = (
    "run.json",
    "scores.json",
    "confusion.json",
    "pictures/panel.json",
    "embeddings/summary.json",
    "diagnosis.json",
)
COUNTS = {"cells": [4], "concept": [2], "head": [3], "both": [1]}
DAMAGES = {
    "empty": b"",
    "cut": b'{"target": {"mIoU": 1',
    "no text": b"\xff\xfe\x00\x80",
    "a number": b"5",
    "a list": b"[1]",
    "null": b"null",
    "other keys": b'{"a": 1}',
    "nested": b"[" * 100_000,
    "a string": b'"x"',
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with every file that the report reads."""
    folder = write_run(tmp_path / "run")
    write_scores(folder, {"mIoU": 50.0, "IoU/road": 50.0})
    write_confusion(folder, ["road", "car"], [[1, 2], [3, 4]])
    write_metrics(folder, {"val/target/mIoU": {9: 40.0}, "train/source": {9: 1.0}})
    write_panel(folder, [100], scenes=1)
    diagnosis = {"classes": ["road"], "images": ["x"], "history": [{"step": 10, **COUNTS}]}
    (folder / "diagnosis.json").write_text(json.dumps(diagnosis))
    (folder / "embeddings").mkdir()
    summary = {"definition": "x", "measures": {"margin": "m"}, "rows": [{"class": "road"}]}
    (folder / "embeddings/summary.json").write_text(json.dumps(summary))
    return folder


def test_the_undamaged_run_is_taken(run: Path) -> None:
    assert write_report(run).is_file()


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", JSON_FILES)
def test_a_damaged_file_is_one_line(run: Path, name: str, damage: str) -> None:
    (run / name).write_bytes(DAMAGES[damage])
    with pytest.raises(InputError) as caught:
        write_report(run)
    assert str(caught.value).startswith(str(run / name))
    assert len(str(caught.value)) < 400
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    ("name", "keys", "value"),
    [
        ("run.json", ["seed"], "1"),
        ("run.json", ["seed"], True),
        ("run.json", ["overrides"], [1]),
        ("run.json", ["resumed"], [{}]),
        ("run.json", ["git"], {"commit": 5, "changed": []}),
        ("run.json", ["versions"], {"torch": 2.1}),
        ("run.json", ["config"], []),
        ("run.json", ["config", "seed"], 10**30),
        ("run.json", ["config", "seed"], "one"),
        ("run.json", ["config", "head"], None),
        ("run.json", ["config", "contrast"], "bank"),
        ("run.json", ["config", "trainer", "max_steps"], 10**18),
        ("run.json", ["config", "trainer", "max_steps"], float("inf")),
        ("run.json", ["config", "adapt", "contrast_start"], "never"),
        ("run.json", ["config", "adapt", "batch_norm"], "mixed"),
        ("scores.json", ["batch_norm"], "mixed"),
        ("scores.json", ["contrast_steps"], -1),
        ("scores.json", ["target"], {"mIoU": "50"}),
        ("scores.json", ["target"], {"mIoU": float("inf")}),
        ("scores.json", ["target"], {"mIoU": 1e9}),
        ("scores.json", ["target"], [50]),
        ("confusion.json", ["target"], [[1, 2]]),
        ("confusion.json", ["target"], [[1], [2]]),
        ("confusion.json", ["target"], [[1, -2], [3, 4]]),
        ("confusion.json", ["target"], [[1.5, 2], [3, 4]]),
        ("confusion.json", ["target"], [[10**400, 2], [3, 4]]),
        ("confusion.json", ["classes"], ["road"]),
        ("confusion.json", ["classes"], [str(number) for number in range(1000)]),
        ("pictures/panel.json", ["mixed"], 10**12),
        ("pictures/panel.json", ["mixed"], -1),
        ("pictures/panel.json", ["steps"], ["100"]),
        ("pictures/panel.json", ["steps"], [10**30]),
        ("pictures/panel.json", ["palette"], [[0, 0, 0]]),
        ("pictures/panel.json", ["palette"], [["0);background:url(http://x", 0, 0]] * 9),
        ("pictures/panel.json", ["scenes"], [{"name": "x"}]),
        ("pictures/panel.json", ["scenes"], [{"name": "x", "image": "a\0", "truth": None}]),
        ("embeddings/summary.json", ["rows"], [{"class": 5}]),
        ("embeddings/summary.json", ["rows"], [{"class": "road", "margin": "wide"}]),
        ("embeddings/summary.json", ["rows"], [{"class": "road", "margin": float("inf")}]),
        ("embeddings/summary.json", ["means"], {"margin": "wide"}),
        ("embeddings/summary.json", ["measures"], ["margin"]),
        ("diagnosis.json", ["classes"], ["road", "car"]),
        ("diagnosis.json", ["history"], [{"step": 10, "cells": [1]}]),
        ("diagnosis.json", ["history"], [{"step": -1, **COUNTS}]),
        ("diagnosis.json", ["history"], [{"step": 1, **COUNTS, "cells": [10**400]}]),
        ("diagnosis.json", ["history"], [{"step": 1, **COUNTS, "both": [3]}]),
    ],
)
def test_a_wrong_value_is_one_line(run: Path, name: str, keys: list[str], value: object) -> None:
    content = json.loads((run / name).read_text())
    node = content
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = value
    (run / name).write_text(json.dumps(content))
    with pytest.raises(InputError) as caught:
        write_report(run)
    assert str(caught.value).startswith(f"{run / name}: {keys[0].replace('classes', '')}")
    assert len(str(caught.value)) < 400
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "text", ["", "step,a\n1,x\n", "a,b\n1,2\n", "step,a\n1e9,2\n", "step,a\n1,2\n3", "\0" * 99]
)
def test_damaged_metrics_are_one_line(run: Path, text: str) -> None:
    (run / "metrics.csv").write_text(text)
    with pytest.raises(InputError, match=r"metrics.csv: .*restore it, or leave this run out"):
        write_report(run)


def test_huge_numbers_are_drawn_without_room_for_each_step(run: Path) -> None:
    huge = {0: 1e308, 5: 1e308, 9: -1e308, 999_999_999_999: 1e29}
    write_metrics(run, {"train/source": huge, "train/gradient": {1: 1e-300}})
    assert write_report(run).is_file()


@pytest.mark.parametrize("name", ["run.json", "scores.json", "metrics.csv"])
def test_compare_leaves_a_damaged_run_out(tmp_path: Path, name: str) -> None:
    make(tmp_path / "whole", 1, 50.0)
    damaged = make(tmp_path / "damaged", 2, 50.0)
    (damaged / name).write_text("<")
    found = sort_runs(find_runs([tmp_path]))
    assert [list(setting.runs) for setting in found.settings] == [[1]]
    assert [line.split(": ")[0] for line in found.left_out] == [str(damaged / name)]


@pytest.mark.parametrize("name", ["../../secret.png", "/etc/secret.png", "a/b.png", "..", ""])
def test_a_picture_from_elsewhere_is_refused(run: Path, tmp_path: Path, name: str) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    content = json.loads((run / "pictures/panel.json").read_text())
    content["scenes"][0]["image"] = name
    (run / "pictures/panel.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"scenes.0.image: must be the name of a file beside"):
        write_report(run)


@pytest.mark.parametrize("linked", ["file", "step", "pictures", "embeddings"])
def test_a_link_brings_nothing_from_elsewhere_onto_the_page(
    run: Path, tmp_path: Path, linked: str
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    names = ("scene_0.jpg", "scene_0_truth.png", "scene_0_student.png", "mixed_0.jpg")
    for name in names:
        Image.new("RGB", (7, 5), (1, 2, 3)).save(secret / name)
    (secret / "map.svg").write_text("<svg>secret</svg>")
    (secret / "panel.json").write_bytes((run / "pictures/panel.json").read_bytes())
    (secret / "summary.json").write_bytes((run / "embeddings/summary.json").read_bytes())
    place = {
        "file": run / "pictures/scene_0.jpg",
        "step": run / "pictures/step_00000100",
        "pictures": run / "pictures",
        "embeddings": run / "embeddings",
    }[linked]
    os.rename(place, tmp_path / "before")
    place.symlink_to(secret / "scene_0.jpg" if linked == "file" else secret)
    panel = panel_of(run / "pictures", Run(run).panel)
    assert panel is not None
    scene = panel.scenes[0]
    shown = [*scene.still, *scene.steps[100], *(one for place in panel.learnt for one in place)]
    assert (7, 5) not in {(picture.width, picture.height) for picture in shown}
    assert ("image/svg+xml" in write_report(run).read_text()) is False


def test_a_run_folder_may_itself_be_a_link(run: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(run)
    panel = panel_of(tmp_path / "link/pictures", Run(tmp_path / "link").panel)
    assert panel is not None
    assert len(panel.scenes[0].still) == 2


def bomb() -> bytes:
    """A PNG of a few bytes that claims 60000x60000 pixels."""
    import struct
    import zlib

    chunk = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    length, check = struct.pack(">I", 13), struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + length + chunk + check


def test_images_that_are_too_large_or_no_images_are_left_out(run: Path) -> None:
    pictures = run / "pictures"
    (pictures / "scene_0.jpg").write_bytes(bomb())
    Image.fromarray(np.zeros((8192, 6145), np.uint8)).save(pictures / "scene_0_truth.png")
    shot = pictures / "step_00000100"
    (shot / "scene_0_student.png").write_text("<svg/>")
    Image.new("I;16", (9, 9)).save(shot / "scene_0_teacher.png")
    panel = panel_of(pictures, Run(run).panel)
    assert panel is not None
    assert panel.scenes[0].still == []
    assert {picture.kind for picture in panel.scenes[0].steps[100]} <= {"teacher", "confidence"}
    assert write_report(run).is_file()


def test_a_narrow_image_is_made_small(run: Path) -> None:
    Image.new("RGB", (1, 300_000)).save(run / "pictures/scene_0.jpg", "png")
    panel = panel_of(run / "pictures", Run(run).panel)
    assert panel is not None
    assert (panel.scenes[0].still[0].width, panel.scenes[0].still[0].height) == (1, HIGHEST)


def test_a_folder_whose_name_is_no_text_has_a_report(tmp_path: Path) -> None:
    folder = write_run(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")))
    assert "caf\\udce9" in write_report(folder).read_text(encoding="utf-8")


def test_names_that_compute_or_mark_up_are_text_in_every_file(tmp_path: Path) -> None:
    hostile = ["=cmd|' /C calc'!A1", "<img src=x>", "a|b", "`x`", "[/red]", "@you", "ü\ud800"]
    for seed in (1, 2):
        folder = make(tmp_path / str(seed), seed, None, "+x=`|<b>", optim={"x": 1})
        write_scores(folder, {"mIoU": 9.0, **{f"IoU/{name}": 5.0 for name in hostile}})
    make(tmp_path / "other", 1, 9.0, "-y=2", optim={"x": 2})
    (make(tmp_path / "killed <b>|`", 3, None) / "scores.json").write_text("<")
    compare([str(tmp_path)], "-y=2", None)
    assert {row["setting"] for row in rows_of(tmp_path / "compare.csv")} == {"'+x=`|<b>", "'-y=2"}
    classes = {row["class"] for row in rows_of(tmp_path / "compare_classes.csv")}
    assert "'=cmd|' /C calc'!A1" in classes
    assert "'@you" in classes
    markdown = (tmp_path / "compare.md").read_text()
    assert "| `<img src=x>` |" in markdown
    assert r"| `a\|b` |" in markdown
    assert "| `` `x` `` |" in markdown
    page = (tmp_path / "compare.html").read_text()
    assert "<img" not in page
    assert "default-src 'none'" in page


def test_measures_of_other_settings_are_replaced_with_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = {"features": "encoder", "seed": 0, "definition": "x", "rows": []}
    write(tmp_path, summary, None, STREETS_CLASSES)
    write(tmp_path, summary, None, STREETS_CLASSES)
    assert capsys.readouterr().out == ""
    write(tmp_path, {**summary, "features": "fused"}, None, STREETS_CLASSES)
    assert f"replaced: {tmp_path}, whose measures had features=encoder" in capsys.readouterr().out
