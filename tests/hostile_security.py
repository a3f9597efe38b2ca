"""Hostile cases: what a file may ask for; see hostile_cases.py."""

from hostile_cases import Case

CASES: list[Case] = []
