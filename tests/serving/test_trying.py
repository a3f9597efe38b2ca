"""The try-out page: as a real process, in a real browser."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import chromium
from command_line import ROOT, call, configured
from hostile_images import png
from PIL import Image
from pytorch_lightning import seed_everything

from sepico_pl.assembly import build_data, build_task
from sepico_pl.checkpoints import save
from sepico_pl.data.streets import STREETS_CLASSES, StreetScenes
from sepico_pl.serving.loading import load
from sepico_pl.serving.trying import LONGEST, Side, answer, look, sides_of, smaller, titles

pytestmark = pytest.mark.slow

SIZE = (48, 96)
SMALL = ["dataset.size=[32,64]", "dataset.train_length=6", "data.crop_size=[32,32]"]
QUIET = {"batch_norm": None, "statistics": None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of three networks as they begin, a street at night, and a broken image."""
    folder = tmp_path_factory.mktemp("trying")
    write_checkpoint(folder / "source/last.ckpt", "adapt=none", "contrast=none", "seed=1")
    write_checkpoint(folder / "adapted/last.ckpt", "adapt=sepico", "seed=2")
    write_checkpoint(folder / "other/last.ckpt", "dataset=streets19")
    image, _ = StreetScenes("night", "val", 1, SIZE, seed=0)[0]
    Image.fromarray(image).save(folder / "street.png")
    (folder / "broken.png").write_bytes((folder / "street.png").read_bytes()[:200])
    return folder


def write_checkpoint(path: Path, *overrides: str) -> None:
    """Write the checkpoint of a run before its first step."""
    plain = configured(*SMALL, *overrides)
    seed_everything(plain["seed"], verbose=False)
    save(path, build_task(plain, build_data(plain).pair), plain)


def rows(page: str) -> dict[str, list[float]]:
    """Return the shares of each class in the legend."""
    found = re.findall(r"</span>([^<]*)</th>(.*?)</tr>", page, flags=re.DOTALL)
    return {name: [float(n) for n in re.findall(r">([\d.]+)</td>", cells)] for name, cells in found}


def test_the_legend_counts_what_the_network_predicts(folder: Path) -> None:
    model = load(folder / "adapted/last.ckpt")
    ids = model.predict(folder / "street.png")
    shares = rows(answer(str(folder / "street.png"), [Side("adapted", model)]))
    assert list(shares) == list(STREETS_CLASSES.names)
    for number, (share,) in enumerate(shares.values()):
        assert share == pytest.approx(100 * (ids == number).mean(), abs=0.051)


def test_confidence_is_the_probability_of_the_class_that_is_seen(folder: Path) -> None:
    model = load(folder / "adapted/last.ckpt")
    image = np.asarray(Image.open(folder / "street.png"))
    probabilities = model.probabilities(image)
    seen = look(Side("adapted", model), image)
    assert (seen.ids == probabilities.argmax(dim=0).numpy()).all()
    assert seen.mean_confidence == pytest.approx(100 * float(probabilities.amax(dim=0).mean()))
    assert sum(seen.shares) == pytest.approx(100)


def test_two_sides_agree_with_themselves_only(folder: Path) -> None:
    plain = {"checkpoint": str(folder / "source/last.ckpt"), **QUIET}
    same = sides_of({**plain, "beside": plain["checkpoint"]})
    other = sides_of({**plain, "beside": str(folder / "adapted/last.ckpt")})
    assert "same class in 100.0 % of the pixels" in answer(str(folder / "street.png"), same)
    share = re.search(r"same class in ([\d.]+) %", answer(str(folder / "street.png"), other))
    assert float(share[1]) < 100


def test_titles_tell_paths_apart() -> None:
    assert titles(["/runs/a/last.ckpt", "/runs/b/last.ckpt"]) == ["a/last.ckpt", "b/last.ckpt"]
    assert titles(["/runs/a/last.ckpt"]) == ["a/last.ckpt"]
    assert titles(["/runs/a/last.ckpt"] * 2) == ["a/last.ckpt"] * 2
    assert titles(["/x/run/last.ckpt", "/x/run/checkpoints/best.ckpt"]) == [
        "last.ckpt",
        "checkpoints/best.ckpt",
    ]


