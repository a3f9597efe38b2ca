"""What stands between two runs beside their settings: batch norm at judging, a contrast unused."""

from sepico_pl.contrast_start import without_contrast
from sepico_pl.reporting.runs import Run

OTHER_POLICY = "†"
NO_CONTRAST = "‡"
"""Marks of what a note explains."""
STATISTICS = {
    "running": "running batch-norm statistics",
    "target": "target batch-norm statistics",
    "none": "no batch norm",
}
BOTH_UNDER_ONE = "python -m sepico_pl.evaluate checkpoint=<run>/last.ckpt batch_norm=<policy>"


def policies_differ(one: str, other: str) -> bool:
    """Whether a difference between runs judged under these policies is in part batch norm's."""
    return {one, other} == {"running", "target"}


def policy_note(run: Run, baseline: Run | None) -> str:
    """Say that a run and its baseline were judged under different policies; "" if they were not."""
    if baseline is None or not policies_differ(run.batch_norm, baseline.batch_norm):
        return ""
    return (
        f"{OTHER_POLICY} This run was judged with {STATISTICS[run.batch_norm]}, the baseline with "
        f"{STATISTICS[baseline.batch_norm]}: a part of the gains may be batch norm's alone. "
        f"{BOTH_UNDER_ONE} judges either under the other's."
    )


def contrast_notes(run: Run, baseline: Run | None) -> list[str]:
    """Say which of the two ends before its contrast starts."""
    runs = {"This run": run} if baseline is None else {"This run": run, "The baseline": baseline}
    return [
        f"{name} trains {without_contrast(one.record.config.adapt.contrast_start)}."
        for name, one in runs.items()
        if one.contrast_steps == 0
    ]
