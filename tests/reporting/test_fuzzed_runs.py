"""A small share of scripts/fuzz_run_folders.py."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import fuzz_run_folders


@pytest.mark.slow
def test_a_hundred_damaged_folders_end_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fuzz_run_folders, "MEMORY", 2**60)  # other tests have used theirs
    outcomes, faults = fuzz_run_folders.fuzz(tmp_path, 100, seed=7)
    assert faults == []
    assert len(outcomes) == 5