def test_a_large_image_is_made_smaller() -> None:
    assert smaller(np.zeros((2000, 500, 3), np.uint8)).shape == (LONGEST, LONGEST // 4, 3)
    assert smaller(np.zeros((20, 50, 3), np.uint8)).shape == (20, 50, 3)


def test_too_large_an_upload_is_named_on_the_page(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(png(12000, 15000))
    page = answer(str(tmp_path / "large.png"), [])
    assert "large.png: " in page
    assert "more than the 50331648 pixels (8192x6144) that are read; make it smaller" in page
    assert str(tmp_path) not in page


def test_names_from_outside_are_text(folder: Path, tmp_path: Path) -> None:
    hostile = tmp_path / "<img src=x onerror=alert(1)>.png"
    hostile.write_text("no image")
    page = answer(str(hostile), [])
    assert 'role="alert"' in page
    assert "<img" not in page
    assert str(tmp_path) not in page, "the server's folders are nobody's business"
    assert answer(None, []) == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["checkpoint=nowhere.ckpt"], "nowhere.ckpt"),
        ([], "checkpoint is not set: give it as checkpoint=<value>"),
        (["checkpoint=street.png"], "checkpoint=street.png"),
        (["checkpoint=2024"], "checkpoint=2024: there is no such file"),
        (["checkpoint=[a]"], "checkpoint=[a]: there is no such file"),
        (
            ["checkpoint=source/last.ckpt", "port=abc"],
            "port=abc must be a positive integer <= 65535 or null",
        ),
        (
            ["checkpoint=source/last.ckpt", "port=70000"],
            "port=70000 must be a positive integer <= 65535",
        ),
        (
            ["checkpoint=source/last.ckpt", "open_browser=maybe"],
            "open_browser=maybe must be true or false",
        ),
        (
            ["checkpoint=source/last.ckpt", "beside=other/last.ckpt"],
            "beside=other/last.ckpt: its classes are not those of source/last.ckpt",
        ),
    ],
)
def test_one_line_says_what_is_wrong(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    pytest.importorskip("gradio", reason="needs gradio")
    error = call(monkeypatch, folder, "demo", *arguments)
    assert error.startswith("error: ")
    assert words in error
    assert "\n" not in error


def test_a_port_that_is_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gradio", reason="needs gradio")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = call(monkeypatch, folder, "demo", "checkpoint=source/last.ckpt", f"port={port}")
    assert error == f"error: port={port} is taken; choose another, or null for a free one"


def test_without_gradio(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "sepico_pl.serving.trying_page", raising=False)
    error = call(monkeypatch, folder, "demo", "checkpoint=source/last.ckpt")
    assert error.startswith("error: the page needs gradio")
    assert 'pip install "sepico_pl[demo]"' in error


@contextlib.contextmanager
def page_of_the_command(folder: Path, ending: signal.Signals, *arguments: str) -> Iterator[str]:
    """Serve the page as a shell's background does, SIGINT ignored; it must end well by a signal."""
    pytest.importorskip("gradio", reason="needs gradio")
    words = ["checkpoint=source/last.ckpt", "port=null", "open_browser=false", *arguments]
    with subprocess.Popen(
        [
            "sh",
            "-c",
            'trap "" INT; exec "$@"',
            "sh",
            sys.executable,
            "-m",
            "sepico_pl.demo",
            *words,
        ],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)},
    ) as process:
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("open http"):
                break
        address = re.search(r"open (http://127\.0\.0\.1:\d+/)", said)
        assert address, said
        try:
            yield address[1]
            process.send_signal(ending)
            said = process.communicate(timeout=60)[0]
        finally:
            process.kill()
    assert "Traceback" not in said
    assert process.returncode == 0, said
    assert list(folder.glob("sepico_pl_*")) == [], "the uploads go with the page"


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[str]:
    """The address of the page with two networks."""
    with page_of_the_command(folder, signal.SIGINT, "beside=adapted/last.ckpt") as address:
        yield address


def upload(address: str, content: bytes) -> int:
    """Post a file as the page does; return the answer's code."""
    parts = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    body = parts + content + b"\r\n--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    asked = urllib.request.Request(f"{address}gradio_api/upload", body, headers)
    try:
        with urllib.request.urlopen(asked, timeout=60) as answered:
            return answered.status
    except urllib.error.HTTPError as error:
        return error.code


def test_uploads_are_bounded_and_go_with_the_page_on_sigterm(folder: Path) -> None:
    from sepico_pl.serving.trying_page import LARGEST_UPLOAD

    with page_of_the_command(folder, signal.SIGTERM) as address:
        assert upload(address, (folder / "street.png").read_bytes()) == 200
        (uploads,) = folder.glob("sepico_pl_*")
        assert [path.name for path in uploads.rglob("*.png")] == ["a.png"]
        assert upload(address, bytes(LARGEST_UPLOAD + 1)) == 413
        assert [path.name for path in uploads.rglob("*.png")] == ["a.png"]


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with chromium() as started:
        yield started


def test_an_image_is_dropped_and_seen_by_two_networks(browser, served: str, folder: Path) -> None:
    page = browser.new_context(viewport={"width": 360, "height": 740}).new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(served)
    upload = page.locator("#image input[type=file]")
    upload.set_input_files(folder / "street.png")
    page.locator("#result table").wait_for()
    names = page.locator("#result tbody th").all_inner_texts()
    assert names == list(STREETS_CLASSES.names)
    sides = [
        page.get_by_role("region", name=f"{side}/last.ckpt").get_by_role("img").first
        for side in ("source", "adapted")
    ]
    overlays = [side.get_attribute("src") for side in sides]
    assert overlays[0] != overlays[1]
    drawn = "image => [image.complete, image.naturalWidth, image.naturalHeight]"
    assert [side.evaluate(drawn) for side in sides] == [[True, SIZE[1], SIZE[0]]] * 2
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    here = served.rstrip("/")
    assert [url for url in asked if not url.startswith((here, "data:", "blob:"))] == []


def test_a_broken_upload_is_named_on_the_page(browser, served: str, folder: Path) -> None:
    page = browser.new_page()
    page.goto(served)
    page.locator("#image input[type=file]").set_input_files(folder / "broken.png")
    said = page.locator("#result").get_by_role("alert")
    said.wait_for()
    assert said.inner_text().startswith("broken.png: cannot be read as image")
    assert page.locator("#result img").count() == 0


def test_only_this_address_is_served(served: str) -> None:
    port = int(served.rstrip("/").rpartition(":")[2])
    for address, is_served in (("127.0.0.1", True), ("127.0.0.2", False)):
        with socket.socket() as client:
            assert (client.connect_ex((address, port)) == 0) == is_served
