"""`ablate` as users run it: real trainings, ended and gone on with, failed and tried again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ablations import suite_of, write_sample, write_suite
from command_line import SOURCE_ONLY, call, run
from compared_runs import rows_of

pytestmark = pytest.mark.slow

TINY = [
    *(word for word in SOURCE_ONLY if "max_steps" not in word and "progress" not in word),
    *("trainer.max_steps=2", "dataset=streets", "pictures=0"),
]
SETTINGS = {
    "source": ["adapt=none"],
    "group": ["adapt=none", "norm=group"],
    "refused": ["adapt=none", "optim.learning_rate=-1"],
}


def tiny_suite(folder: Path, **changed: object) -> Path:
    common = {"name": "tiny", "common": TINY, "controls": ["source"], "adabn": "source"}
    seeds = {"exploration": [1, 2], "confirmation": [3]}
    return write_suite(folder, **{**common, **seeds, "settings": SETTINGS, **changed})


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "name a suite: suite=<name in conf/ablation, or path of a YAML>"),
        (
            ["suite=nowhere"],
            "suite=nowhere: there is no such suite or file; name a YAML, or one of",
        ),
        (["suite=a b/suite.yaml", "only=[x]"], "only=x is no setting of small: source_only, mixed"),
        (["suite=a b/suite.yaml", "phase=late"], "phase=late must be exploration or confirmation"),
        (["suite=a b/suite.yaml", "jobs=0"], "jobs=0 must be"),
        (["suite=a b/suite.yaml", "table=true"], "no run of small with exploration seeds is fin"),
        (["suite=both/suite.yaml"], "seeds [1] are in exploration and in confirmation"),
        (["suite=a b/suite.yaml", "results=foreign.csv"], "foreign.csv: its first line must be"),
        (
            ["suite=a b/suite.yaml", "result=x"],
            "result: there is no such key; did you mean results",
        ),
    ],
)
def test_bad_input_gets_one_line_and_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], told: str
) -> None:
    write_suite(tmp_path / "a b")
    write_suite(tmp_path / "both", confirmation=[1])
    (tmp_path / "foreign.csv").write_text("a,b\n")
    error = call(monkeypatch, tmp_path, "ablate", *words)
    assert told in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "outputs").exists()


def test_the_table_is_drawn_without_running_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sample(tmp_path, suite_of(tmp_path))
    words = ("suite=suite.yaml", "results=results.csv", "output=out", "table=true")
    assert call(monkeypatch, tmp_path, "ablate", *words) == ""
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("exploration.md", "exploration.csv", "exploration.html")
    }
    printed = capsys.readouterr().out
    assert "+4.0 [-4.6, +12.6] (n = 3)" in printed
    assert (
        "Again: python -m sepico_pl.ablate suite=suite.yaml phase=exploration results=results.csv "
        "output=out" in printed
    )


def test_the_help_imports_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys, runpy\n"
        "sys.argv = ['ablate', '--help']\n"
        "try:\n    runpy.run_module('sepico_pl.ablate', run_name='__main__')\n"
        "except SystemExit:\n    pass\n"
        "assert 'torch' not in sys.modules and 'scipy' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "suite    Name of a file in conf/ablation" in done.stdout


def begin(folder: Path, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "sepico_pl.ablate", "suite=suite.yaml", "output=out", *words],
        cwd=folder,
        stdout=(folder / "said.log").open("a"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_until(happened: Callable[[], bool], folder: Path, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, (folder / "said.log").read_text()
        time.sleep(0.05)


def processes_in(folder: Path) -> list[str]:
    """Return the command lines of processes that run in a folder, zombies left out."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").resolve() == folder.resolve():
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it has ended
            continue
    return [line for line in found if line]


def rows_in(folder: Path) -> list[tuple[str, str, str]]:
    path = folder / "out" / "results.csv"
    rows = rows_of(path) if path.exists() else []
    return [(row["setting"], row["seed"], row["mIoU_target"]) for row in rows]


