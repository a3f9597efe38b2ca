"""What a report says beside its score: the batch-norm policy, and a contrast that was not used."""

from pathlib import Path

import pytest
from sample_runs import CONFIG, write_run, write_scores
from test_page import text_of

from sepico_pl.reporting.page import write_report


def judged(folder: Path, score: float, policy: str, **config: object) -> Path:
    adapt = {**CONFIG["adapt"], "batch_norm": policy}
    write_scores(write_run(folder, {"adapt": adapt, **config}), {"mIoU": score}, policy)
    return folder


@pytest.mark.parametrize("policy", ["running", "target"])
def test_the_policy_stands_beside_the_score(tmp_path: Path, policy: str) -> None:
    text = text_of(write_report(judged(tmp_path, 60.0, policy)))
    assert f"mIoU 60.0 % last; best 60.0 at step 0; {policy} batch-norm statistics" in text
    assert f"judged with {policy} batch-norm statistics" in text
    assert "†" not in text


def test_a_network_without_batch_norm_has_no_policy(tmp_path: Path) -> None:
    text = text_of(write_report(judged(tmp_path, 60.0, "target", norm="group")))
    assert "best 60.0 at step 0; no batch norm" in text


def test_gains_over_a_baseline_under_another_policy_are_marked(tmp_path: Path) -> None:
    run = judged(tmp_path / "run", 60.0, "target")
    baseline = judged(tmp_path / "baseline", 46.0, "running")
    text = text_of(write_report(run, baseline))
    assert "mIoU 60.0 % +14.0 † over the baseline's 46.0" in text
    assert "class IoU gain" not in text  # no class was judged
    told = "judged with target batch-norm statistics, the baseline with running"
    assert f"† This run was {told}" in text


def test_the_gains_of_classes_are_marked_too(tmp_path: Path) -> None:
    for name, policy in (("run", "running"), ("baseline", "target"), ("alike", "running")):
        write_scores(judged(tmp_path / name, 0, policy), {"mIoU": 9.0, "IoU/road": 9.0}, policy)
    text = text_of(write_report(tmp_path / "run", tmp_path / "baseline"))
    assert "class IoU gain † 0 to 100 %" in text
    assert text.count("† This run was judged with running batch-norm statistics") == 2
    assert "†" not in text_of(write_report(tmp_path / "run", tmp_path / "alike"))


@pytest.mark.parametrize(("start", "is_said"), [(300, True), (299, False)])
def test_a_contrast_that_never_started_is_said_beside_the_score(
    tmp_path: Path, start: int, is_said: bool
) -> None:
    adapt = {**CONFIG["adapt"], "contrast_start": start}
    run = write_run(tmp_path / "run", {"adapt": adapt})
    baseline = write_run(tmp_path / "baseline", {"adapt": adapt, "contrast": None})
    for folder in (run, baseline):
        write_scores(folder, {"mIoU": 50.0})
    sentence = f"trains without its contrast, which starts after {start} steps"
    assert (f"This run {sentence}" in text_of(write_report(run))) == is_said
    beside = text_of(write_report(baseline, run))
    assert (f"The baseline {sentence}" in beside) == is_said
    assert "This run trains" not in beside  # it has no contrast
