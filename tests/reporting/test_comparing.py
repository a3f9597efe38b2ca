"""Comparing runs: which are one setting, what they are called, and the numbers over seeds."""

import csv
import math
from pathlib import Path

import pytest
from browser import chromium, violations
from command_line import TINY, call, run
from sample_runs import CONFIG, write_metrics, write_run, write_scores

from sepico_pl.reporting.comparing import compare
from sepico_pl.reporting.comparing_cells import summary_cells
from sepico_pl.reporting.comparing_settings import chosen, sort_runs
from sepico_pl.reporting.comparing_statistics import paired, spread
from sepico_pl.reporting.runs import find_runs

# Overrides and the keys of the configuration that they stand for.
PARTS = {
    "contrast=bank": {},
    "contrast=prototype": {
        "contrast": {"_target_": "sepico_pl.contrast.modes.PrototypeContrast", "temperature": 0.1}
    },
}


def make(
    folder: Path,
    seed: int,
    score: float | None,
    *typed: str,
    time: str = "2026-01-31T12:00:00+00:00",
    images: str = "abc",
    **config: object,
) -> Path:
    """Write a run that was given these overrides, and reached this mIoU if it has ended."""
    parts = {key: value for word in typed for key, value in PARTS.get(word, {}).items()}
    overrides = [*typed, f"seed={seed}"]
    content = {"seed": seed, **parts, **config}
    write_run(folder, content, overrides=overrides, time=time, images=images)
    if score is not None:
        write_scores(folder, {"mIoU": score, "IoU/road": score + 1})
    return folder


def sorted_in(folder: Path):
    return sort_runs(find_runs([folder]))


def names_in(folder: Path) -> list[str]:
    return [setting.name for setting in sorted_in(folder).settings]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_mean_and_deviation_are_those_of_the_seeds() -> None:
    found = spread({1: 10.0, 2: 12.0, 3: 17.0})
    assert found is not None
    assert found.mean == pytest.approx(13)
    assert found.deviation == pytest.approx(math.sqrt((9 + 1 + 16) / 2))
    assert spread({4: 7.0}) == ([7.0], 7.0, None)
    assert spread({}) is None


def test_the_paired_test_equals_the_closed_forms_of_students_distribution() -> None:
    three = paired({1: 11.0, 2: 22.0, 3: 33.0}, {3: 30.0, 2: 20.0, 1: 10.0})
    t = 2 * math.sqrt(3)  # differences 1, 2, 3: mean 2, deviation 1
    assert three is not None
    assert three[:2] == (2.0, 3)
    assert three.p == pytest.approx(1 - t / math.sqrt(t * t + 2))
    two = paired({1: 11.0, 2: 23.0, 9: 50.0}, {1: 10.0, 2: 20.0, 8: 1.0})
    assert two is not None
    assert two[:2] == (2.0, 2)  # differences 1, 3: t = 2 / (sqrt(2) / sqrt(2))
    assert two.p == pytest.approx(1 - 2 / math.pi * math.atan(2))


def test_what_cannot_be_tested_has_no_p() -> None:
    assert paired({1: 5.0, 2: 6.0}, {2: 5.0, 3: 6.0}) is None
    assert paired({1: 5.0, 2: 6.0}, {1: 4.0, 2: 5.0}) == (1.0, 2, None)


def test_seeds_of_one_configuration_are_one_setting_named_by_what_distinguishes_it(
    tmp_path: Path,
) -> None:
    for seed in (1, 2):
        for typed in ((), ("contrast=bank",), ("contrast=prototype",)):
            words = ("trainer.max_steps=300", *typed)
            weight = {"weight": len(typed)}  # what was typed differs from what was not
            make(tmp_path / f"{typed}{seed}", seed, 40.0 + seed, *words, optim=weight)
    found = sorted_in(tmp_path)
    assert {setting.name: list(setting.runs) for setting in found.settings} == {
        "default": [1, 2],
        "contrast=bank": [1, 2],
        "contrast=prototype": [1, 2],
    }
    assert found.shared == ["trainer.max_steps=300"]
    assert found.left_out == []


def test_where_overrides_do_not_tell_settings_apart_keys_do(tmp_path: Path) -> None:
    for policy in ("running", "target"):
        adapt = {**CONFIG["adapt"], "batch_norm": policy}
        make(tmp_path / policy, 1, 40.0, "contrast=bank", adapt=adapt)
    make(tmp_path / "other", 1, 40.0, "contrast=prototype")
    assert names_in(tmp_path) == [
        "contrast=prototype",
        "contrast=bank (adapt.batch_norm=running)",
        "contrast=bank (adapt.batch_norm=target)",
    ]


@pytest.mark.parametrize(
    "config",
    [
        {"name": "another"},
        {"logger": {"wandb": {"_target_": "sepico_pl.loggers.wandb_logger"}}},
        {"data_root": "/elsewhere"},
        {"dataset": {**CONFIG["dataset"], "root": "/moved/to"}},
        {"trainer": {**CONFIG["trainer"], "accelerator": "gpu"}},
    ],
)
def test_what_shapes_no_score_separates_nothing(tmp_path: Path, config: dict) -> None:
    plain = {"dataset": {**CONFIG["dataset"], "root": "/data"}}
    make(tmp_path / "a", 1, 40.0, **plain)
    make(tmp_path / "b", 2, 41.0, "name=another", **{**plain, **config})
    assert names_in(tmp_path) == ["default"]