def trainings(folder: Path, run_name: str) -> int:
    """Return how often the training of a run was begun or gone on with."""
    log = folder / "out" / "logs" / f"{run_name}.log"
    return log.read_text().count("-m sepico_pl.train ") if log.exists() else 0


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite that was ended by SIGTERM, killed, gone on with, and has a setting that fails."""
    folder = tmp_path_factory.mktemp("interrupted")
    tiny_suite(folder)
    first = begin(folder, "jobs=1")
    wait_until(lambda: (folder / "out/runs/group/1/run.json").exists(), folder)
    first.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    for signum in (signal.SIGTERM, signal.SIGINT):  # the same end once more, as by GNU timeout
        first.send_signal(signum)
    assert first.wait(60) == 128 + signal.SIGTERM
    assert processes_in(folder) == []
    assert len(rows_in(folder)) == 1

    second = begin(folder, "jobs=2")
    wait_until(lambda: len(rows_in(folder)) >= 2, folder)
    wait_until(lambda: trainings(folder, "group_2") == 1, folder)
    os.kill(second.pid, signal.SIGKILL)
    second.wait()
    wait_until(lambda: processes_in(folder) == [], folder, 30)
    assert len(rows_in(folder)) in (2, 3)

    third = begin(folder, "jobs=2")
    assert third.wait(300) == 1, (folder / "said.log").read_text()
    return folder


def test_a_suite_goes_on_and_repeats_nothing_that_finished(interrupted: Path) -> None:
    rows = rows_in(interrupted)
    assert sorted(row[:2] for row in rows) == [
        *(("group", "1"), ("group", "2"), ("source", "1"), ("source", "2"))
    ]
    assert rows[0][:2] == ("source", "1")
    assert trainings(interrupted, "source_1") == 1
    assert trainings(interrupted, "group_1") == 2
    said = (interrupted / "said.log").read_text()
    assert said.count("begun: source seed 1\n") == 1
    assert "SIGTERM: the runs under way are saved; the same command goes on" in said
    assert not list((interrupted / "out").rglob("*.partial"))


def test_a_failing_setting_ends_nothing_else_and_is_tried_again(interrupted: Path) -> None:
    said = (interrupted / "said.log").read_text()
    assert "failed: refused seed 1: error: optim.learning_rate=-1 must be" in said
    assert said.rstrip().splitlines()[-1].startswith("error: 2 failed, see above: refused seed 1, ")
    assert trainings(interrupted, "refused_1") >= 2
    assert "Incomplete: refused lacks seeds 1, 2." in said


def test_rows_tell_how_they_came_about(interrupted: Path) -> None:
    rows = {(row["setting"], row["seed"]): row for row in rows_of(interrupted / "out/results.csv")}
    source = rows["source", "1"]
    assert source["phase"] == "exploration"
    assert source["overrides"].startswith("adapt=none data.batch_size=2 'data.crop_size=")
    assert source["machine"].endswith(", 1 thread")
    assert float(source["seconds"]) > 0
    assert 200 < float(source["memory_mb"]) < 8000
    assert source["mIoU_running"] != source["mIoU_target"]
    group = rows["group", "2"]  # no batch norm: both policies are one
    assert group["mIoU_running"] == group["mIoU_target"]
    assert {"road", "sky"} <= set(json.loads(source["classes_target"]))


def test_changed_overrides_are_run_again_and_the_old_rows_stay(
    interrupted: Path,
) -> None:
    before = rows_in(interrupted)
    changed = {**SETTINGS, "source": ["adapt=none", "trainer.max_steps=3"]}
    tiny_suite(interrupted, settings=changed)
    done = run(
        "ablate", "suite=suite.yaml", "output=out", "only=[source]", "jobs=2", cwd=interrupted
    )
    assert done.returncode == 0, done.stderr
    assert "not used, its setting has other overrides now: source seed 1" in done.stdout
    assert "runs/source/1 holds a run with other overrides: it is 1.earlier_1 now" in done.stdout
    after = rows_in(interrupted)
    assert after[: len(before)] == before
    assert sorted(row[:2] for row in after[len(before) :]) == [("source", "1"), ("source", "2")]
    again = run("ablate", "suite=suite.yaml", "output=out", "only=source", cwd=interrupted)
    assert "2 of 2 runs are finished" in again.stdout
    assert rows_in(interrupted) == after
