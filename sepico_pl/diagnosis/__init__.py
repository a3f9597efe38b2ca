"""The diagnosis of a run: why, and where, the pixel contrast helps (docs/diagnosis.md)."""
