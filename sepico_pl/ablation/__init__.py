"""Ablations: a suite of settings trained over seeds, a row per finished run, tables of the rows."""
