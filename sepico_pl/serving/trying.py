"""What networks see in an image, as a piece of a web page: one checkpoint, or two side by side.

Shapes: C classes, H, W image size.
"""

import base64
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from omegaconf import DictConfig
from PIL import Image

from sepico_pl.assembly import Config, plain_config
from sepico_pl.data.painting import overlay
from sepico_pl.limits import FLAG, PATH, Limits, OrNull, Rule, check_limits
from sepico_pl.serving.images import to_rgb
from sepico_pl.serving.loading import load
from sepico_pl.serving.model import SegmentationModel
from sepico_pl.types import ByteArray, InputError

LONGEST = 1280
"""Pixels of an image's longer side; a larger one is made smaller, to be quick."""
RULES: dict[str, Rule] = {
    "checkpoint": PATH,
    "beside": OrNull(PATH),
    "statistics": OrNull(PATH),
    "port": Limits(low=1, high=65535, whole=True, optional=True),
    "open_browser": FLAG,
}


class Side(NamedTuple):
    """One of the networks.

    Attributes:
        title: its file, with as much of the path as tells it from the other one.
    """

    title: str
    model: SegmentationModel

    @property
    def about(self) -> str:
        """Which network it is, and how far it was trained."""
        facts = {"network": "student", "batch_norm": "fixed", "steps": "unknown"}
        facts |= self.model.provenance
        return "{network}, {batch_norm} batch-norm statistics, steps: {steps}".format(**facts)


class Seen(NamedTuple):
    """What one network sees in an image.

    Attributes:
        ids: class of each pixel (H, W).
        overlay: `data:` address of the image under the classes' colours.
        confidence: `data:` address of the probability of the class seen, white for 1.
        mean_confidence: in percent.
        shares: percent of the pixels by class (C,).
    """

    side: Side
    ids: ByteArray
    overlay: str
    confidence: str
    mean_confidence: float
    shares: list[float]


def demo(config: DictConfig) -> None:
    """Serve the page on this machine until it is interrupted.

    Raises:
        InputError: if gradio is absent, a value cannot be, a checkpoint cannot be used, or the port
            is taken.
    """
    try:
        from sepico_pl.serving.trying_page import served, until_signalled
    except ImportError as error:
        message = f'the page needs gradio ({error}): pip install "sepico_pl[demo]"'
        raise InputError(message) from error
    plain = plain_config(config)
    check_limits(plain, RULES)
    sides = sides_of(plain)
    with (
        until_signalled() as ended,
        served(sides, plain["port"], open_browser=plain["open_browser"]) as page,
    ):
        print(f"open {page.local_url} (Ctrl-C ends it)", flush=True)
        ended.wait()


def sides_of(plain: Config) -> list[Side]:
    """Load the checkpoints.

    Raises:
        InputError: if one cannot be used, or their classes differ.
    """
    names = [plain[key] for key in ("checkpoint", "beside") if plain[key] is not None]
    models = [
        load(name, batch_norm=plain["batch_norm"], statistics=plain["statistics"]) for name in names
    ]
    if models[0].classes.names != models[-1].classes.names:
        message = (
            f"beside={plain['beside']}: its classes are not those of {plain['checkpoint']}; "
            "choose a checkpoint of the same data set"
        )
        raise InputError(message)
    return [Side(title, model) for title, model in zip(titles(names), models, strict=True)]


def titles(names: Sequence[str]) -> list[str]:
    """Return paths without the folders that they share; the name and folder of a single one."""
    paths = [Path(name).expanduser().absolute() for name in names]
    shared = Path(os.path.commonpath([path.parent for path in paths]))
    if len(set(paths)) == 1:
        shared = shared.parent
    return [str(path.relative_to(shared)) for path in paths]


def answer(file: str | None, sides: Sequence[Side]) -> str:
    """Return what the page says to an uploaded image, as HTML; nothing for none.

    Args:
        file: as it was uploaded.
        sides: the networks.
    """
    if file is None:
        return ""
    try:
        image = smaller(to_rgb(file))
    except InputError as error:
        reason = str(error).replace(str(Path(file)), Path(file).name)
        return rendered(problem=reason)
    views = [look(side, image) for side in sides]
    agreement = 100 * float((views[0].ids == views[-1].ids).mean())
    return rendered(
        problem=None,
        name=Path(file).name,
        photograph=data_address(image),
        views=views,
        classes=sides[0].model.classes,
        agreement=agreement if len(views) > 1 else None,
    )


def smaller(image: ByteArray) -> ByteArray:
    """Return an image (H, W, 3) whose longer side is `LONGEST` pixels at most."""
    picture = Image.fromarray(image)
    picture.thumbnail((LONGEST, LONGEST))
    return np.asarray(picture)


def look(side: Side, image: ByteArray) -> Seen:
    """Ask one network about an image (H, W, 3)."""
    model = side.model
    best, labels = model.probabilities(image).max(dim=0)
    ids = labels.byte().numpy()
    counts = np.bincount(ids.ravel(), minlength=len(model.classes))
    return Seen(
        side=side,
        ids=ids,
        overlay=data_address(overlay(image, ids, model.classes)),
        confidence=data_address((255 * best).round().byte().numpy()),
        mean_confidence=100 * float(best.mean()),
        shares=(100 * counts / ids.size).tolist(),
    )


def data_address(image: ByteArray) -> str:
    """Return an image (H, W) or (H, W, 3) as a `data:` address."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, "jpeg", quality=90)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode('ascii')}"


def rendered(**parts: object) -> str:
    """Fill the template of the answer."""
    loader = PackageLoader("sepico_pl.serving", "")
    templates = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    return templates.get_template("trying.html.jinja").render(**parts)
