"""The images of a run's panel, made small enough to travel inside the page."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from sepico_pl.data.files import opened
from sepico_pl.reporting.run_files import PanelFile, SceneFiles, lies_inside
from sepico_pl.types import InputError

STEPS = 6
WIDEST = 640
HIGHEST = 4 * WIDEST
PREDICTIONS = ("student", "teacher", "confidence")
LEARNT = (
    ("mixed_{}.jpg", "mixed image"),
    ("mixed_{}_label.png", "mixed label"),
    ("target_{}.jpg", "target crop"),
    ("target_{}_label.png", "pseudo-label"),
    ("target_{}_confidence.png", "confidence"),
)


class Picture(NamedTuple):
    """An image inside the page.

    Attributes:
        kind: "photograph", "truth", "student", "teacher", "confidence", or one of `LEARNT`.
        source: a `data:` address.
        is_label: whether its colours are classes.
    """

    kind: str
    source: str
    width: int
    height: int
    is_label: bool


class Scene(NamedTuple):
    """One image of the panel over time.

    Attributes:
        still: photograph, and truth where there is one.
        steps: the predictions by step.
    """

    name: str
    still: list[Picture]
    steps: dict[int, list[Picture]]


class Panel(NamedTuple):
    """All that the page shows of `pictures/`.

    Attributes:
        legend: colour (CSS) by class name.
        kinds: what can be compared.
        taken: steps at which pictures were taken; `steps` are those that the page holds.
        learnt: mixed and target crops of the last of them, those of one place together.
    """

    legend: dict[str, str]
    scenes: list[Scene]
    kinds: list[str]
    taken: list[int]
    steps: list[int]
    learnt: list[list[Picture]]


def panel_of(folder: Path, content: PanelFile | None) -> Panel | None:
    """Read the panel of a run; None where it has none.

    Images that are absent are left out, and what only a link brings into the folder.

    Args:
        folder: `pictures/` of the run.
        content: of its `panel.json`.
    """
    if content is None:
        return None
    steps = spread(content.steps, STEPS)
    scenes = [scene_of(folder, i, scene, steps) for i, scene in enumerate(content.scenes)]
    kinds = dict.fromkeys(
        picture.kind
        for scene in scenes
        for shown in (scene.still, *scene.steps.values())
        for picture in shown
    )
    colours = [f"rgb({red} {green} {blue})" for red, green, blue in content.palette]
    legend = dict(zip(content.classes, colours, strict=True)) | {"ignored": "rgb(0 0 0)"}
    learnt = learnt_of(folder, steps[-1], content.mixed) if steps else []
    return Panel(legend, scenes, list(kinds), content.steps, steps, learnt)


def spread(steps: Sequence[int], count: int) -> list[int]:
    """Choose at most so many steps: the first, the last, and evenly between."""
    if len(steps) <= count:
        return list(steps)
    return [steps[round(i * (len(steps) - 1) / (count - 1))] for i in range(count)]


def scene_of(folder: Path, index: int, content: SceneFiles, steps: Sequence[int]) -> Scene:
    """Read one image of the panel at these steps."""
    files = {"photograph": content.image}
    if content.truth is not None:
        files["truth"] = content.truth
    predictions = {
        step: pictures_of(
            folder,
            {kind: f"step_{step:08}/scene_{index}_{kind}.png" for kind in PREDICTIONS},
        )
        for step in steps
    }
    return Scene(content.name, pictures_of(folder, files), predictions)


def learnt_of(folder: Path, step: int, count: int) -> list[list[Picture]]:
    """Read what the student learnt from at one step; nothing without self-training."""
    places = [
        pictures_of(folder, {kind: f"step_{step:08}/{name.format(index)}" for name, kind in LEARNT})
        for index in range(count)
    ]
    return [pictures for pictures in places if pictures]


def pictures_of(folder: Path, files: dict[str, str]) -> list[Picture]:
    """Read images by their kind; one that is absent or broken (a run was killed) is left out."""
    found = (
        picture_of(kind, folder / name)
        for kind, name in files.items()
        if lies_inside(folder / name, folder.parent)
    )
    return [picture for picture in found if picture is not None]


def picture_of(kind: str, path: Path) -> Picture | None:
    """Read an image, made no wider than `WIDEST` pixels; None if it is no sensible one."""
    try:
        with opened(path, "image") as image:
            return encoded(kind, image)
    except InputError:
        return None


def encoded(kind: str, image: Image.Image) -> Picture:
    """Put an image into a `data:` address: labels stay PNG, all else becomes JPEG."""
    is_label = image.mode == "P"
    scale = min(1.0, WIDEST / image.width, HIGHEST / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = image.resize(size, Image.Resampling.NEAREST if is_label else Image.Resampling.LANCZOS)
    content, form = io.BytesIO(), "png" if is_label else "jpeg"
    if is_label:
        small.save(content, form)
    else:
        small.convert("L" if image.mode == "L" else "RGB").save(content, form, quality=88)
    return Picture(kind, data_address(f"image/{form}", content.getvalue()), *size, is_label)


def data_address(media_type: str, content: bytes) -> str:
    """Return a file as an address that holds it."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
