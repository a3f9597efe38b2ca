"""`diagnosis.json`: who was right about the target's cells, by class, at each measurement."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from sepico_pl.diagnosis.counts import CellCounts
from sepico_pl.json_files import Content, read_json
from sepico_pl.tables import LARGEST_STEP, write_json
from sepico_pl.types import InputError

MOST_CLASSES = 256
Cells = Annotated[
    list[Annotated[int, Field(ge=0, le=2**53)]], Field(min_length=1, max_length=MOST_CLASSES)
]


class Measurement(Content):
    """The cells of one measurement by true class: see `counts.CellCounts`.

    Attributes:
        step: optimizer steps before the measured one, and that one.
    """

    step: Annotated[int, Field(ge=0, le=LARGEST_STEP)]
    cells: Cells
    concept: Cells
    head: Cells
    both: Cells

    @model_validator(mode="after")
    def _counts_fit(self) -> "Measurement":
        columns = zip(self.cells, self.concept, self.head, self.both, strict=False)
        is_even = len({*map(len, (self.cells, self.concept, self.head, self.both))}) == 1
        if not is_even or not all(
            both <= min(concept, head) and concept + head - both <= cells
            for cells, concept, head, both in columns
        ):
            message = "its counts do not fit each other"
            raise ValueError(message)
        return self


class History(Content):
    """`diagnosis.json`.

    Attributes:
        classes: their names, in the order of the counts.
        images: names of the target images.
        latest: step of the last measurement; None if there is none.
        history: the measurements, by step.
    """

    classes: Annotated[list[str], Field(max_length=MOST_CLASSES)]
    images: list[str]
    latest: int | None = None
    history: list[Measurement]

    @model_validator(mode="after")
    def _has_a_count_for_each_class(self) -> "History":
        if any(len(one.cells) != len(self.classes) for one in self.history):
            message = "history must count each class"
            raise ValueError(message)
        return self


def begun(path: Path, classes: list[str], images: list[str], step: int) -> History:
    """Return what an earlier session of the run measured until `step`, of the same images.

    A damaged file is written anew with the next measurement.
    """
    new = History(classes=classes, images=images, history=[])
    try:
        earlier = read_json(path, History) if path.is_file() else new
    except InputError as error:
        print(f"{str(error).rpartition(';')[0]}; it is written anew")
        return new
    if (earlier.classes, earlier.images) != (classes, images):
        return new
    kept = [one for one in earlier.history if one.step <= step]
    return earlier.model_copy(update={"history": kept})


def write(path: Path, history: History, step: int, counts: CellCounts) -> History:
    """Add a measurement and write the file, whole or not at all."""
    measured = Measurement(step=step, **counts._asdict())
    grown = history.model_copy(update={"latest": step, "history": [*history.history, measured]})
    write_json(path, grown.model_dump())
    return grown
