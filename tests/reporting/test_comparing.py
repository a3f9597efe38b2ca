"""Comparing runs: which are one setting, what they are called, and the numbers over seeds."""

import math
from pathlib import Path

import pytest
from compared_runs import make, rows_of
from sample_runs import CONFIG, write_metrics, write_scores

from sepico_pl.reporting.comparing import compare
from sepico_pl.reporting.comparing_cells import summary_cells
from sepico_pl.reporting.comparing_settings import chosen, sort_runs
from sepico_pl.reporting.comparing_statistics import paired, spread
from sepico_pl.reporting.runs import find_runs


def sorted_in(folder: Path):
    return sort_runs(find_runs([folder]))


def names_in(folder: Path) -> list[str]:
    return [setting.name for setting in sorted_in(folder).settings]


def test_mean_and_deviation_are_those_of_the_seeds() -> None:
    found = spread({1: 10.0, 2: 12.0, 3: 17.0})
    assert found is not None
    assert found.mean == pytest.approx(13)
    assert found.deviation == pytest.approx(math.sqrt((9 + 1 + 16) / 2))
    assert spread({4: 7.0}) == ([7.0], 7.0, None)
    assert spread({}) is None


def test_the_paired_test_equals_the_closed_forms_of_students_distribution() -> None:
    three = paired({1: 11.0, 2: 22.0, 3: 33.0}, {3: 30.0, 2: 20.0, 1: 10.0})
    t = 2 * math.sqrt(3)  # differences 1, 2, 3: mean 2, deviation 1
    assert three is not None
    assert three[:2] == (2.0, 3)
    assert three.p == pytest.approx(1 - t / math.sqrt(t * t + 2))
    two = paired({1: 11.0, 2: 23.0, 9: 50.0}, {1: 10.0, 2: 20.0, 8: 1.0})
    assert two is not None
    assert two[:2] == (2.0, 2)  # differences 1, 3: t = 2 / (sqrt(2) / sqrt(2))
    assert two.p == pytest.approx(1 - 2 / math.pi * math.atan(2))


def test_what_cannot_be_tested_has_no_p() -> None:
    assert paired({1: 5.0, 2: 6.0}, {2: 5.0, 3: 6.0}) is None
    assert paired({1: 5.0, 2: 6.0}, {1: 4.0, 2: 5.0}) == (1.0, 2, None)


def test_seeds_of_one_configuration_are_one_setting_named_by_what_distinguishes_it(
    tmp_path: Path,
) -> None:
    for seed in (1, 2):
        for typed in ((), ("contrast=bank",), ("contrast=prototype",)):
            words = ("trainer.max_steps=300", *typed)
            weight = {"weight": len(typed)}  # what was typed differs from what was not
            make(tmp_path / f"{typed}{seed}", seed, 40.0 + seed, *words, optim=weight)
    found = sorted_in(tmp_path)
    assert {setting.name: list(setting.runs) for setting in found.settings} == {
        "default": [1, 2],
        "contrast=bank": [1, 2],
        "contrast=prototype": [1, 2],
    }
    assert found.shared == ["trainer.max_steps=300"]
    assert found.left_out == []


def test_where_overrides_do_not_tell_settings_apart_keys_do(tmp_path: Path) -> None:
    for policy in ("running", "target"):
        adapt = {**CONFIG["adapt"], "batch_norm": policy}
        make(tmp_path / policy, 1, 40.0, "contrast=bank", adapt=adapt)
    make(tmp_path / "other", 1, 40.0, "contrast=prototype")
    assert names_in(tmp_path) == [
        "contrast=prototype",
        "contrast=bank (adapt.batch_norm=running)",
        "contrast=bank (adapt.batch_norm=target)",
    ]


@pytest.mark.parametrize(
    "config",
    [
        {"name": "another"},
        {"logger": {"wandb": {"_target_": "sepico_pl.loggers.wandb_logger"}}},
        {"data_root": "/elsewhere"},
        {"masking": None},
        {"dataset": {**CONFIG["dataset"], "root": "/moved/to"}},
        {"trainer": {**CONFIG["trainer"], "accelerator": "gpu"}},
    ],
)
def test_what_shapes_no_score_separates_nothing(tmp_path: Path, config: dict) -> None:
    plain = {"dataset": {**CONFIG["dataset"], "root": "/data"}}
    make(tmp_path / "a", 1, 40.0, **plain)
    make(tmp_path / "b", 2, 41.0, "name=another", **{**plain, **config})
    assert names_in(tmp_path) == ["default"]


