"""Files that are whole or absent, and what is saved of those that a disk damaged."""

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sepico_pl.json_files import load_json
from sepico_pl.loggers import CSVMetrics, forget_after, run_id
from sepico_pl.record import write_record
from sepico_pl.tables import (
    check_writable,
    read_rows,
    remove_leftovers,
    salvage_rows,
    write_json,
    write_rows,
    written_whole,
)
from sepico_pl.types import InputError

ROWS = {str(step): {"train/source": f"{step}.5", "val/target/mIoU": "50.25"} for step in range(4)}


def test_leftovers_of_dead_processes_go_and_what_is_being_written_stays(tmp_path: Path) -> None:
    (tmp_path / "ids").mkdir()
    dead = [tmp_path / "ids/.a.png.4194303.partial", tmp_path / "step_00000009.ckpt.partial"]
    alive = tmp_path / "ids" / f".b.png.{os.getppid()}.partial"
    for path in (*dead, alive, tmp_path / "ids/c.png"):
        path.touch()
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == [alive.name, "c.png"]


def test_a_file_that_cannot_be_written_is_named_and_not_its_partial(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 250)  # the name beside it is longer than names can be
    with pytest.raises(OSError, match="too long") as caught:
        write_json(path, {})
    assert caught.value.filename == str(path)


