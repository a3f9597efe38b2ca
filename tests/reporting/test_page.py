import json
import re
from pathlib import Path

import numpy as np
import pytest
from command_line import SOURCE_ONLY, TINY, call
from sample_runs import (
    write_confusion,
    write_metrics,
    write_panel,
    write_run,
    write_scores,
)

from sepico_pl.reporting.page import SECTIONS, write_report
from sepico_pl.reporting.page_curves import POINTS, charts, curves_of
from sepico_pl.reporting.page_diagnosis import diagnosis_of
from sepico_pl.reporting.page_scores import class_scores, confusion_rows, means
from sepico_pl.reporting.page_settings import differences
from sepico_pl.reporting.runs import Run, open_run
from sepico_pl.types import InputError

HOSTILE = "<script>alert(1)</script>"


def text_of(page: Path) -> str:
    """Return what stands on a page: without elements, styles and scripts, blanks made single."""
    body = page.read_text().partition("<body>")[2].partition("<script>")[0]
    return " ".join(re.sub(r"<svg.*?</svg>|<[^>]*>", " ", body, flags=re.DOTALL).split())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny adapted run and a source-only one."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        logged = "trainer.log_every_n_steps=1"
        assert call(patch, folder, "train", *TINY, logged, "hydra.run.dir=adapted") == ""
        source = [*SOURCE_ONLY, logged, "adapt=none", "hydra.run.dir=source"]
        assert call(patch, folder, "train", *source) == ""
    return folder


