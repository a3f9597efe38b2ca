"""What a comparison says beside its numbers: batch-norm policies, contrasts unused, same runs."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest
from compared_runs import make, rows_of
from sample_runs import CONFIG, write_metrics, write_scores

from sepico_pl.reporting.comparing import compare
from sepico_pl.reporting.comparing_cells import notes, summary_cells
from sepico_pl.reporting.comparing_same import same_runs
from sepico_pl.reporting.comparing_settings import sort_runs
from sepico_pl.reporting.runs import Run, find_runs

LOSSES = {"train/source": {9: 0.1, 19: 0.3}, "train/mixed": {9: 0.7, 19: 0.2}}


def judged(folder: Path, seed: int, score: float, word: str, policy: str, **config: object) -> Path:
    """Write a run that is judged under a batch-norm policy, as its configuration says too."""
    adapt = {**CONFIG["adapt"], "batch_norm": policy}
    make(folder, seed, None, word, adapt=adapt, optim=word, **config)
    write_scores(folder, {"mIoU": score}, policy)
    return folder


def two_policies(folder: Path) -> None:
    for seed in (1, 2):
        judged(folder / f"a{seed}", seed, 30.0 + seed, "adapt=none", "running")
        judged(folder / f"b{seed}", seed, 38.0 + seed, "adapt=sepico", "target")
        judged(folder / f"c{seed}", seed, 35.0 + seed, "adapt=adabn", "target")


def test_a_difference_across_batch_norm_policies_is_marked_wherever_it_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two_policies(tmp_path)
    comparison = compare([str(tmp_path)], "adapt=sepico", None)
    assert [cells[5] for cells in summary_cells(comparison)] == ["-8.0 †", "baseline", "-3.0"]
    printed = " ".join(capsys.readouterr().out.split())
    page = (tmp_path / "compare.html").read_text(encoding="utf-8")
    markdown = (tmp_path / "compare.md").read_text(encoding="utf-8")
    assert "| mIoU | `adapt=none` | 1 2 | 31.5 ± 0.7 | - | -8.0 † | 2 | - |" in markdown
    assert "- Judged with running batch-norm statistics: `adapt=none`." in markdown
    assert '<td class="number">-8.0 †</td>' in page
    for text in (printed, markdown, page):
        assert "† judged under another batch-norm policy than the baseline" in text
    assert (
        "Judged with target batch-norm statistics: adapt=sepico; adapt=adabn. † judged" in printed
    )
    columns = ("setting", "batch_norm", "baseline_batch_norm")
    assert [tuple(row[name] for name in columns) for row in rows_of(tmp_path / "compare.csv")] == [
        ("adapt=none", "running", "target"),
        ("adapt=sepico", "target", "target"),
        ("adapt=adabn", "target", "target"),
    ]


def test_no_mark_where_no_difference_is_taken(tmp_path: Path) -> None:
    two_policies(tmp_path)
    comparison = compare([str(tmp_path)], None, None)
    assert "†" not in " ".join(notes(comparison))
    assert "Judged with running batch-norm statistics: adapt=none." in notes(comparison)
    assert rows_of(tmp_path / "compare.csv")[0]["baseline_batch_norm"] == ""


def test_one_policy_is_named_once_and_nothing_is_marked(tmp_path: Path) -> None:
    for seed in (1, 2):
        judged(tmp_path / f"a{seed}", seed, 30.0, "adapt=none", "running")
        judged(tmp_path / f"b{seed}", seed, 38.0, "adapt=sepico", "running")
    comparison = compare([str(tmp_path)], "adapt=none", None)
    assert [cells[5] for cells in summary_cells(comparison)] == ["baseline", "+8.0"]
    told = [note for note in notes(comparison) if "batch-norm" in note]
    assert told == ["All were judged with running batch-norm statistics."]


@pytest.mark.parametrize(
    ("recorded", "adapt", "norm", "policy"),
    [
        ({"batch_norm": "target"}, {"batch_norm": "running"}, "batch", "target"),
        ({}, {"batch_norm": "target"}, "batch", "target"),
        ({}, {}, "batch", "running"),
        ({"batch_norm": "target"}, {"batch_norm": "target"}, "group", "none"),
    ],
)
def test_the_policy_is_that_of_the_scores_and_in_old_runs_of_the_configuration(
    tmp_path: Path, recorded: dict, adapt: dict, norm: str, policy: str
) -> None:
    folder = make(tmp_path, 1, None, adapt={"_target_": "x.Y", **adapt}, norm=norm)
    (folder / "scores.json").write_text(json.dumps({"target": {"mIoU": 1.0}, **recorded}))
    assert Run(folder).batch_norm == policy


@pytest.mark.parametrize(
    ("start", "config", "recorded", "steps"),
    [
        (300, {}, {}, 0),
        (301, {}, {}, 0),
        (299, {}, {}, 1),
        (0, {}, {}, 300),
        (300, {"contrast": None}, {"contrast_steps": None}, None),
        (100, {}, {"contrast_steps": 0}, 0),  # it was ended earlier than its configuration says
    ],
)
def test_a_setting_that_ends_before_its_contrast_is_marked(
    tmp_path: Path, start: int, config: dict, recorded: dict, steps: int | None
) -> None:
    adapt = {**CONFIG["adapt"], "contrast_start": start}
    folder = make(tmp_path / "a", 1, None, adapt=adapt, **config)
    (folder / "scores.json").write_text(json.dumps({"target": {"mIoU": 40.0}, **recorded}))
    comparison = compare([str(tmp_path)], None, None)
    is_marked = steps == 0
    assert summary_cells(comparison)[0][3] == ("40.0 ‡" if is_marked else "40.0")
    assert any("‡ ended before its contrast" in note for note in notes(comparison)) == is_marked
    assert rows_of(tmp_path / "compare.csv")[0]["contrast_steps"] == (
        "" if steps is None else str(steps)
    )


def logged(
    folder: Path,
    seed: int,
    word: str,
    losses: Mapping[str, Mapping[int, float]] = LOSSES,
    score: float = 40.1,
) -> None:
    make(folder / f"{word}{seed}", seed, score, word, optim=word)
    write_metrics(folder / f"{word}{seed}", losses)


def found_in(folder: Path) -> list[tuple[tuple[str, ...], list[int]]]:
    return [tuple(same) for same in same_runs(sort_runs(find_runs([folder])).settings)]


def test_settings_that_gave_the_same_run_are_named_with_their_seeds(tmp_path: Path) -> None:
    contrasting = {**LOSSES, "train/target": {9: 0.5}}
    for seed in (1, 2):
        logged(tmp_path, seed, "a=1")
        logged(tmp_path, seed, "b=1", {**LOSSES, "train/target": {9: 0.0, 19: 0.0}})
        logged(tmp_path, seed, "c=1", contrasting)
    logged(tmp_path, 3, "a=1")
    logged(tmp_path, 3, "d=1", contrasting)
    logged(tmp_path, 3, "c=1", contrasting)
    assert found_in(tmp_path) == [(("a=1", "b=1"), [1, 2]), (("c=1", "d=1"), [3])]
    compare([str(tmp_path)], None, None)
    told = "`a=1` and `b=1` gave the same run for seeds 1 2: equal scores and losses, to the bit."
    assert told in (tmp_path / "compare.md").read_text(encoding="utf-8")


def test_one_bit_tells_runs_apart(tmp_path: Path) -> None:
    logged(tmp_path, 1, "a=1")
    logged(tmp_path, 1, "b=1", {**LOSSES, "train/mixed": {9: 0.7, 19: math.nextafter(0.2, 1)}})
    logged(tmp_path, 1, "c=1", score=math.nextafter(40.1, 100))
    logged(tmp_path, 1, "d=1", {**LOSSES, "train/source": {9: 0.1, 29: 0.3}})
    logged(tmp_path, 2, "e=1")  # another seed
    assert found_in(tmp_path) == []


def test_equal_scores_without_logged_losses_are_no_evidence(tmp_path: Path) -> None:
    make(tmp_path / "a", 1, 40.0, "a=1", optim="a")
    make(tmp_path / "b", 1, 40.0, "b=1", optim="b")
    assert found_in(tmp_path) == []