def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    flush, rename = os.fsync, Path.replace

    def noted_flush(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        done.append("folder" if is_folder else f"file of {os.fstat(descriptor).st_size}")
        flush(descriptor)

    def noted_rename(path: Path, to: Path) -> Path:
        done.append("rename")
        return rename(path, to)

    monkeypatch.setattr(os, "fsync", noted_flush)
    monkeypatch.setattr(Path, "replace", noted_rename)
    write_json(tmp_path / "run.json", [1])
    assert done == ["file of 8", "rename", "folder"]


def test_two_processes_do_not_share_a_half_written_file(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    program = f"from sepico_pl.tables import *; write_json(Path({str(path)!r}), 'theirs' * 99)"
    with written_whole(path) as partial:
        assert partial.name.endswith(".partial")
        partial.write_text('"ours"')
        subprocess.run([sys.executable, "-c", program], check=True)
        assert json.loads(path.read_text()) == "theirs" * 99
        assert partial.read_text() == '"ours"'
    assert path.read_text() == '"ours"'
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_writer_leaves_nothing_for_a_resumed_run(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write_rows(path, ROWS)
    (tmp_path / ".metrics.csv.4194303.partial").write_text("step,")
    forget_after(path, 2)
    assert list(read_rows(path)) == ["0", "1"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("damage", "kept"),
    [
        (lambda text: "", []),
        (lambda text: text[:-9], ["0", "1", "2"]),
        (lambda text: text[: text.index("2.5") + 1], ["0", "1"]),
        (lambda text: text.replace("1.5", "one"), ["0", "2", "3"]),
        (lambda text: text.replace("\n1,", "\n-1,"), ["0", "2", "3"]),
        (lambda text: text.replace("\n1,", f"\n{'9' * 5000},"), ["0", "2", "3"]),
        (lambda text: text.replace("1.5", "1.5,7,8"), ["0", "2", "3"]),
        (lambda text: text.replace("1.5", "1\x005"), ["0", "2", "3"]),
        (lambda text: text.replace("step", "stop"), []),
        (lambda text: text.replace("val/target/mIoU", "step"), []),
        (lambda text: "\x00" * 500, []),
        (lambda text: "<html>" * 500, []),
        (lambda text: "step," + ",".join(map(str, range(9999))) + "\n", []),
        (lambda text: text.replace("1.5", '"' + "x" * 200000), ["0", "2", "3"]),
    ],
)
def test_a_resumed_run_keeps_the_whole_rows_of_a_damaged_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage, kept: list[str]
) -> None:
    path = tmp_path / "metrics.csv"
    write_rows(path, ROWS)
    damaged = damage(path.read_text())
    path.write_text(damaged)
    with pytest.raises(InputError, match=r"metrics.csv: .*; restore it, or leave this run out"):
        read_rows(path)
    forget_after(path, 9)
    assert read_rows(path) == {step: ROWS[step] for step in kept}
    assert (tmp_path / "metrics.damaged.csv").read_text() == damaged
    (line,) = capsys.readouterr().out.splitlines()
    assert f"its {len(kept)} whole rows are kept, the file is metrics.damaged.csv now" in line
    log = CSVMetrics(save_dir=str(tmp_path))
    log.log_metrics({"train/source": 7.0}, step=9)
    log.save()
    assert list(read_rows(path)) == [*kept, "9"]


def test_bytes_that_are_no_text_cost_their_row_alone(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write_rows(path, ROWS)
    path.write_bytes(path.read_bytes().replace(b"1.5", b"1\xff5"))
    assert list(salvage_rows(path).rows) == ["0", "2", "3"]


def test_every_damaged_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    for text in ("first", "second", "third"):
        path.write_text(text)
        forget_after(path, 1)
    kept = sorted(tmp_path.glob("metrics.damaged*.csv"))
    assert {one.read_text() for one in kept} == {"first", "second", "third"}


@pytest.mark.parametrize("text", ["", "{", "5", '{"resumed": 7}', "[" * 5000])
def test_a_damaged_record_is_set_beside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (tmp_path / "run.json").write_text(text)
    record = write_record(
        tmp_path,
        overrides=["a=1"],
        options=[],
        choices={},
        typed=(),
        config={"seed": 1},
        images="x",
        resumed=Path("last.ckpt"),
    )
    assert record["overrides"] == ["a=1"]
    assert (tmp_path / "run.damaged.json").read_text() == text
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read as JSON"),
        (b"\xff\xfe\xfd", "cannot be read as JSON"),
        (b"[" * 100_000, "cannot be read as JSON (nested too deeply)"),
        (b'{"a":' * 50 + b"1" + b"}" * 50, "nested more than 40 deep"),
        (b'{"a": ' + b"9" * 5000 + b"}", "cannot be read as JSON"),
        (b"[1]", "holds no keys but a list"),
        (b" " * (2**24 + 1), "has more than 16777216 bytes"),
    ],
)
def test_damaged_json_is_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_json(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_lone_surrogates_are_written_out(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"\\ud800": ["\\udfff"]}')
    assert load_json(tmp_path / "a.json") == {"\\ud800": ["\\udfff"]}


def test_an_unreadable_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Is a directory"):
        load_json(tmp_path)
    with pytest.raises(InputError, match="null byte"):
        load_json(tmp_path / "a\x00b")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="a pipe where a file should be"):
        load_json(tmp_path / "pipe")


@pytest.mark.parametrize("name", ["file/a.json", "folder", "x" * 300, "file/deep/a.json"])
def test_what_cannot_be_written_is_told_before(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"output=.* cannot be written .*output=<file>"):
        check_writable(tmp_path / name, "output")
    check_writable(tmp_path / "new/deep/a.json", "output")
    assert list((tmp_path / "new/deep").iterdir()) == []


def test_threads_write_their_files_at_once(tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.json" for index in range(8)]
    threads = [threading.Thread(target=write_json, args=(path, path.name)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [json.loads(path.read_text()) for path in paths] == [path.name for path in paths]


@pytest.mark.parametrize("text", ["", "a/b", "a b", "\x00", "x" * 5000, "\x1b[2J"])
def test_a_damaged_run_id_is_given_anew(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
) -> None:
    monkeypatch.delenv("WANDB_RUN_ID", raising=False)
    path = tmp_path / "wandb_id"
    path.write_text(text)
    found = run_id(path)
    assert len(found) == 8
    assert run_id(path) == found
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match="No space left") as raised,
        written_whole(tmp_path / "report.html"),
        Path("/dev/full").open("w", encoding="utf-8") as full,
    ):
        full.write("text")
    assert raised.value.filename == str(tmp_path / "report.html")
