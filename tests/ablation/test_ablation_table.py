"""The tables of an ablation: numbers worked out by hand, and what they warn of."""

import json
import math
from collections import Counter
from multiprocessing import get_context
from pathlib import Path

import pytest
from ablations import row, suite_of, write_sample
from compared_runs import rows_of as csv_of

from sepico_pl.ablation.output import csv_rows, html, markdown, write_ablation
from sepico_pl.ablation.results import COLUMNS, add_row, read_results, write_results
from sepico_pl.ablation.statistics import difference
from sepico_pl.ablation.suites import Suite
from sepico_pl.ablation.table import Ablation, ablation_of, cells, footnotes, headings, title
from sepico_pl.types import InputError

T_OF_TWO = 4.30265272991
"""The 97.5 % quantile of Student's t with two degrees of freedom: 0.95 sqrt(2 / (1 - 0.95^2))."""


@pytest.fixture
def ablation(tmp_path: Path) -> Ablation:
    suite = suite_of(tmp_path)
    path = write_sample(tmp_path, suite)
    return ablation_of(suite, "exploration", read_results(path), path, ["suite=small"])


def test_means_deviations_and_paired_intervals_are_those_of_a_hand(ablation: Ablation) -> None:
    assert pytest.approx(0.95 * math.sqrt(2 / (1 - 0.95**2))) == T_OF_TWO
    source, mixed, late = ablation.lines("running")
    assert source.score[1:] == (30.0, 0.0)
    assert mixed.score[1:] == (32.0, 1.0)
    assert late.score[1:] == (34.0, None)
    found = mixed.differences["source_only"]  # 1, 2, 3
    half = T_OF_TWO * 1 / math.sqrt(3)
    assert found.mean == pytest.approx(2)
    assert found.interval == pytest.approx((2 - half, 2 + half))
    assert source.differences["source_only"] is None
    assert late.differences["mixed"][:3] == (2.0, None, [2])
    assert (mixed.minutes, mixed.memory_mb) == (2.0, 900.0)

    found = ablation.lines("target")[1].differences["source_only"]  # 2, 2, 8
    half = T_OF_TWO * math.sqrt(12) / math.sqrt(3)
    assert found.mean == pytest.approx(4)
    assert found.interval == pytest.approx((4 - half, 4 + half))


def test_differences_pair_seeds_whatever_their_order(tmp_path: Path) -> None:
    suite = suite_of(tmp_path)
    ours = {seed: row(suite, "mixed", seed, 10.0 * seed + 1, 0.0) for seed in (3, 2, 1)}
    control = {seed: row(suite, "late", seed, 10.0 * seed, 0.0) for seed in (1, 2, 3)}
    assert difference(ours, control, "running")[:2] == (1.0, pytest.approx((1.0, 1.0)))
    assert difference({}, control, "running") is None


def test_one_policy_holds_in_all_rows_and_adabn_has_its_name(ablation: Ablation) -> None:
    running, target = cells(ablation, "running"), cells(ablation, "target")
    assert running[0][:4] == ["source_only", "3", "30.0", "0.0"]
    assert target[0][:4] == ["AdaBN", "3", "33.0", "0.0"]
    assert running[1][4:] == ["+2.0 [-0.5, +4.5] (n = 3)", "-", "2.0", "900"]
    assert target[1][4:] == ["+4.0 [-4.6, +12.6] (n = 3)", "-", "2.0", "900"]
    assert target[2][:6] == ["late", "1", "36.0", "-", "+3.0 (n = 1)", "+1.0 (n = 1)"]
    assert headings(ablation, "target")[4] == "− AdaBN [95 % CI]"  # noqa: RUF001
    assert headings(ablation, "running")[4].startswith("− source_only")  # noqa: RUF001


def test_the_footnotes_tell_phase_tries_gaps_and_differences_across_machines(
    ablation: Ablation,
) -> None:
    assert title(ablation) == "small: exploration seeds 1 2 3"
    told = footnotes(ablation)
    assert any(note.startswith("Tried on the exploration seeds: 3 settings,") for note in told)
    assert "Incomplete: late lacks seeds 1, 3." in told
    assert [note for note in told if "crosses machines" in note] == [
        f"Warning: {pair} crosses machines at seed 3; run both on one machine."
        for pair in ("source_only minus mixed", "mixed minus source_only")
    ]


def test_the_footnotes_tell_of_rows_made_with_other_code_or_images(tmp_path: Path) -> None:
    suite = suite_of(tmp_path)
    path = write_sample(tmp_path, suite)
    assert not any("differ:" in note for note in told_of(suite, path))
    add_row(path, row(suite, "late", 1, 60.0, 60.0, commit="ba9876543210 dirty", images="other"))
    assert [note for note in told_of(suite, path) if "differ:" in note] == [
        "Warning: the commits differ: 0123456789ab (7 runs), ba9876543210 dirty (1 run).",
        "Warning: the images of late differ: other (1 run), fedcba (1 run).",
    ]


def told_of(suite: Suite, path: Path) -> list[str]:
    return footnotes(ablation_of(suite, "exploration", read_results(path), path, []))


def add_rows(folder: Path, setting: str) -> None:
    """Add a row for each of many seeds, as an ablation with an output folder of its own does."""
    suite = suite_of(folder / setting, exploration=list(range(20)), confirmation=[99])
    for seed in range(20):
        add_row(folder / "results.csv", row(suite, setting, seed, 1.0, 2.0))


