"""The comparing command: its messages, files and page, and multiruns of real trainings."""

import math
from pathlib import Path

import pytest
from browser import chromium, violations
from command_line import TINY, call, run
from compared_runs import make, rows_of

from sepico_pl.reporting.comparing import compare

pytestmark = pytest.mark.slow


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


def test_real_runs_that_a_setting_did_not_change_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = [*TINY, "trainer.log_every_n_steps=1"]
    settings = {
        "self": ["adapt=self_training"],
        "late": ["contrast=bank", "adapt.contrast_start=3"],
        "zero": ["contrast=prototype", "contrast.weight=0"],
        "full": ["contrast=prototype"],
    }
    for name, words in settings.items():
        assert call(monkeypatch, tmp_path, "train", *tiny, *words, f"hydra.run.dir={name}") == ""
    comparison = compare([str(tmp_path)], None, None)
    together = {
        run.folder.name
        for name in comparison.same[0].settings
        for run in comparison.setting(name).runs.values()
    }
    assert [same.seeds for same in comparison.same] == [[1]]
    assert together == {"self", "late", "zero"}


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
