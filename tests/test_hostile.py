"""The table of hostile cases (tests/hostile_table.py): refused in one line, with nothing harmed."""

from pathlib import Path

import pytest
from hostile_cases import CannotBeDone, Case, faults
from hostile_table import CASES

pytestmark = pytest.mark.slow


def test_the_table_is_long_and_its_names_differ() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 100


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_ends_as_the_table_says(case: Case, tmp_path: Path) -> None:
    try:
        assert faults(case, tmp_path) == []
    except CannotBeDone as error:
        pytest.skip(str(error))