@pytest.mark.parametrize(
    ("difference", "name"),
    [
        ({"start": "/some.ckpt"}, "default (start=/some.ckpt)"),
        ({"data": {"batch_size": 8}}, "default (data.batch_size=8)"),
        ({"images": "other"}, "default (images=other)"),
    ],
)
def test_what_may_shape_scores_separates(tmp_path: Path, difference: dict, name: str) -> None:
    make(tmp_path / "a", 1, 40.0)
    make(tmp_path / "b", 2, 41.0, **difference)
    assert names_in(tmp_path)[1] == name


def test_of_two_runs_with_one_seed_the_newest_counts_and_the_other_is_named(
    tmp_path: Path,
) -> None:
    make(tmp_path / "a", 1, 50.0, time="2026-02-02T00:00:00+00:00")
    old = make(tmp_path / "b", 1, 40.0, time="2026-02-01T00:00:00+00:00")
    make(tmp_path / "c", 2, 60.0)
    found = sorted_in(tmp_path)
    assert found.settings[0].last("mIoU") == {1: 50.0, 2: 60.0}
    assert [line.split(":")[0] for line in found.left_out] == [str(old)]


def test_runs_without_scores_are_named_and_left_out(tmp_path: Path) -> None:
    make(tmp_path / "whole", 1, 50.0)
    make(tmp_path / "killed", 2, None)
    (make(tmp_path / "unlabelled", 3, None) / "last.ckpt").touch()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "run.json").write_text('{"overrides": []}')
    found = sorted_in(tmp_path)
    assert list(found.settings[0].runs) == [1]
    reasons = {
        Path(line.split(":")[0]).relative_to(tmp_path).parts[0]: line for line in found.left_out
    }
    assert "still running or was killed" in reasons["killed"]
    assert "no labelled target" in reasons["unlabelled"]
    assert "earlier version" in reasons["old"]


def test_best_is_the_highest_logged_judging_and_last_the_final_one(tmp_path: Path) -> None:
    for seed, course in ((1, (30.0, 50.0, 40.0)), (2, (20.0, 10.0, 30.0))):
        folder = make(tmp_path / str(seed), seed, course[-1])
        judged = {99 + 100 * index: value for index, value in enumerate(course)}
        write_metrics(folder, {"train/source": {5: 1.0}, "val/target/mIoU": judged})
    (line,) = compare([str(tmp_path)], None, None).lines
    assert line.best is not None
    assert (line.last.mean, line.best.mean) == (35.0, 40.0)


def test_a_class_that_some_runs_lack_counts_those_that_have_it(tmp_path: Path) -> None:
    for seed, scores in ((1, {"mIoU": 9.0, "IoU/bus": 4.0}), (2, {"mIoU": 9.0})):
        write_scores(make(tmp_path / str(seed), seed, None), scores)
    assert compare([str(tmp_path)], None, None).classes["bus"]["default"] == ([4.0], 4.0, None)
    assert rows_of(tmp_path / "compare_classes.csv")[0]["n"] == "1"


def test_subsets_of_classes_are_scores_of_their_own(tmp_path: Path) -> None:
    write_scores(make(tmp_path / "a", 1, None), {"mIoU": 9.0, "mIoU19": 9.0, "mIoU16": 8.0})
    lines = compare([str(tmp_path)], None, None).lines
    assert [(line.score, line.last.mean) for line in lines] == [
        ("mIoU", 9.0),
        ("mIoU19", 9.0),
        ("mIoU16", 8.0),
    ]


def test_a_baseline_is_chosen_by_its_name_or_a_part_that_no_other_has(tmp_path: Path) -> None:
    make(tmp_path / "a", 1, 1.0, "contrast=bank")
    make(tmp_path / "b", 1, 1.0, "contrast=bank", "optim=x", optim={"_target_": "x"})
    make(tmp_path / "c", 1, 1.0, "contrast=prototype")
    settings = sorted_in(tmp_path).settings
    assert chosen("contrast=bank", settings).name == "contrast=bank"  # the whole name of one
    assert chosen("proto", settings).name == "contrast=prototype"


def test_a_difference_of_nothing_has_no_sign(tmp_path: Path) -> None:
    for seed in (1, 2):
        make(tmp_path / f"a{seed}", seed, 40.0 + seed, "contrast=bank")
        make(tmp_path / f"b{seed}", seed, 39.99 + 1.001 * seed, "contrast=prototype")
    cells = summary_cells(compare([str(tmp_path)], "contrast=bank", None))
    assert cells[1][5] == "+0.0"
