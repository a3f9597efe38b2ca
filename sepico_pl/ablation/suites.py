"""A suite: which settings an ablation trains, over which seeds, and what they are compared with.

A file may come from anybody: it is read as plain data, checked key by key.
"""

import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import AfterValidator, ConfigDict, Field, model_validator
from yaml import YAMLError

from sepico_pl.cli import find_conf
from sepico_pl.json_files import Content, checked
from sepico_pl.resuming import key_of
from sepico_pl.types import InputError

Phase = Literal["exploration", "confirmation"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
SET_BY_ABLATE = ("seed", "resume", "hydra")
SOURCE_ONLY = {"adapt=none"}
REMEDY = "mend the file; docs/ablations.md describes a suite"


def _is_name(name: str) -> str:
    if not NAME.fullmatch(name):
        message = f"{name!r} must be up to 80 letters, digits, '_', '.' and '-': it names folders"
        raise ValueError(message)
    return name


def _is_override(word: str) -> str:
    if word.startswith("-") or not (word.startswith("~") or "=" in word[1:]):
        message = f"{word!r} is no override: write key=value"
        raise ValueError(message)
    if key_of(word).split(".")[0].split("/")[0] in SET_BY_ABLATE:
        message = f"{word!r}: seeds, resumption and folders are chosen by ablate; take it out"
        raise ValueError(message)
    return word


def _are_different(words: list[str]) -> list[str]:
    keys = [key_of(word) for word in words]
    twice = next((word for word in words if keys.count(key_of(word)) > 1), None)
    if twice is not None:
        message = f"{key_of(twice)!r} is given twice"
        raise ValueError(message)
    return words


def _are_different_seeds(seeds: list[int]) -> list[int]:
    if len(set(seeds)) < len(seeds):
        message = f"{seeds} names a seed twice"
        raise ValueError(message)
    return seeds


Name = Annotated[str, AfterValidator(_is_name)]
Override = Annotated[str, AfterValidator(_is_override)]
Overrides = Annotated[list[Override], Field(min_length=1), AfterValidator(_are_different)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Seeds = Annotated[list[Seed], Field(min_length=1), AfterValidator(_are_different_seeds)]


class Suite(Content):
    """What an ablation consists of.

    Attributes:
        name: in the results, and of the folder.
        description: for readers of the table.
        common: overrides of all runs.
        settings: each one's own overrides, which go before the common ones.
        controls: settings that differences are taken to.
        exploration: seeds for choosing among settings.
        confirmation: seeds that nothing was chosen by; none of them explores.
        adabn: setting trained on the source alone, which target statistics make AdaBN.
    """

    model_config = ConfigDict(extra="forbid")

    name: Name
    description: str = ""
    common: Overrides
    settings: Annotated[dict[Name, Overrides], Field(min_length=1)]
    controls: Annotated[list[str], Field(min_length=1)]
    exploration: Seeds
    confirmation: Seeds
    adabn: str | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> "Suite":
        for key, names in (("controls", self.controls), ("adabn", [self.adabn] * bool(self.adabn))):
            for name in names:
                if name not in self.settings:
                    message = f"{key}: {name!r} is no setting: {', '.join(self.settings)}"
                    raise ValueError(message)
        if len(set(self.controls)) < len(self.controls):
            message = "controls: one is named twice"
            raise ValueError(message)
        both = sorted(set(self.exploration) & set(self.confirmation))
        if both:
            message = (
                f"seeds {both} are in exploration and in confirmation: what was chosen by a seed "
                "is not confirmed by it"
            )
            raise ValueError(message)
        if self.adabn is not None and not SOURCE_ONLY & set(self.words(self.adabn)):
            message = f"adabn: {self.adabn!r} is not trained on the source alone (adapt=none)"
            raise ValueError(message)
        return self

    def seeds(self, phase: Phase) -> list[int]:
        """Return the seeds of a phase."""
        return self.exploration if phase == "exploration" else self.confirmation

    def words(self, setting: str) -> list[str]:
        """Return the overrides that a setting's runs are given, in the order of their keys.

        Where a setting names a key of the common overrides, its own counts.
        """
        words = {key_of(word): word for word in [*self.common, *self.settings[setting]]}
        return [words[key] for key in sorted(words)]

    def overrides(self, setting: str) -> str:
        """Return these as one line for a shell: what rows of the results are recognised by."""
        return shlex.join(self.words(setting))

    def chosen(self, only: Iterable[str]) -> list[str]:
        """Return the settings that are asked for, in the suite's order; all for none.

        Raises:
            InputError: for a name that is no setting.
        """
        wanted = list(only)
        unknown = [name for name in wanted if name not in self.settings]
        if unknown:
            message = f"only={unknown[0]} is no setting of {self.name}: {', '.join(self.settings)}"
            raise InputError(message)
        return [name for name in self.settings if name in wanted or not wanted]


def read_suite(named: str) -> Suite:
    """Read a suite.

    Args:
        named: the name of a file in conf/ablation, or the path of one.

    Raises:
        InputError: if there is none, or it is no suite; naming the file and the key.
    """
    path = suite_file(named)
    return checked(plain_yaml(path), Suite, path, REMEDY)


def suite_file(named: str) -> Path:
    """Return the file of a suite.

    Raises:
        InputError: if there is none.
    """
    folder = Path(find_conf()) / "ablation"
    shipped = folder / f"{named}.yaml"
    if NAME.fullmatch(named) and shipped.is_file():
        return shipped
    path = Path(named).expanduser()
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        message = f"suite={named}: there is no such suite or file; name a YAML, or one of: {names}"
        raise InputError(message)
    return path


def plain_yaml(path: Path) -> Mapping[str, Any]:
    """Read a YAML file as plain data: nothing in it is run or looked up, no key stands twice.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (OSError, ValueError, RecursionError, YAMLError, OmegaConfBaseException) as error:
        message = f"{path}: cannot be read as YAML ({' '.join(str(error).split())}); {REMEDY}"
        raise InputError(message) from error
    if not isinstance(content, dict):
        message = f"{path}: holds no keys; {REMEDY}"
        raise InputError(message)
    return content