def test_two_ablations_may_share_a_results_file(tmp_path: Path) -> None:
    add_rows(tmp_path, "late")
    context = get_context("spawn")
    both = [
        context.Process(target=add_rows, args=(tmp_path, setting))
        for setting in ("source_only", "mixed")
    ]
    for process in both:
        process.start()
    for process in both:
        process.join()
    found = Counter(one.setting for one in read_results(tmp_path / "results.csv"))
    assert found == {"late": 20, "source_only": 20, "mixed": 20}


def test_rows_of_other_overrides_and_other_suites_do_not_count(tmp_path: Path) -> None:
    before = suite_of(tmp_path)
    path = write_sample(tmp_path, before)
    add_row(path, row(before, "mixed", 11, 50.0, 50.0))
    another = suite_of(tmp_path / "another", name="another")
    add_row(path, row(another, "late", 1, 60.0, 60.0))
    settings = before.settings
    now = suite_of(tmp_path, settings={**settings, "mixed": ["adapt=self_training", "norm=group"]})
    ablation = ablation_of(now, "exploration", read_results(path), path, [])
    source, mixed, late = ablation.lines("running")
    assert (source.seeds, mixed.seeds, late.seeds) == ([1, 2, 3], [], [2])
    assert mixed.differences == {"source_only": None, "mixed": None}
    told = footnotes(ablation)
    assert (
        "Not used, the overrides of its setting have changed: mixed seed 2, which had "
        "adapt=self_training dataset=streets." in told
    )
    assert not any("seed 11" in note for note in told)
    assert "Incomplete: mixed lacks seeds 1, 2, 3." in told
    confirmed = ablation_of(before, "confirmation", read_results(path), path, [])
    assert confirmed.lines("running")[1].score.values == [50.0]


def test_files_hold_both_tables_and_end_in_the_command(ablation: Ablation, tmp_path: Path) -> None:
    paths = write_ablation(ablation, tmp_path / "out")
    assert [path.name for path in paths] == [
        f"exploration.{kind}" for kind in ("md", "csv", "html")
    ]
    text = markdown(ablation)
    assert text.rstrip().endswith("Again: `python -m sepico_pl.ablate suite=small`")
    assert text.count("| AdaBN | 3 | 33.0 | 0.0 |") == 1
    page = html(ablation)
    assert page.count("<table>") == 2
    assert "crosses machines at seed 3" in page
    rows = csv_of(paths[1])
    assert len(rows) == len(csv_rows(ablation)) - 1 == 2 * 3 * 2
    (found,) = (
        one
        for one in rows
        if (one["batch_norm"], one["setting"], one["control"]) == ("target", "mixed", "source_only")
    )
    assert float(found["difference"]) == pytest.approx(4)
    assert (found["common_seeds"], found["across_machines"]) == ("1 2 3", "3")


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    suite = suite_of(
        tmp_path, settings={"a": ["+data.x=1"]}, controls=["a"], adabn=None, common=["+b=1"]
    )
    path = tmp_path / "results.csv"
    written = [row(suite, "a", 1, 30.123456789, 31.0, seconds=None)]
    write_results(path, written)
    assert json.loads(csv_of(path)[0]["classes_running"]) == {"road": 30.123456789}
    (read,) = read_results(path)
    assert read.model_copy(update={"overrides": ""}) == written[0].model_copy(
        update={"overrides": ""}
    )
    assert ablation_of(suite, "exploration", [read], path, []).lines("running")[0].seeds == [1]


@pytest.mark.parametrize(
    ("column", "cell", "told"),
    [
        ("seed", "x", "row 2: seed: input should be a valid integer"),
        ("mIoU_target", "101", "row 2: mIoU_target: must be a number from 0 to 100"),
        ("mIoU_target", "nan", "row 2: mIoU_target: input should be a finite number"),
        ("seconds", "-1", "row 2: seconds: input should be greater than or equal to 0"),
        ("classes_running", "{", "row 2: classes_running: must be JSON"),
        ("phase", "later", "row 2: phase: input should be 'exploration' or 'confirmation'"),
        ("setting", "../x", "row 2: setting: '../x' must be up to 80 letters"),
    ],
)
def test_a_damaged_cell_is_named(tmp_path: Path, column: str, cell: str, told: str) -> None:
    path = write_sample(tmp_path, suite_of(tmp_path))
    lines = path.read_text().splitlines()
    whole = next(iter(csv_of(path)))
    whole[column] = cell
    cells = ['"' + whole[name].replace('"', '""') + '"' for name in COLUMNS]
    path.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n")
    with pytest.raises(InputError) as refusal:
        read_results(path)
    assert f"{path}: {told}" in str(refusal.value)


def test_a_run_with_two_rows_and_a_foreign_file_are_refused(tmp_path: Path) -> None:
    suite = suite_of(tmp_path)
    path = write_sample(tmp_path, suite)
    add_row(path, row(suite, "mixed", 1, 1.0, 1.0, overrides="other"))
    whole = path.read_bytes()
    write_results(path, [*read_results(path), row(suite, "mixed", 1, 1.0, 1.0)])
    with pytest.raises(InputError, match="small mixed seed 1 stands there twice"):
        read_results(path)
    path.write_bytes(whole[:-41])
    with pytest.raises(InputError, match="row 9 has 14 cells, not 16"):
        read_results(path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="its first line must be suite,setting,phase,seed"):
        read_results(path)