def test_a_real_run_beside_its_baseline(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["run=adapted", "baseline=source", "output=pages/report.html"]
    assert call(monkeypatch, trained, "report", *arguments) == ""
    text = text_of(trained / "pages/report.html")
    score, before = (
        json.loads((trained / name / "scores.json").read_text())["target"]["mIoU"]
        for name in ("adapted", "source")
    )
    assert f"mIoU {score:.1f}" in text
    assert f"over the baseline's {before:.1f}" in text
    for title in ("Target mIoU", "Losses", "Contrast", "Margins", "Learning rates"):
        assert f"Numbers of {title}" in text
    assert "adapt.confidence_threshold" in text
    assert "steps 3 of 3" in text


def test_every_logged_column_is_shown(trained: Path) -> None:
    run = open_run(trained / "adapted")
    drawn = {series.name for chart in charts(run, None) for series in chart.series}
    shown = {re.sub("^(train|val/target)/", "", name) for name in run.curves}
    per_class = {name for name in shown if name.startswith("IoU/")}
    assert drawn == shown - per_class - {"epoch"}
    assert {f"IoU/{one.name}" for one in class_scores(run, None) if one.spoken} == per_class


def test_scores_and_gains(tmp_path: Path) -> None:
    run = Run(write_run(tmp_path / "run"))
    names = ["road", "car", "tram"]
    write_confusion(run.folder, names, np.eye(3, dtype=int).tolist())
    write_scores(run.folder, {"mIoU": 60.0, "IoU/road": 80.0, "IoU/car": 40.0})
    write_metrics(
        run.folder,
        {
            "val/target/mIoU": {99: 50.0, 199: 65.0, 299: 60.0},
            "val/target/IoU/road": {99: 75.0, 199: 100.0, 299: 80.0},
        },
    )
    baseline = Run(write_run(tmp_path / "baseline"))
    write_scores(baseline.folder, {"mIoU": 45.5, "IoU/road": 83.0})
    (mean,) = means(run, baseline)
    assert mean == ("mIoU", 60.0, 65.0, 200, 45.5)
    road, car, tram = class_scores(run, baseline)
    assert (road.difference, car.difference, tram.difference) == (-3.0, None, None)
    assert (road.score, car.score, tram.score) == (80.0, 40.0, None)
    assert road.history == "0.0,6.0 50.0,0.0 100.0,4.8"
    assert road.spoken == "75.0 at step 100, 100.0 at step 200, 80.0 at step 300"
    text = text_of(write_report(run.folder, baseline.folder))
    assert "mIoU 60.0 % +14.5 over the baseline's 45.5" in text
    assert "best 65.0 at step 200" in text
    assert "road 80.0 -3.0 83.0" in text
    assert "tram - - -" in text


def test_means_over_subsets_stand_instead_of_the_plain_one(tmp_path: Path) -> None:
    run = Run(write_run(tmp_path))
    write_scores(tmp_path, {"mIoU": 40.0, "mIoU19": 40.0, "mIoU16": 41.0, "mIoU13": 45.0})
    assert [mean.name for mean in means(run, None)] == ["mIoU19", "mIoU16", "mIoU13"]


def test_rows_of_the_confusion_matrix_add_up_to_100(tmp_path: Path) -> None:
    run = Run(write_run(tmp_path))
    write_confusion(tmp_path, ["road", "car", "tram"], [[30, 10, 0], [1, 2, 5], [0, 0, 0]])
    road, car, tram = confusion_rows(run)
    assert [cell.share for cell in road.cells] == [75.0, 25.0, 0.0]
    assert [cell.share for cell in car.cells] == [12.5, 25.0, 62.5]
    assert (tram.pixels, tram.cells) == (0, [])
    assert "tram does not occur 0" in text_of(write_report(tmp_path))


def test_curves_hold_finite_values(tmp_path: Path) -> None:
    run = Run(write_run(tmp_path))
    losses = {9: 2.0, 19: float("nan"), 29: float("inf"), 39: 1.0}
    write_metrics(tmp_path, {"train/source": losses, "train/target": {9: float("nan")}})
    assert curves_of(run) == {"train/source": ([10, 40], [2.0, 1.0])}


def test_an_unknown_column_gets_a_chart_of_its_own(tmp_path: Path) -> None:
    run = Run(write_run(tmp_path))
    write_metrics(tmp_path, {"train/source": {9: 1.0}, "train/of_the_future": {9: 3.0, 19: 4.5}})
    losses, other = charts(run, None)
    assert (losses.title, other.title) == ("Losses", "train/of_the_future")
    assert other.series == [("of_the_future", 3.0, 4.5, 3.0, 4.5)]
    assert "from 3 to 4.5" in other.svg


def test_a_long_curve_is_drawn_as_means_of_neighbours(tmp_path: Path) -> None:
    run = Run(write_run(tmp_path, {"trainer": {"max_steps": 10000, "log_every_n_steps": 1}}))
    write_metrics(tmp_path, {"train/source": {step: step % 2 for step in range(10000)}})
    (chart,) = charts(run, None)
    (line,) = re.findall(r'<path d="([^"]*)" clip-path', chart.svg)[-1:]
    heights = {round(float(y), 3) for y in re.findall(r"[ML] \S+ (\S+)", line)}
    assert len(re.findall("[ML]", line)) <= POINTS
    assert len(heights) == 1, "every mean is 0.5"


def test_what_others_wrote_is_text(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a&b <i>", {"name": HOSTILE}, host=HOSTILE)
    write_confusion(folder, [HOSTILE, "car"], [[1, 2], [3, 4]])
    write_metrics(folder, {f"val/target/IoU/{HOSTILE}": {9: 1.0, 19: 2.0}, HOSTILE: {9: 1.0}})
    page = write_report(folder).read_text()
    assert HOSTILE not in page
    assert "<i>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert page.count("<script>") == 1


def test_nothing_is_fetched(tmp_path: Path) -> None:
    folder = write_run(tmp_path)
    write_panel(folder, [100])
    page = write_report(folder).read_text()
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert {address[:1] for address in addresses} == {"#", "d"}
    assert all(address.startswith(("#", "data:")) for address in addresses)
    assert "url(http" not in page


def test_what_is_absent_is_said_in_its_place(tmp_path: Path) -> None:
    text = text_of(write_report(write_run(tmp_path)))
    assert "has not come to its end: 0 of 300 steps" in text
    for sentence in (
        "It was not judged before it ended.",
        "No class was judged.",
        "Nothing is logged in metrics.csv",
        "There is none: it is counted at the end",
        "No pictures were kept;",
        "only self-training mixes images",
        "Not analysed;",
    ):
        assert sentence in text


def test_a_killed_run_shows_its_last_judging(tmp_path: Path) -> None:
    folder = write_run(tmp_path)
    columns = {"train/source": {9: 2.0, 209: 1.0}, "val/target/mIoU": {99: 20.0, 199: 30.0}}
    write_metrics(folder, columns)
    text = text_of(write_report(folder))
    assert "has not come to its end: 210 of 300 steps" in text
    assert "30.0 % last judging; best 30.0 at step 200" in text


def test_a_finished_run_without_target_labels(tmp_path: Path) -> None:
    folder = write_run(tmp_path)
    (folder / "last.ckpt").touch()
    text = text_of(write_report(folder))
    assert "There are no labelled target images" in text
    assert "has not come to its end" not in text


def test_the_embedding_space_once_analysed(tmp_path: Path) -> None:
    folder = write_run(tmp_path)
    (folder / "embeddings").mkdir()
    summary = {
        "definition": "Distances as in this sentence.",
        "rows": [{"class": "road", "margin": 0.25}, {"class": "tram", "margin": None}],
        "measures": {"margin": "similarity to the own class less that to another"},
        "means": {"margin": 0.25},
    }
    (folder / "embeddings/summary.json").write_text(json.dumps(summary))
    drawing = '<svg aria-label="a &lt;map&gt;" xmlns="http://www.w3.org/2000/svg"/>'
    (folder / "embeddings/map.svg").write_text(drawing.replace("/>", "><g/></svg>"))
    page = write_report(folder)
    text = text_of(page)
    assert "Distances as in this sentence." in text
    assert "road 0.250 tram - mean 0.250" in text
    assert 'src="data:image/svg+xml;base64,' in page.read_text()
    assert 'alt="a &lt;map&gt;"' in page.read_text()


def test_the_diagnosis_of_a_run(tmp_path: Path) -> None:
    folder = write_run(tmp_path)
    columns = {"diagnosis/gradient/encoder/mixed": {99: 0.5, 199: 0.25}}
    columns |= {"diagnosis/gradient/encoder/target_contrast": {199: 0.125}}
    columns |= {"diagnosis/accuracy/concept": {199: 60.0}, "train/source": {9: 1.0}}
    write_metrics(folder, columns)
    measured = {"cells": [200, 0, 8], "concept": [150, 0, 1], "head": [100, 0, 8]}
    last = {"step": 200, **measured, "both": [90, 0, 1]}
    history = [{**last, "step": 100, "cells": [999, 0, 9]}, last]
    content = {"classes": ["road", "tram", "car"], "images": ["x"], "latest": 200}
    (folder / "diagnosis.json").write_text(json.dumps({**content, "history": history}))
    found = diagnosis_of(Run(folder))
    assert found is not None
    assert [chart.title for chart in found.charts] == [
        "Gradients on the encoder",
        "Accuracy of concepts and head",
    ]
    assert found.charts[0].series == [
        ("mixed", 0.5, 0.25, 0.25, 0.5),
        ("target_contrast", 0.125, 0.125, 0.125, 0.125),
    ]
    assert found.rows == [
        ("road", 200, 75.0, 50.0, 30.0, 5.0),
        ("car", 8, 12.5, 100.0, 0.0, 87.5),
    ]
    assert [chart.title for chart in charts(Run(folder), None)] == ["Losses"]
    text = text_of(write_report(folder))
    assert "road 200 75.0 50.0 30.0 5.0 car 8 12.5 100.0 0.0 87.5" in text
    assert "Step 200, 1 target images" in text


def test_settings_that_differ_from_the_baseline(tmp_path: Path) -> None:
    run = Run(write_run(tmp_path / "run"))
    baseline = Run(write_run(tmp_path / "baseline", {"contrast": None, "seed": 2}))
    assert differences(run, baseline) == {
        "contrast": ("null", "(absent)"),
        "contrast._target_": ("(absent)", "sepico_pl.contrast.modes.BankContrast"),
        "contrast.temperature": ("(absent)", "0.1"),
        "seed": ("2", "1"),
    }
    assert differences(run, None) == {}


def test_resumptions_are_listed(tmp_path: Path) -> None:
    resumed = {"checkpoint": "step_00000100.ckpt", "time": "later", "command": ["x", "a b"]}
    resumed |= {"host": "another", "threads": 2, "git": None}
    text = text_of(write_report(write_run(tmp_path, resumed=[resumed])))
    assert "resumed from step_00000100.ckpt time later command x &#39;a b&#39; host another" in text
    assert "1 changed files M sepico_pl/module.py" in text


def test_a_report_is_written_anew_but_replaces_nothing_else(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    page = write_report(folder)
    write_scores(folder, {"mIoU": 12.3})
    assert write_report(folder) == page == folder / "report.html"
    assert "mIoU 12.3" in text_of(page)
    other = tmp_path / "notes.html"
    other.write_text("<!doctype html>mine")
    with pytest.raises(InputError, match="is there and no report"):
        write_report(folder, output=other)
    assert other.read_text() == "<!doctype html>mine"
    assert {path.name for path in folder.iterdir()} == {"run.json", "scores.json", "report.html"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run=nowhere"], "run=nowhere: there is no run.json in it; name the folder of one run"),
        (["run=run", "baseline=nowhere"], "baseline=nowhere: there is no run.json"),
        (["run=2024"], "run=2024: there is no run.json"),
        (["run=[a]"], "run=[a]: there is no run.json"),
        (["run=run", "baseline=1e3"], "baseline=1e3: there is no run.json"),
        ([], "run is not set: give it as run=<value>"),
        (["run=run", "output=run"], "output=run is a folder; name a file in it"),
        (["run=run", "output=run/run.json"], "is there and no report"),
        (["run=run", "output=run/run.json/page.html"], "run.json: File exists"),
    ],
)
def test_one_line_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    write_run(tmp_path / "run")
    error = call(monkeypatch, tmp_path, "report", *arguments)
    assert error.startswith("error: ")
    assert words in error
    assert "\n" not in error


def test_help_has_an_example(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call(monkeypatch, tmp_path, "report", "--help")
    printed = capsys.readouterr().out
    assert "Example:" in printed
    assert "python -m sepico_pl.report run=outputs/" in printed
    assert "baseline" in printed


def test_sections_have_their_places(tmp_path: Path) -> None:
    folder = write_run(tmp_path)
    assert 'id="diagnosis"' not in write_report(folder).read_text()
    write_metrics(folder, {"diagnosis/cosine/encoder": {9: 0.5}})
    page = write_report(folder).read_text()
    for anchor, title in SECTIONS.items():
        assert f'<h2 id="{anchor}">{title}</h2>' in page
        assert f'<a href="#{anchor}">{title}</a>' in page
