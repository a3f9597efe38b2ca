"""What the files of a run folder must hold. A folder may come from others: all of it is data."""

from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from sepico_pl.json_files import Content
from sepico_pl.tables import LARGEST_STEP

MOST_CLASSES = 256
MOST_SCENES = 100
LONGEST_NAME = 200


def _is_file_name(name: str) -> str:
    is_name = name.isprintable() and PurePath(name).name == name and name not in ("", "..")
    if not is_name or len(name) > LONGEST_NAME:
        message = "must be the name of a file beside panel.json"
        raise ValueError(message)
    return name


def _is_percent(value: float) -> float:
    if value < 0 or value > 100.01:  # NaN passes: a mean over classes of which none occurs
        message = "must be a number from 0 to 100"
        raise ValueError(message)
    return value


Step = Annotated[int, Field(ge=0, le=LARGEST_STEP)]
Percent = Annotated[float, AfterValidator(_is_percent)]
Level = Annotated[int, Field(ge=0, le=255)]
Pixels = Annotated[int, Field(ge=0, le=2**63)]
FileName = Annotated[str, AfterValidator(_is_file_name)]
BatchNorm = Literal["running", "target"]
Names = Annotated[list[str], Field(max_length=MOST_CLASSES)]
Measure = Annotated[float, Field(allow_inf_nan=False)] | None


class Git(Content):
    """The checkout that ran."""

    commit: str
    changed: list[str]


class Session(Content):
    """How a run was begun, or gone on with."""

    time: str
    command: list[str]
    host: str
    threads: int
    git: Git | None
    checkpoint: str | None = None


class Part(Content):
    """A part of a configuration that builds an object."""

    target: str = Field(alias="_target_")


class Adapt(Part):
    """A method, and what of it earlier versions leave out."""

    batch_norm: BatchNorm = "running"
    contrast_start: Step = 0


class Head(Content):
    """The heads of a network."""

    decode: Part


class Trainer(Content):
    """How long a run is."""

    max_steps: Annotated[int, Field(ge=1, le=LARGEST_STEP)]
    log_every_n_steps: Step


class Config(Content):
    """What every configuration has."""

    name: str
    seed: Annotated[int, Field(ge=0, le=2**32)]
    adapt: Adapt
    contrast: Part | None
    head: Head
    backbone: Part
    dataset: Part
    trainer: Trainer


class Record(Session):
    """`run.json`; the configuration in it has more keys than these."""

    overrides: list[str]
    seed: int
    images: str = "absent"
    versions: dict[str, str]
    resumed: list[Session]
    config: Config


class Scores(Content):
    """`scores.json`; earlier versions say nothing of the contrast."""

    target: dict[str, Percent]
    batch_norm: BatchNorm | None = None
    contrast_steps: Step | None = None


class Confusion(Content):
    """`confusion.json`: pixels by class, `counts[truth][prediction]`, (C, C)."""

    classes: Names
    counts: Annotated[
        list[Annotated[list[Pixels], Field(max_length=MOST_CLASSES)]],
        Field(alias="target", max_length=MOST_CLASSES),
    ]

    @model_validator(mode="after")
    def _is_square(self) -> "Confusion":
        sides = {len(self.classes), len(self.counts), *map(len, self.counts)}
        if len(sides) > 1:
            message = "target must have a row and a column for each class"
            raise ValueError(message)
        return self


class SceneFiles(Content):
    """An image of the panel."""

    name: str
    image: FileName
    truth: FileName | None


class PanelFile(Content):
    """`pictures/panel.json`."""

    classes: Names
    palette: list[Annotated[list[Level], Field(min_length=3, max_length=3)]]
    scenes: Annotated[list[SceneFiles], Field(max_length=MOST_SCENES)]
    steps: list[Step]
    mixed: Annotated[int, Field(ge=0, le=MOST_SCENES)]

    @model_validator(mode="after")
    def _has_a_colour_for_each_class(self) -> "PanelFile":
        if len(self.palette) != len(self.classes):
            message = "palette must have a colour for each class"
            raise ValueError(message)
        return self


class Embeddings(Content):
    """`embeddings/summary.json`."""

    definition: str
    measures: Annotated[dict[str, str], Field(max_length=50)]
    rows: Annotated[list[dict[str, Any]], Field(max_length=MOST_CLASSES)]
    means: dict[str, Measure] | None = None

    @model_validator(mode="after")
    def _measures_are_numbers(self) -> "Embeddings":
        for row in self.rows:
            if not isinstance(row.get("class"), str):
                message = "rows: each must name its class"
                raise ValueError(message)
            values = [row[name] for name in self.measures if name in row]
            if not all(_is_measure(value) for value in values):
                message = "rows: measures must be numbers or null"
                raise ValueError(message)
        return self


def _is_measure(value: object) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return abs(value) < 1e300
    return value is None


def lies_inside(path: Path, folder: Path) -> bool:
    """Whether a file lies in a folder, links followed."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # links in a circle, names that cannot be
        return False
