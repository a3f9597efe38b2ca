"""The whole table of hostile cases: what is done, what is said."""

from dataclasses import replace

import hostile_cases
import hostile_files
import hostile_keys
import hostile_late
import hostile_own
import hostile_reports
import hostile_security
from hostile_cases import Case

NO_WORKERS = "data.workers=0"
ONE_PROCESS = [
    *hostile_cases.CASES,
    *hostile_files.CASES,
    *hostile_keys.CASES,
    *hostile_late.CASES,
    *hostile_own.CASES,
    *hostile_reports.CASES,
    *hostile_security.CASES,
]


def is_loading(case: Case) -> bool:
    """Whether a training run gets so far that loader processes could meet the case."""
    return NO_WORKERS in case.words and (case.code == 0 or case.may_begin)


def with_workers(case: Case) -> Case:
    """Return the same with two loader processes."""
    words = [word for word in case.words if word != NO_WORKERS]
    return replace(case, name=f"{case.name}, two workers", words=[*words, "data.workers=2"])


CASES = [*ONE_PROCESS, *(with_workers(case) for case in ONE_PROCESS if is_loading(case))]
