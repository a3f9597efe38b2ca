"""The whole table of hostile cases: what is done, what is said."""

import hostile_cases
import hostile_files
import hostile_own
import hostile_reports
import hostile_security

CASES = [
    *hostile_cases.CASES,
    *hostile_files.CASES,
    *hostile_own.CASES,
    *hostile_reports.CASES,
    *hostile_security.CASES,
]
