"""docs/using.md, followed to the letter but for the training."""

import doctest
from pathlib import Path

import pytest

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "using.md"


def test_what_its_commands_write(guided: Path) -> None:
    written = guided / "predictions"
    assert {path.name for path in (written / "ids").iterdir()} == {"street.png", "other.png"}
    assert {path.name for path in (written / "one/ids").iterdir()} == {"street.png"}
    assert (written / "better/logits/street.npy").is_file()
    direct, exported = (
        (written / folder / "ids/street.png").read_bytes() for folder in (".", "exported")
    )
    assert direct == exported


def test_its_lines_of_python(guided: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(guided)
    ran = doctest.testfile(str(GUIDE), module_relative=False)
    assert (ran.failed, ran.attempted) == (0, 9)
