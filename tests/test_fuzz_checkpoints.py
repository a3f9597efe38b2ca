"""A small run of scripts/fuzz_checkpoints.py: what is damaged is refused, or harmless."""

from pathlib import Path

import pytest
from fuzz_checkpoints import fuzz

pytestmark = pytest.mark.slow


def test_damaged_files_are_refused_or_harmless(tmp_path: Path) -> None:
    fuzzer = fuzz(150, 1, tmp_path)
    assert fuzzer.faults == []
    assert fuzzer.endings.total() == 150
    refused = sum(n for ending, n in fuzzer.endings.items() if ending.endswith("refused"))
    assert 75 < refused <= 150