@pytest.mark.parametrize(
    ("difference", "name"),
    [
        ({"start": "/some.ckpt"}, "default (start=/some.ckpt)"),
        ({"data": {"batch_size": 8}}, "default (data.batch_size=8)"),
        ({"images": "other"}, "default (images=other)"),
    ],
)
def test_what_may_shape_scores_separates(tmp_path: Path, difference: dict, name: str) -> None:
    make(tmp_path / "a", 1, 40.0)
    make(tmp_path / "b", 2, 41.0, **difference)
    assert names_in(tmp_path)[1] == name


def test_of_two_runs_with_one_seed_the_newest_counts_and_the_other_is_named(
    tmp_path: Path,
) -> None:
    make(tmp_path / "a", 1, 50.0, time="2026-02-02T00:00:00+00:00")
    old = make(tmp_path / "b", 1, 40.0, time="2026-02-01T00:00:00+00:00")
    make(tmp_path / "c", 2, 60.0)
    found = sorted_in(tmp_path)
    assert found.settings[0].last("mIoU") == {1: 50.0, 2: 60.0}
    assert [line.split(":")[0] for line in found.left_out] == [str(old)]


def test_runs_without_scores_are_named_and_left_out(tmp_path: Path) -> None:
    make(tmp_path / "whole", 1, 50.0)
    make(tmp_path / "killed", 2, None)
    (make(tmp_path / "unlabelled", 3, None) / "last.ckpt").touch()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "run.json").write_text('{"overrides": []}')
    found = sorted_in(tmp_path)
    assert list(found.settings[0].runs) == [1]
    reasons = {
        Path(line.split(":")[0]).relative_to(tmp_path).parts[0]: line for line in found.left_out
    }
    assert "still running or was killed" in reasons["killed"]
    assert "no labelled target" in reasons["unlabelled"]
    assert "earlier version" in reasons["old"]


def test_best_is_the_highest_logged_judging_and_last_the_final_one(tmp_path: Path) -> None:
    for seed, course in ((1, (30.0, 50.0, 40.0)), (2, (20.0, 10.0, 30.0))):
        folder = make(tmp_path / str(seed), seed, course[-1])
        judged = {99 + 100 * index: value for index, value in enumerate(course)}
        write_metrics(folder, {"train/source": {5: 1.0}, "val/target/mIoU": judged})
    (line,) = compare([str(tmp_path)], None, None).lines
    assert line.best is not None
    assert (line.last.mean, line.best.mean) == (35.0, 40.0)


def test_a_class_that_some_runs_lack_counts_those_that_have_it(tmp_path: Path) -> None:
    for seed, scores in ((1, {"mIoU": 9.0, "IoU/bus": 4.0}), (2, {"mIoU": 9.0})):
        write_scores(make(tmp_path / str(seed), seed, None), scores)
    assert compare([str(tmp_path)], None, None).classes["bus"]["default"] == ([4.0], 4.0, None)
    assert rows_of(tmp_path / "compare_classes.csv")[0]["n"] == "1"


def test_subsets_of_classes_are_scores_of_their_own(tmp_path: Path) -> None:
    write_scores(make(tmp_path / "a", 1, None), {"mIoU": 9.0, "mIoU19": 9.0, "mIoU16": 8.0})
    lines = compare([str(tmp_path)], None, None).lines
    assert [(line.score, line.last.mean) for line in lines] == [
        ("mIoU", 9.0),
        ("mIoU19", 9.0),
        ("mIoU16", 8.0),
    ]


def test_a_baseline_is_chosen_by_its_name_or_a_part_that_no_other_has(tmp_path: Path) -> None:
    make(tmp_path / "a", 1, 1.0, "contrast=bank")
    make(tmp_path / "b", 1, 1.0, "contrast=bank", "optim=x", optim={"_target_": "x"})
    make(tmp_path / "c", 1, 1.0, "contrast=prototype")
    settings = sorted_in(tmp_path).settings
    assert chosen("contrast=bank", settings).name == "contrast=bank"  # the whole name of one
    assert chosen("proto", settings).name == "contrast=prototype"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "name the folders of the runs to compare: python -m sepico_pl.compare outputs/"),
        (["nowhere"], "nowhere: there is no such folder"),
        (["empty"], "empty: no run lies in or below it"),
        (["runs", "baseline=contrast="], "several names: choose one of: contrast=bank; contrast=p"),
        (["runs", "baseline=xyz"], "baseline=xyz is part of no setting's name: choose one of: "),
        (["killed"], "no run to compare: killed: no scores yet"),
        (["runs", "output=file"], "file: File exists; there is a file of this name"),
        (["runs", "basline=x"], "basline"),
    ],
)
def test_bad_input_gets_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], told: str
) -> None:
    make(tmp_path / "runs" / "a", 1, 1.0, "contrast=bank")
    make(tmp_path / "runs" / "b", 1, 1.0, "contrast=prototype")
    make(tmp_path / "killed", 1, None)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    error = call(monkeypatch, tmp_path, "compare", *words)
    assert told in error
    assert len(error.splitlines()) == 1


