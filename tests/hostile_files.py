"""Hostile cases: files, sizes and damage; see hostile_cases.py."""

from hostile_cases import Case

CASES: list[Case] = []
