"""The report of a run: one HTML page that needs nothing else, readable without its script."""

import base64
import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, cast

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from omegaconf import DictConfig, OmegaConf

from sepico_pl.limits import PATH, OrNull, Rule, check_limits
from sepico_pl.reporting import page_settings
from sepico_pl.reporting.comparability import (
    OTHER_POLICY,
    STATISTICS,
    contrast_notes,
    policy_note,
)
from sepico_pl.reporting.page_curves import charts
from sepico_pl.reporting.page_diagnosis import diagnosis_of
from sepico_pl.reporting.page_map import map_of
from sepico_pl.reporting.page_pictures import panel_of
from sepico_pl.reporting.page_scores import class_scores, confusion_rows, means
from sepico_pl.reporting.runs import Run, open_run
from sepico_pl.tables import write_text
from sepico_pl.types import InputError

RULES: dict[str, Rule] = {"run": PATH, "baseline": OrNull(PATH), "output": OrNull(PATH)}
GENERATOR = "sepico_pl.report"
SECTIONS = {
    "result": "Result",
    "classes": "Classes",
    "curves": "Curves",
    "diagnosis": "Diagnosis",
    "confusion": "Confusion matrix",
    "pictures": "Pictures",
    "mixed": "What it learnt from",
    "embeddings": "Embedding space",
    "settings": "Settings",
    "environment": "Environment",
}


def report(config: DictConfig) -> Path:
    """Write the page that the command line asks for, and say where.

    Raises:
        InputError: see `write_report`.
    """
    plain = cast(dict[str, Any], OmegaConf.to_container(config, throw_on_missing=True))
    check_limits(plain, RULES)
    folder, baseline, output = (
        None if plain[key] is None else Path(plain[key]).expanduser() for key in RULES
    )
    assert folder is not None  # a mandatory key
    path = write_report(folder, baseline, output)
    print(f"written: {path}")
    return path


def write_report(folder: Path, baseline: Path | None = None, output: Path | None = None) -> Path:
    """Write the report of a run, whole or not at all; an earlier one is replaced.

    Args:
        folder: of the run, finished or not.
        baseline: folder of a run to compare with; None for none.
        output: the page; None for `report.html` in `folder`.

    Returns:
        The page.

    Raises:
        InputError: if a folder holds no run, a file of it is damaged, or `output` is another file.
    """
    run = open_run(folder)
    other = None if baseline is None else open_run(baseline, key="baseline")
    path = output or folder / "report.html"
    refuse_to_replace(path)
    page = render(run, other)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)
    return path


def refuse_to_replace(path: Path) -> None:
    """Refuse a folder, and a file that is no report.

    Raises:
        InputError: naming it.
    """
    if path.is_dir():
        message = f"output={path} is a folder; name a file in it"
        raise InputError(message)
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(1000)
        if GENERATOR.encode() not in head:
            message = f"output={path} is there and no report; choose another name"
            raise InputError(message)


def render(run: Run, baseline: Run | None) -> str:
    """Return the page. Its policy forbids the browser any request and any other script."""
    script = templates().get_template("page.js").render()
    diagnosis = diagnosis_of(run)
    absent = {"diagnosis"} if diagnosis is None else set()
    return (
        templates()
        .get_template("page.html.jinja")
        .render(
            generator=GENERATOR,
            now=datetime.now(tz=UTC).isoformat(timespec="seconds"),
            script=Markup(script),
            script_hash=content_hash(script),
            sections={key: title for key, title in SECTIONS.items() if key not in absent},
            run=run,
            baseline=baseline,
            overview=page_settings.overview(run, baseline),
            judged_with=STATISTICS[run.batch_norm],
            other_policy=OTHER_POLICY,
            policy_note=policy_note(run, baseline),
            contrast_notes=contrast_notes(run, baseline),
            means=means(run, baseline),
            classes=class_scores(run, baseline),
            charts=charts(run, baseline),
            diagnosis=diagnosis,
            confusion=confusion_rows(run),
            panel=panel_of(run.folder / "pictures", run.panel),
            map=map_of(run.folder),
            settings=page_settings.settings(run.config),
            differences=page_settings.differences(run, baseline),
            surroundings=page_settings.surroundings,
        )
    )


@cache
def templates() -> Environment:
    """Return the page's templates, in which all that is filled in is text."""
    found = Environment(
        loader=PackageLoader("sepico_pl.reporting", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    found.filters |= {"paired": paired, "numbered": enumerate}
    return found


def paired(values: Iterable[object]) -> list[tuple[object, object]]:
    """Return each value twice: an option's value and its text."""
    return [(value, value) for value in values]


def content_hash(script: str) -> str:
    """Return the name of a script in a Content-Security-Policy."""
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
