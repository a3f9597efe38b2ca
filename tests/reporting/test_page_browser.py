"""The report in a real browser: what it fetches, how it looks, how it is operated."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import chromium, violations
from PIL import Image
from sample_runs import write_confusion, write_metrics, write_panel, write_run, write_scores

from sepico_pl.data.streets import STREETS_CLASSES, STREETS_NAMES
from sepico_pl.reporting.embedding_map import Points, draw
from sepico_pl.reporting.page import write_report

STEPS = [100, 200, 300]
SVG = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
ALARM = "<img src=x onerror='window.alarm = 1'><script>window.alarm = 1</script>"


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with chromium() as started:
        yield started


def map_of_some_points() -> str:
    dice = np.random.default_rng(0)
    place, labels = dice.normal(size=(40, 2)).astype(np.float32), dice.integers(0, 9, 40)
    return draw(Points(place, labels, ["source", "target"] * 20), STREETS_CLASSES)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report with all parts, one of the classes hostile."""
    folder = write_run(tmp_path_factory.mktemp("run"))
    names = [*STREETS_NAMES[:-1], ALARM]
    scores = {"mIoU19": 50.0, "mIoU16": 55.0, "mIoU13": 60.0}
    scores |= {f"IoU/{name}": 10.0 * i for i, name in enumerate(names)}
    write_scores(folder, scores)
    counts = [[1000 if i == j else 7 * abs(i - j) for j in range(9)] for i in range(9)]
    write_confusion(folder, names, counts)
    judged = {f"val/target/{name}": {99: 10.0, 199: 30.0, 299: 20.0} for name in scores}
    trained = {f"train/{name}": {9: 2.0, 299: 1.0} for name in ("source", "mixed", "confidence")}
    write_metrics(folder, {**judged, **trained, ALARM: {9: 1.0}})
    write_panel(folder, STEPS)
    (folder / "embeddings").mkdir()
    summary = {"definition": "As measured.", "measures": {"margin": "of similarities"}}
    summary["rows"] = [{"class": name, "margin": 0.5} for name in names]
    (folder / "embeddings/summary.json").write_text(json.dumps(summary))
    (folder / "embeddings/map.svg").write_text(map_of_some_points())
    baseline = write_run(folder / "baseline", {"seed": 2})
    write_scores(baseline, {**scores, "IoU/road": 3.0})
    return write_report(folder, baseline).as_uri()


def opened(browser, address: str, **settings):
    page = browser.new_context(**settings).new_page()
    page.goto(address)
    return page


def test_it_opens_without_network(browser, report: str) -> None:
    page = browser.new_context(offline=True).new_page()
    requests, complaints = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(report)
    assert [url for url in requests if not url.startswith("data:")] == [report]
    assert complaints == []
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert page.title() == "sample: sepico_pl report"


def test_foreign_scripts_do_not_run(browser, report: str, tmp_path: Path) -> None:
    assert opened(browser, report).evaluate("window.alarm") is None
    folder = write_run(tmp_path)
    (folder / "embeddings").mkdir()
    summary = {"definition": "", "measures": {}, "rows": []}
    (folder / "embeddings/summary.json").write_text(json.dumps(summary))
    other = (tmp_path / "other.svg").as_uri()
    hostile = f"""<svg {SVG} viewBox="0 0 9 9" onload="top.alarm = 1"><script>top.alarm = 1</script>
        <style>@import url({other}); body {{ display: none }}</style><image href="{other}"/>
        <foreignObject><img src="x" onerror="top.alarm = 1"/></foreignObject></svg>"""
    (folder / "embeddings/map.svg").write_text(hostile)
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(write_report(folder).as_uri())
    assert page.locator("img.map").count() == 1
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("window.alarm") is None
    assert [url for url in asked if not url.startswith("data:")] == [page.url]
    assert page.locator("body").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_map_has_the_ink_of_its_page(browser, report: str, tmp_path: Path, scheme: str) -> None:
    page = opened(browser, report, color_scheme=scheme)
    shot = tmp_path / "map.png"
    page.locator("img.map").screenshot(path=shot)
    shades = np.asarray(Image.open(shot).convert("L"))
    paper = np.bincount(shades.ravel()).argmax()
    ink = shades.min() if scheme == "light" else shades.max()
    assert abs(int(ink) - int(paper)) > 150, "outlines and words of the map can be read"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_axe_finds_nothing(browser, report: str, scheme: str, width: int) -> None:
    page = opened(browser, report, color_scheme=scheme, viewport={"width": width, "height": 800})
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert violations(page) == []


def test_axe_finds_what_is_wrong(browser) -> None:
    page = browser.new_page()
    page.set_content(
        "<html lang=en><title>t</title><main><h1>t</h1><img src='data:'></main></html>"
    )
    assert [line.split(":")[0] for line in violations(page)] == ["image-alt"]


