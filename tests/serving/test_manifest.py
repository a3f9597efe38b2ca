"""The manifest of an output folder that others wrote, or a disk damaged."""

import json
from pathlib import Path

import pytest

from sepico_pl.serving.inputs import Photograph
from sepico_pl.serving.manifest import MANIFEST, Manifest
from sepico_pl.types import InputError

SETTINGS = {"checkpoint": "abc", "logits": False}
SAID = json.dumps({"settings": SETTINGS})


@pytest.fixture
def photograph(tmp_path: Path) -> Photograph:
    (tmp_path / "a.png").write_text("x")
    return Photograph(tmp_path / "a.png", "a")


@pytest.mark.parametrize(
    "text",
    ["", "[", '{"settings": 5}', '{"settings": null}', "[" * 99_999, '{"begun": "a"}', SAID[:-3]],
)
def test_a_manifest_that_does_not_say_its_settings_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(InputError, match="damaged, it does not say of which settings"):
        Manifest(tmp_path, SETTINGS)


@pytest.mark.parametrize(
    "line",
    [
        '{"done": 1}',
        '{"done": "a"}',
        '{"done": ["a"], "image": 1, "bytes": 1, "changed": 1}',
        '{"begun": {}}',
        "5",
        '{"a":' * 99_999,
        '{"done": "a", "image"',
        '{"begun": ' + "9" * 5000 + "}",
        "\0\0\0",
    ],
)
def test_a_damaged_line_counts_for_nothing(
    tmp_path: Path, photograph: Photograph, line: str
) -> None:
    (tmp_path / MANIFEST).write_text(f"{SAID}\n{line}\n")
    manifest = Manifest(tmp_path, SETTINGS)
    assert manifest.pending([photograph]) == [photograph]
    manifest.begin([photograph])
    manifest.finish([photograph])
    assert "a" in Manifest(tmp_path, SETTINGS).done


def test_what_it_holds_does_not_flood_the_message(tmp_path: Path, photograph: Photograph) -> None:
    told = {"settings": {**SETTINGS, "checkpoint": "x" * 10**6}}
    (tmp_path / MANIFEST).write_text(json.dumps(told))
    with pytest.raises(InputError) as caught:
        Manifest(tmp_path, SETTINGS)
    assert len(str(caught.value)) < 1000
