"""The demo's table: in each column one batch-norm policy, in the row of gains like minus like."""

import json
from pathlib import Path

import pytest
from command_line import SOURCE_ONLY, call
from demo import SEPICO, columns_of, print_summary, summary_rows
from demo import SOURCE_ONLY as UNADAPTED
from policies import judged_under_each

SCORES = {
    UNADAPTED: {"running": {"mIoU": 40.0}, "target": {"mIoU": 45.0}},
    SEPICO: {"running": {"mIoU": 52.0}, "target": {"mIoU": 53.5}},
}


def test_each_gain_is_taken_within_one_policy() -> None:
    assert summary_rows(SCORES) == [
        ("source only", "40.0", "-"),
        ("AdaBN (source only, target statistics)", "-", "45.0"),
        (SEPICO, "52.0", "53.5"),
        ("SePiCo over source only, over AdaBN", "+12.0", "+8.5"),
    ]


def test_the_summary_names_both_policies(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(SCORES)
    printed = capsys.readouterr().out
    assert printed.index("running statistics") < printed.index("target statistics")
    assert "+12.0" in printed


def test_columns_name_method_and_policy() -> None:
    assert {name: scores["mIoU"] for name, scores in columns_of(SCORES).items()} == {
        "source only, running BN": 40.0,
        f"{SEPICO}, running BN": 52.0,
        "AdaBN, target BN": 45.0,
        f"{SEPICO}, target BN": 53.5,
    }


@pytest.mark.slow
def test_one_checkpoint_gives_the_scores_of_source_only_and_of_adabn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("none", "adabn"):
        words = [*SOURCE_ONLY, f"adapt={name}", f"hydra.run.dir={name}", "pictures=0"]
        assert call(monkeypatch, tmp_path, "train", *words) == ""
    none, adabn = (
        json.loads((tmp_path / name / "scores.json").read_text())["target"]
        for name in ("none", "adabn")
    )
    assert none != adabn
    assert judged_under_each(tmp_path / "none" / "last.ckpt") == {"running": none, "target": adabn}
