"""Paths are taken as they are typed."""

import unicodedata
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from sepico_pl.typed_paths import as_typed, paths

KEYS = ("checkpoint", "images")


def value_of(word: str) -> object:
    """Return what Hydra reads in an override."""
    return OverridesParser.create().parse_override(word).value()


@pytest.mark.parametrize(
    "path",
    [
        "2024",
        "001",
        "1e3",
        "true",
        "my [photos]",
        "a=b, c",
        "quo'te",
        'say "cheese"',
        "{a: b}",
        "c:\\photos\\",
        "50%",
        "a*b?",
        "(1)",
        "#7 & more",
        " led by a space",
        "night",
    ],
)
@pytest.mark.parametrize("key", ["checkpoint", "dataset.source_images", "paths.gta", "+images"])
def test_hydra_reads_what_was_typed(key: str, path: str) -> None:
    assert value_of(as_typed(f"{key}={path}", KEYS)) == path


@pytest.mark.parametrize(
    "word",
    [
        "images='a b'",
        'images="a b"',
        "images=null",
        "images=",
        "images=${oc.env:HOME}/x",
        "other=[1,2]",
        "dataset.classes=[a,b]",
        "--help",
        "~images",
    ],
)
def test_what_is_for_hydra_to_read_is_left_alone(word: str) -> None:
    assert as_typed(word, KEYS) == word


def test_choices_of_a_multirun_stay_choices() -> None:
    assert paths("checkpoint")(["-m", "checkpoint=a,b"]) == ["-m", "checkpoint=a,b"]
    assert paths("checkpoint")(["checkpoint=a,b"]) == ["checkpoint='a,b'"]


def test_what_hydras_grammar_escapes_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("epoch=1-step=2.ckpt").touch()
    assert value_of(as_typed(r"checkpoint=epoch\=1-step\=2.ckpt", KEYS)) == "epoch=1-step=2.ckpt"


def test_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert value_of(as_typed("images=~/my photos", KEYS)) == f"{tmp_path}/my photos"


@pytest.mark.parametrize(("stored", "typed"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_are_found_in_either_form(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stored: str, typed: str
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "Grüße/é"
    Path(unicodedata.normalize(stored, name)).mkdir(parents=True)
    found = value_of(as_typed(f"images={unicodedata.normalize(typed, name)}", KEYS))
    assert found == unicodedata.normalize(stored, name)
    Path(unicodedata.normalize(typed, name)).mkdir(parents=True)
    both = value_of(as_typed(f"images={unicodedata.normalize(typed, name)}", KEYS))
    assert both == unicodedata.normalize(typed, name)
