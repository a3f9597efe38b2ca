"""Evaluation and prediction on several devices: the same bytes as on one, errors of one line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from command_line import SOURCE_ONLY, call
from devices_driver import numbers, sleep
from photographs import street
from PIL import Image

from sepico_pl.devices import in_processes
from sepico_pl.protocol import device_of
from sepico_pl.types import InputError

pytestmark = pytest.mark.slow


def test_processes_and_how_they_end(tmp_path: Path) -> None:
    found = sorted(in_processes(numbers, 3, "nothing"))
    assert found == [(rank, torch.get_num_threads()) for rank in range(3)]
    with pytest.raises(InputError) as refused:
        list(in_processes(numbers, 2, "refuse"))
    assert str(refused.value) == "a.png: broken"
    with pytest.raises(OSError, match="No space left") as full:
        list(in_processes(numbers, 2, "fill"))
    assert full.value.filename == "disk/a.png"
    with pytest.raises(InputError, match=r"was ended by the system \(SIGKILL\)"):
        list(in_processes(numbers, 2, "die"))
    with pytest.raises(RuntimeError, match="Unspeakable: 1 and 2"):
        list(in_processes(numbers, 2, "unspeakable"))
    with pytest.raises(InputError, match=r"^b\.png: broken$"):
        list(in_processes(numbers, 2, "leave"))
    with pytest.raises(InputError, match=r"processes ended \(SIGABRT\); what it said stands above"):
        list(in_processes(numbers, 2, "abort"))
    with pytest.raises(InputError, match="refused"):
        list(in_processes(sleep, 3, tmp_path))
    started = [int(path.name) for path in tmp_path.iterdir()]
    assert len(started) == 3
    assert not [number for number in started if Path(f"/proc/{number}").exists()]


DEAF = """
import sys
from pathlib import Path
from devices_driver import deaf
from sepico_pl.devices import in_processes
list(in_processes(deaf, 2, Path(sys.argv[1])))
"""


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_leaves_nobody_behind(tmp_path: Path, second: signal.Signals) -> None:
    root = Path(__file__).parent
    known = os.pathsep.join([str(root), str(root.parent)])
    command = subprocess.Popen(
        [sys.executable, "-c", DEAF, str(tmp_path)], env={**os.environ, "PYTHONPATH": known}
    )
    while len(list(tmp_path.iterdir())) < 2:
        assert command.poll() is None
        time.sleep(0.05)
    command.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    command.send_signal(second)
    assert command.wait(20) != 0
    working = [path.name for path in tmp_path.iterdir()]
    assert len(working) == 2
    assert not [number for number in working if Path(f"/proc/{number}").exists()]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint that is evaluated with target statistics on three images a domain."""
    folder = tmp_path_factory.mktemp("trained")
    words = [word for word in SOURCE_ONLY if "val_length" not in word]
    words += ["adapt=adabn", "logger=none", "pictures=0", "dataset.val_length=3"]
    words += ["data.judge_batch_size=1", "data.statistics_images=3", "hydra.run.dir=run"]
    with pytest.MonkeyPatch.context() as patch:
        assert call(patch, folder, "train", *words) == ""
    return folder / "run/last.ckpt"


@pytest.mark.parametrize(
    ("several", "words"),
    [((2, 5), []), ((2,), ["batch_norm=running", "flip=true", "window=[16,32]"])],
    ids=["target statistics", "windows"],
)
def test_scores_are_the_same_bytes(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    several: tuple[int, ...],
    words: list[str],
) -> None:
    found = set()
    for devices in (1, *several):
        output = tmp_path / f"{devices}.json"
        given = [f"checkpoint={trained}", "accelerator=cpu", *words]
        given += [f"devices={devices}", f"output={output}"]
        assert call(monkeypatch, tmp_path, "evaluate", *given) == ""
        found.add(output.read_bytes())
    assert len(found) == 1
    scores = json.loads(found.pop())
    assert 0 < scores["target"]["mIoU"] < 100
    assert scores["target"] != scores["source"]


def photographs(folder: Path, count: int = 7) -> None:
    """Save street scenes of two sizes."""
    folder.mkdir()
    for index in range(count):
        size = (32, 64) if index % 3 else (48, 64)
        Image.fromarray(street(index % 12, size)).save(folder / f"{index}.png")


