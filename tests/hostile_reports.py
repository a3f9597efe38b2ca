"""Hostile cases: run folders and their texts; see hostile_cases.py."""

from hostile_cases import Case

CASES: list[Case] = []