def test_a_phone_scrolls_down_only(browser, report: str) -> None:
    page = opened(browser, report, viewport={"width": 360, "height": 740})
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    matrix = page.get_by_role("group", name="Confusion matrix")
    assert matrix.evaluate("frame => frame.scrollWidth > frame.clientWidth")
    scrolled = "frame => new Promise(end => frame.onscrollend = () => end(frame.scrollLeft))"
    matrix.evaluate(f"frame => {{ window.end = ({scrolled})(frame) }}")
    matrix.press("ArrowRight")
    assert matrix.evaluate("() => window.end") > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_numbers_in_the_confusion_matrix_can_be_read(browser, report: str, scheme: str) -> None:
    page = opened(browser, report, color_scheme=scheme)
    page.evaluate(
        "document.querySelectorAll('.cell').forEach(c => c.style.setProperty('--share', 100))"
    )
    for kind in (".cell:not(.same)", ".cell.same"):
        style = page.locator(kind).first.evaluate(
            "cell => [getComputedStyle(cell).color, getComputedStyle(cell).backgroundColor]"
        )
        assert contrast(*style) >= 4.5


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two computed colours (WCAG 2.2)."""
    lights = sorted(luminance(colour) for colour in (one, other))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def luminance(colour: str) -> float:
    scale = 1 if colour.startswith("color(srgb") else 255
    parts = [float(part) / scale for part in re.findall(r"[\d.]+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_dark_page_is_dark(browser, report: str) -> None:
    lights = {
        scheme: luminance(
            opened(browser, report, color_scheme=scheme).evaluate(
                "getComputedStyle(document.body).backgroundColor"
            )
        )
        for scheme in ("light", "dark")
    }
    assert lights["dark"] < 0.02 < 0.9 < lights["light"]


def cut(page) -> float:
    """Return where the left picture ends, as a share of the stage's width."""
    left = page.locator("#stage .left img").evaluate("i => getComputedStyle(i).clipPath")
    return (
        1 - float(re.search(r"inset\(0px calc\(100% - (\S+)%\)|inset\(0px (\S+)%", left)[2]) / 100
    )


def test_the_divider_moves_by_keyboard_and_by_pointer(browser, report: str) -> None:
    page = opened(browser, report)
    divider = page.get_by_role("slider")
    assert cut(page) == pytest.approx(0.5)
    divider.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert cut(page) == pytest.approx(0.6)
    page.keyboard.press("Home")
    assert cut(page) == pytest.approx(0.0)
    box = page.locator("#stage").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 5, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.75 * box["width"], middle)
    page.mouse.up()
    assert cut(page) == pytest.approx(0.75, abs=0.01)
    assert divider.input_value() == "75"


def test_what_is_compared_can_be_chosen(browser, report: str) -> None:
    page = opened(browser, report)
    left, right = page.locator("#stage .left img"), page.locator("#stage .right img")
    assert left.get_attribute("alt") == "student of streets/night/val/0, step 300"
    assert right.get_attribute("alt") == "truth of streets/night/val/0"
    page.get_by_label("Step", exact=True).select_option("100")
    page.get_by_label("Scene").select_option("1")
    page.get_by_label("Left", exact=True).select_option("confidence")
    page.get_by_label("Right", exact=True).select_option("photograph")
    assert left.get_attribute("alt") == "confidence of streets/night/val/1, step 100"
    assert right.get_attribute("alt") == "photograph of streets/night/val/1"
    shown = page.locator('#gallery img[data-scene="1"][data-step="100"][data-kind="confidence"]')
    assert left.get_attribute("src") == shown.get_attribute("src")
    assert page.locator("#stage").inner_text().split() == ["confidence", "photograph"]


def test_everything_is_reached_by_tab(browser, report: str) -> None:
    page = opened(browser, report)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the results"
    reached = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
        style = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert style == "solid", "the focus is visible"
        if "divider" in reached:
            break
    assert reached >= {"scene", "step", "left", "right", "divider"}


def test_it_is_whole_without_scripts(browser, report: str) -> None:
    page = opened(browser, report, java_script_enabled=False)
    assert page.locator("#viewer").is_hidden()
    assert page.locator("#gallery img").first.is_visible()
    assert page.locator("#gallery img").count() == 2 * (2 + 3 * len(STEPS))
    assert page.get_by_role("cell", name="70.0").first.is_visible()


def test_the_settings_are_found_by_searching(browser, report: str) -> None:
    page = opened(browser, report)
    key = page.locator("th", has_text="trainer.log_every_n_steps")
    assert not key.is_visible()
    page.goto(f"{report}#:~:text=trainer.log_every_n_steps")
    key.wait_for(state="visible")