def content(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_predictions_are_the_same_bytes(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photographs(tmp_path / "photographs")
    given = [f"checkpoint={trained}", "images=photographs", "accelerator=cpu", "logits=true"]
    for devices in (1, 9):
        words = [*given, f"devices={devices}", f"output=out{devices}", "batch_size=2"]
        assert call(monkeypatch, tmp_path, "predict", *words) == ""
    alone = content(tmp_path / "out1")
    assert len(alone) == 1 + 7 * 4
    assert content(tmp_path / "out9") == alone


def test_several_processes_make_what_is_missing_and_leave_the_rest(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photographs(tmp_path / "photographs")
    given = [f"checkpoint={trained}", "images=photographs", "accelerator=cpu", "batch_size=1"]
    assert call(monkeypatch, tmp_path, "predict", *given, "output=out1") == ""
    alone = content(tmp_path / "out1")
    (tmp_path / "out1/ids/3.png").unlink()
    (tmp_path / "out1/overlay/5.jpg").unlink()
    before = (tmp_path / "out1/overlay/0.jpg").stat().st_mtime_ns
    assert call(monkeypatch, tmp_path, "predict", *given, "devices=2", "output=out1") == ""
    again = content(tmp_path / "out1")
    log = again.pop("predictions.jsonl")
    assert log.startswith(alone.pop("predictions.jsonl"))
    events = [next(iter(json.loads(line).items())) for line in log.split(b"\n")[-4:]]
    assert events == [("begun", "3"), ("done", "3"), ("begun", "5"), ("done", "5")]
    assert again == alone
    assert (tmp_path / "out1/overlay/0.jpg").stat().st_mtime_ns == before


def test_a_broken_image_in_one_process_is_one_line(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photographs(tmp_path / "photographs")
    for name in ("4.png", "1.png"):  # their headers are whole
        broken = tmp_path / "photographs" / name
        broken.write_bytes(broken.read_bytes()[:-400])
    given = [f"checkpoint={trained}", "images=photographs", "accelerator=cpu", "batch_size=1"]
    errors = [
        call(monkeypatch, tmp_path, "predict", *given, f"devices={devices}", f"output=out{devices}")
        for devices in (1, 2)
    ]
    assert errors[0] == errors[1]
    first, second = errors[1].splitlines()
    assert first.startswith("error: photographs/1.png: cannot be read as image")
    assert second.startswith("error: photographs/4.png: cannot be read as image")
    assert content(tmp_path / "out1") == content(tmp_path / "out2")
    assert len(content(tmp_path / "out2")) == 1 + 5 * 3


def test_what_no_process_can_use_is_one_line(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photographs(tmp_path / "photographs", 3)
    given = [f"checkpoint={trained}", "images=photographs", "output=out", "devices=2"]
    error = call(monkeypatch, tmp_path, "predict", *given, "network=teacher", "batch_size=1")
    assert error.startswith("error: network=teacher: this checkpoint has no such network")
    assert len(error.splitlines()) == 1
    assert not content(tmp_path / "out")


def hear_interrupts() -> None:
    """Take Ctrl-C, which a shell lets its background jobs ignore."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("signum", "status", "line"),
    [
        (signal.SIGKILL, 1, "error: one of the processes was ended by the system (SIGKILL)"),
        (signal.SIGTERM, 143, ""),
        (signal.SIGINT, 130, ""),
    ],
    ids=["one of them killed", "terminated", "Ctrl-C"],
)
def test_ended_processes_leave_nothing_and_the_rest_is_made_later(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    signum: signal.Signals,
    status: int,
    line: str,
) -> None:
    photographs(tmp_path / "photographs", 100)
    given = [f"checkpoint={trained}", "images=photographs", "accelerator=cpu", "batch_size=1"]
    command = [sys.executable, "-m", "sepico_pl.predict", *given, "devices=2", "output=out"]
    running = subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_interrupts,
    )
    out = tmp_path / "out"
    until = time.monotonic() + 100
    while len(list(out.glob("overlay/*.jpg"))) < 2:
        assert time.monotonic() < until
        assert running.poll() is None
        time.sleep(0.01)
    workers = children(running.pid)
    if signum == signal.SIGKILL:
        os.kill(workers[0], signum)
    elif signum == signal.SIGINT:
        os.killpg(running.pid, signum)  # as a terminal does
    else:
        running.send_signal(signum)
    _, said = running.communicate(timeout=60)
    assert running.returncode == status
    assert said.startswith(line)
    assert len(said.splitlines()) == bool(line)
    assert not [number for number in workers if Path(f"/proc/{number}").exists()]
    made = len(list(out.glob("confidence/*.png")))
    assert 2 <= made < 100
    assert call(monkeypatch, tmp_path, "predict", *given, "devices=2", "output=out") == ""
    assert call(monkeypatch, tmp_path, "predict", *given, "output=alone") == ""
    ours, alone = content(out), content(tmp_path / "alone")
    assert ours.pop("predictions.jsonl") != alone.pop("predictions.jsonl")
    assert ours == alone


def children(number: int) -> list[int]:
    """Return the processes that work for another one."""
    listed = Path(f"/proc/{number}/task/{number}/children").read_text().split()
    return [
        int(one) for one in listed if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()
    ]


def test_no_more_gpus_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_of("gpu", 1) == torch.device("cuda", 1)
    with pytest.raises(InputError, match="devices=3: GPUs here: 2; choose as many or fewer"):
        device_of("gpu", 2)
    assert device_of("cpu", 7) == torch.device("cpu")


def test_several_gpus_where_there_are_none(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    (tmp_path / "photographs").mkdir()
    for command, words in (
        ("evaluate", []),
        ("predict", ["images=photographs", "output=out"]),
    ):
        given = [f"checkpoint={trained}", *words, "accelerator=gpu", "devices=2"]
        error = call(monkeypatch, tmp_path, command, *given)
        assert error == "error: accelerator=gpu: there is no GPU here; choose auto or cpu"
