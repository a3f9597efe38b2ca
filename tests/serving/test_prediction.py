"""The predict command: results of every kind of image, and going on after an interruption."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import call
from photographs import eight_kinds, hundred_real, street
from PIL import Image

from sepico_pl import SegmentationModel
from sepico_pl.serving import predicting, predictor
from sepico_pl.serving.images import to_rgb
from sepico_pl.serving.results import SUFFIXES


@pytest.fixture
def predict(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run the command on tmp_path/photographs; return its error."""

    def run(*arguments: str) -> str:
        given = [f"checkpoint={checkpoint}", "images=photographs", "output=out"]
        return call(monkeypatch, tmp_path, "predict", *given, *arguments)

    return run


def results(output: Path) -> dict[str, int]:
    """Return the time of each result by its path."""
    return {
        path.relative_to(output).as_posix(): path.stat().st_mtime_ns
        for path in output.rglob("*.*")
        if path.parent != output and path.suffix != ".partial"
    }


def without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the loading of a network fail the test."""
    monkeypatch.setattr(predictor, "load", None)


def test_every_kind_of_image(
    predict, model: SegmentationModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = eight_kinds(tmp_path / "photographs")
    error = predict("logits=true", "batch_size=3")
    assert error.startswith("error: photographs/broken.png: cannot be read as image")
    out = tmp_path / "out"
    expected = {f"{kind}/{name}.{suffix}" for kind, suffix in SUFFIXES.items() for name in sizes}
    assert results(out).keys() == expected
    for name, size in sizes.items():
        with Image.open(out / f"ids/{name}.png") as ids:
            assert (ids.mode, ids.size) == ("P", size[::-1])
            assert ids.getpalette()[:3] == [128, 64, 128]
        with Image.open(out / f"overlay/{name}.jpg") as overlay:
            assert (overlay.mode, overlay.size) == ("RGB", size[::-1])
        with Image.open(out / f"confidence/{name}.png") as confidence:
            assert (confidence.mode, confidence.size) == ("L", size[::-1])
    # A batch and a single image are not the same computation: sums may run in another order.
    probabilities = model.probabilities(tmp_path / "photographs/lying.jpeg")
    with Image.open(out / "ids/lying.png") as ids:
        predicted = torch.from_numpy(np.array(ids)).long()[None]
    best = probabilities.amax(dim=0)
    assert (best - probabilities.gather(0, predicted)[0]).max() < 1e-5
    with Image.open(out / "confidence/lying.png") as confidence:
        shown = torch.from_numpy(np.array(confidence)).float()
    assert (shown - 255 * best).abs().max() < 0.51
    logits = np.load(out / "logits/lying.npy")
    assert (logits.shape, logits.dtype) == ((9, 32, 64), np.float16)

    before = results(out)
    without_network(monkeypatch)
    assert predict("logits=true", "batch_size=3") == error
    assert results(out) == before
    (tmp_path / "photographs/broken.png").unlink()
    assert predict("logits=true") == ""
    assert results(out) == before


def test_logits_are_the_networks_own(predict, model: SegmentationModel, tmp_path: Path) -> None:
    (tmp_path / "photographs").mkdir()
    Image.fromarray(street(0)).save(tmp_path / "photographs/a.png")
    assert predict("logits=true") == ""
    with torch.no_grad():
        own = model(model.input_of([street(0)]))[0]
    assert np.array_equal(np.load(tmp_path / "out/logits/a.npy"), own.half().numpy())
    assert predict("logits=true", "output=views", "flip=true", "scales=[1.0,0.5]") == ""
    views = np.load(tmp_path / "views/logits/a.npy").astype(np.float32)
    assert views.shape == own.shape
    np.testing.assert_allclose(np.exp(views).sum(axis=0), 1, atol=0.02)


def test_batches_change_nothing(predict, tmp_path: Path) -> None:
    (tmp_path / "photographs").mkdir()
    for index in range(5):
        Image.fromarray(street(index)).save(tmp_path / f"photographs/{index}.png")
    for size in (1, 4):
        assert predict(f"batch_size={size}", f"output=by{size}", "flip=true") == ""
    for index in range(5):
        one, four = (
            np.asarray(Image.open(tmp_path / f"by{size}/ids/{index}.png")) for size in (1, 4)
        )
        assert (one == four).mean() > 0.999  # sums in another order


def test_an_interrupted_run_goes_on(
    predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    eight_kinds(tmp_path / "photographs")
    (tmp_path / "photographs/broken.png").unlink()
    written: list[str] = []
    write = predicting.write_results

    def interrupt_the_fourth(folder: Path, name: str, *rest: object) -> None:
        write(folder, name, *rest)
        written.append(name)
        if len(written) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(predicting, "write_results", interrupt_the_fourth)
    predict("batch_size=1")
    before = results(tmp_path / "out")
    assert len(written) == 4
    assert len(before) == 4 * 3
    monkeypatch.setattr(predicting, "write_results", write)
    assert predict("batch_size=1") == ""
    after = results(tmp_path / "out")
    assert len(after) == 7 * 3
    again = {path for path, time in before.items() if after[path] != time}
    assert {Path(path).stem for path in again} == {written[3]}  # its line was not there yet
    without_network(monkeypatch)
    assert predict() == ""
    assert results(tmp_path / "out") == after


def test_what_changed_or_is_missing_is_predicted_again(predict, tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for index in range(3):
        Image.fromarray(street(index)).save(folder / f"{index}.png")
    assert predict() == ""
    before = results(tmp_path / "out")
    Image.fromarray(street(5, (48, 96))).save(folder / "1.png")
    (tmp_path / "out/overlay/2.jpg").unlink()
    assert predict() == ""
    after = results(tmp_path / "out")
    assert after.keys() == before.keys()
    changed = {path for path, time in after.items() if before[path] != time}
    assert {Path(path).stem for path in changed} == {"1", "2"}
    with Image.open(tmp_path / "out/ids/1.png") as ids:
        assert ids.size == (96, 48)


def test_images_that_moved_are_not_predicted_again(
    predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photographs").mkdir()
    Image.fromarray(street(0)).save(tmp_path / "photographs/a.png")
    assert predict() == ""
    (tmp_path / "photographs").rename(tmp_path / "moved")
    without_network(monkeypatch)
    assert predict("images=moved") == ""
    (tmp_path / "others").mkdir()
    Image.fromarray(street(1)).save(tmp_path / "others/a.png")
    assert "others/a.png; choose another output" in predict("images=others")


def test_nothing_else_is_overwritten(predict, model: SegmentationModel, tmp_path: Path) -> None:
    (tmp_path / "photographs").mkdir()
    Image.fromarray(street(0)).save(tmp_path / "photographs/a.png")
    foreign = tmp_path / "out/overlay/a.jpg"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    assert "out/overlay/a.jpg is there already" in predict()
    assert foreign.read_text() == "mine"
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [foreign]
    foreign.unlink()
    assert predict() == ""
    assert "flip was False and is True" in predict("flip=true")
    assert "network was student and is teacher" in predict("network=teacher")
    model.save_pretrained(tmp_path / "saved")
    assert "checkpoint was" in predict("checkpoint=saved")
    assert predict("checkpoint=saved", "output=saved_out") == ""
    same = [(tmp_path / folder / "ids/a.png").read_bytes() for folder in ("out", "saved_out")]
    assert same[0] == same[1]


def test_a_line_that_was_cut_short(predict, tmp_path: Path) -> None:
    (tmp_path / "photographs").mkdir()
    Image.fromarray(street(0)).save(tmp_path / "photographs/a.png")
    assert predict() == ""
    manifest = tmp_path / "out/predictions.jsonl"
    manifest.write_text(manifest.read_text()[:-9])
    before = results(tmp_path / "out")
    assert predict() == ""
    assert results(tmp_path / "out") != before
    last = json.loads(manifest.read_text().splitlines()[-1])
    assert last["done"] == "a"


def test_what_is_refused(predict, tmp_path: Path) -> None:
    (tmp_path / "photographs").mkdir()
    Image.fromarray(street(0)).save(tmp_path / "photographs/a.png")
    (tmp_path / "text.ckpt").write_text("hello")
    (tmp_path / "clip.mp4").touch()
    for arguments, said in {
        ("checkpoint=gone.ckpt",): "checkpoint=gone.ckpt: there is no such file",
        ("checkpoint=text.ckpt",): "checkpoint=text.ckpt: cannot be read",
        ("images=gone",): "images=gone: there is no such file or folder",
        ("images=clip.mp4",): "ffmpeg",
        ("output=text.ckpt",): "output=text.ckpt: a file",
        ("images=[a,b]",): "images=[a,b]: no image there",
        ("batch_size=0",): "batch_size=0 must be a positive integer",
        ("batch_size=abc",): "batch_size=abc must be a positive integer",
        ("logits=maybe",): "logits=maybe must be true or false",
        (
            "window=64",
        ): "window=64 must be two positive integers: [height, width], each <= 8192 or null",
        ("stride=[64]",): "stride=[64] must be two positive integers",
        ("flip=maybe",): "flip=maybe must be true or false",
        ("scales=2",): "scales=2 must be a list, each a positive number",
        ("class_weights_deviation=x",): "class_weights_deviation=x must be a number >= 0",
        ("accelerator=abacus",): "accelerator=abacus is unknown",
        ("scales=[]",): "scales=[]",
        ("class_weights_deviation=0.1",): "9 classes",
        ("network=ema",): "network=ema",
    }.items():
        error = predict(*arguments)
        assert said in error, arguments
        assert len(error.splitlines()) == 1, error
        assert not (tmp_path / "out").exists(), arguments


def test_paths_that_look_like_numbers(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "001").mkdir()
    Image.fromarray(street(0)).save(tmp_path / "001/a.png")
    (tmp_path / "2024").symlink_to(checkpoint)
    arguments = ["checkpoint=2024", "images=001", "output=1e3"]
    assert call(monkeypatch, tmp_path, "predict", *arguments) == ""
    assert (tmp_path / "1e3/ids/a.png").is_file()


@pytest.mark.realdata
@pytest.mark.slow
def test_a_hundred_real_photographs(
    predict,
    checkpoint: Path,
    shared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed midway, continued, and a third run that does nothing."""
    sources = sorted((shared / "camvid").glob("*/images/*.jpg"))[::11]
    sources += sorted((shared / "fixtures").glob("*/leftImg8bit/*/*/*.png"))
    sources += sorted((shared / "fixtures/dark_zurich_mini/rgb_anon").rglob("*.png"))
    hundred_real(sources, tmp_path / "photographs")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "sepico_pl.predict", f"checkpoint={checkpoint}"]
    running = subprocess.Popen(
        [*command, "images=photographs", "output=out", "batch_size=2"],
        cwd=tmp_path,
        env={"OMP_NUM_THREADS": "1", **os.environ},
    )
    while running.poll() is None and len(list(out.glob("overlay/*.jpg"))) < 30:
        time.sleep(0.01)
    running.kill()
    assert running.wait() == -signal.SIGKILL
    before = results(out)
    assert 30 <= len(list(out.glob("ids/*.png"))) < 99

    error = predict("batch_size=2")
    assert error.splitlines()[0].startswith("error: photographs/broken.png: cannot be read")
    assert len(error.splitlines()) == 1
    after = results(out)
    assert len(after) == 3 * 99
    assert not list(out.rglob("*.partial"))
    done = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert sum("done" in line for line in done) == 99
    again = {Path(path).stem for path, time in before.items() if after.get(path) != time}
    assert len(again) <= 2  # the batch that was being written
    for path in (tmp_path / "photographs").glob("[0-9]*"):
        upright = to_rgb(path)
        with Image.open(out / f"ids/{path.stem}.png") as ids:
            assert ids.size == upright.shape[1::-1]

    without_network(monkeypatch)
    assert predict("batch_size=2") == error
    assert results(out) == after