def test_the_command_takes_folders_of_any_name_and_leaves_them_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = tmp_path / "a=b, [it's] \\ {x}"
    for seed in (1, 2, 3):
        make(first / f"bank{seed}", seed, 40.0 + seed, "contrast=bank")
        make(tmp_path / "second" / str(seed), seed, 42.0 + 2 * seed, "contrast=prototype")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    words = (first.name, "second", "baseline=contrast=bank", "output=out")
    assert call(monkeypatch, tmp_path, "compare", *words) == ""
    assert all(path.read_bytes() == content for path, content in before.items())
    made = {path.name for path in tmp_path.rglob("*") if path.is_file() and path not in before}
    assert made == {"compare.csv", "compare_classes.csv", "compare.md", "compare.html"}

    bank, prototype = rows_of(tmp_path / "out" / "compare.csv")
    assert (bank["setting"], bank["seeds"], bank["p"]) == ("contrast=bank", "1 2 3", "")
    assert float(prototype["difference"]) == pytest.approx(4)  # 3, 4, 5
    t = 4 * math.sqrt(3)
    assert float(prototype["p"]) == pytest.approx(1 - t / math.sqrt(t * t + 2))
    printed = capsys.readouterr().out
    row = "| mIoU | `contrast=prototype` | 1 2 3 | 46.0 ± 2.0 | - | +4.0 | 3 | 0.020 |"
    assert row in (tmp_path / "out" / "compare.md").read_text(encoding="utf-8")
    assert "46.0 ± 2.0" in printed
    assert "target labels" in printed


def test_a_difference_of_nothing_has_no_sign(tmp_path: Path) -> None:
    for seed in (1, 2):
        make(tmp_path / f"a{seed}", seed, 40.0 + seed, "contrast=bank")
        make(tmp_path / f"b{seed}", seed, 39.99 + 1.001 * seed, "contrast=prototype")
    cells = summary_cells(compare([str(tmp_path)], "contrast=bank", None))
    assert cells[1][5] == "+0.0"


def test_the_page_stands_alone_reads_on_a_phone_and_escapes_what_it_shows(tmp_path: Path) -> None:
    for seed in (1, 2):
        for index in range(4):
            word = f"name_{index}=<b>{'x' * 30 * index}</b>"
            make(tmp_path / f"{index}{seed}", seed, 40.0 + seed * index, word, optim={"x": index})
    make(tmp_path / "killed", 9, None)
    compare([str(tmp_path)], "name_0", None)
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((tmp_path / "compare.html").as_uri())
        assert len(asked) == 1
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.locator("tbody th b").count() == 0
        assert page.locator("tbody th").nth(1).inner_text().startswith("name_1=<b>")
        assert page.locator(".dots circle").count() == 8
        assert "killed" in page.locator(".absent").inner_text()
        assert violations(page) == []


@pytest.fixture(scope="module")
def multirun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of two contrasts with two seeds each, trained one after the other."""
    folder = tmp_path_factory.mktemp("multirun")
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert call(monkeypatch, folder, "train", *sweep("serial")) == ""
    return folder / "serial"


def sweep(folder: str, contrasts: str = "prototype,bank") -> list[str]:
    directory = [f"hydra.sweep.dir={folder}", "hydra.sweep.subdir='${hydra.job.num}'"]
    return ["-m", f"contrast={contrasts}", "seed=1,2", *TINY, *directory]


def test_a_real_multirun_is_compared(multirun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = f"output={multirun.parent / 'compared'}"
    assert call(monkeypatch, multirun.parent, "compare", "serial", "baseline=bank", output) == ""
    rows = rows_of(multirun.parent / "compared" / "compare.csv")
    assert [row["setting"] for row in rows] == ["contrast=prototype", "contrast=bank"]
    assert {row["seeds"] for row in rows} == {"1 2"}
    for row in rows:
        assert float(row["best_mean"]) >= float(row["last_mean"]) - 1e-6
    classes = rows_of(multirun.parent / "compared" / "compare_classes.csv")
    assert len({row["class"] for row in classes}) == 9


@pytest.mark.slow
def test_parallel_jobs_give_what_serial_ones_do(multirun: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    folder = multirun.parent
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    done = run("train", *sweep("parallel", "bank"), *launcher, cwd=folder)
    assert done.returncode == 0, done.stderr
    for job, same in (("0", "2"), ("1", "3")):
        serial, parallel = multirun / same, folder / "parallel" / job
        for name in ("scores.json", "confusion.json"):
            assert (serial / name).read_bytes() == (parallel / name).read_bytes()
        assert untimed(serial / "metrics.csv") == untimed(parallel / "metrics.csv")


def untimed(path: Path) -> list[dict[str, str]]:
    return [
        {key: value for key, value in row.items() if "per_second" not in key}
        for row in rows_of(path)
    ]
