"""Suites: what is refused before anything runs, and the overrides that runs are given."""

from pathlib import Path

import pytest
from ablations import row, suite_of, write_suite

from sepico_pl.ablation.jobs import tasks_of
from sepico_pl.ablation.results import refuse_explored, rows_of
from sepico_pl.ablation.suites import read_suite
from sepico_pl.types import InputError


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"confirmation": [3, 4]}, "seeds [3] are in exploration and in confirmation"),
        ({"exploration": [1, 1]}, "exploration: [1, 1] names a seed twice"),
        ({"exploration": []}, "exploration: list should have at least 1 item"),
        ({"confirmation": None}, "confirmation: field required"),
        ({"exploration": ["1"]}, "exploration.0: input should be a valid integer"),
        ({"controls": ["source"]}, "controls: 'source' is no setting: source_only, mixed, late"),
        ({"controls": []}, "controls: list should have at least 1 item"),
        ({"controls": ["mixed", "mixed"]}, "controls: one is named twice"),
        ({"adabn": "mixed"}, "adabn: 'mixed' is not trained on the source alone"),
        ({"adabn": "none"}, "adabn: 'none' is no setting"),
        ({"settings": {}}, "settings: dictionary should have at least 1 item"),
        ({"settings": {"a": []}}, "settings.a: list should have at least 1 item"),
        ({"settings": {"a": ["x=1", "+x=2"]}}, "settings.a: 'x' is given twice"),
        ({"settings": {"../a": ["x=1"]}}, "'../a' must be up to 80 letters"),
        ({"settings": {"a": ["seed=4"]}}, "settings.a.0: 'seed=4': seeds, resumption and folders"),
        ({"settings": {"a": ["hydra.run.dir=x"]}}, "'hydra.run.dir=x': seeds, resumption"),
        ({"settings": {"a": ["--multirun"]}}, "'--multirun' is no override"),
        ({"common": ["streets"]}, "common.0: 'streets' is no override: write key=value"),
        ({"common": []}, "common: list should have at least 1 item"),
        ({"seeds": [1]}, "seeds: extra inputs are not permitted"),
        ({"name": "a/b"}, "name: 'a/b' must be up to 80 letters"),
    ],
)
def test_a_suite_that_cannot_be_trusted_is_refused(
    tmp_path: Path, changed: dict, told: str
) -> None:
    path = write_suite(tmp_path, **changed)
    with pytest.raises(InputError) as refusal:
        read_suite(str(path))
    assert str(refusal.value).startswith(f"{path}: ")
    assert told in str(refusal.value)
    assert str(refusal.value).endswith("mend the file; docs/ablations.md describes a suite")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("settings: [", "cannot be read as YAML"),
        ("name: a\nname: b\n", "duplicate key name"),
        ("- a\n", "holds no keys"),
        ("name: !!python/object/apply:os.system ['touch pwned']\n", "cannot be read as YAML"),
        ("name: ${oc.env:HOME}\n", "name: '${oc.env:HOME}' must be up to 80 letters"),
    ],
)
def test_a_file_is_plain_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suite.yaml").write_text(text)
    with pytest.raises(InputError, match="suite") as refusal:
        read_suite("suite.yaml")
    assert told in str(refusal.value)
    assert not (tmp_path / "pwned").exists()


def test_a_settings_own_overrides_go_before_the_common_ones(tmp_path: Path) -> None:
    common = ["trainer.max_steps=2", "contrast=bank", "dataset=streets"]
    settings = {"a": ["contrast=none", "~logger"], "b": ["data.crop_size=[32,32]"]}
    suite = suite_of(tmp_path, common=common, settings=settings, controls=["a"], adabn=None)
    assert suite.overrides("a") == "contrast=none dataset=streets '~logger' trainer.max_steps=2"
    assert suite.overrides("b") == (
        "contrast=bank 'data.crop_size=[32,32]' dataset=streets trainer.max_steps=2"
    )
    turned = suite_of(tmp_path, common=common[::-1], settings=settings, controls=["a"], adabn=None)
    assert turned.overrides("a") == suite.overrides("a")


def test_jobs_come_seed_by_seed_so_that_an_early_end_leaves_pairs(tmp_path: Path) -> None:
    suite = suite_of(tmp_path)
    chosen = suite.chosen(["late", "source_only"])
    tasks = list(tasks_of(suite, "confirmation", chosen, tmp_path, tmp_path / "r.csv"))
    assert [task.name for task in tasks] == [
        "source_only seed 11",
        "late seed 11",
        "source_only seed 12",
        "late seed 12",
    ]
    assert tasks[1].training().words == [
        "trainer.enable_progress_bar=false",
        *("adapt=sepico", "contrast=bank", "dataset=streets", "seed=11", "resume=auto"),
        f"hydra.run.dir='{tmp_path}/runs/late/11'",
    ]


def test_the_suite_of_streets_is_one() -> None:
    suite = read_suite("streets")
    assert (suite.exploration, suite.confirmation) == ([1, 2, 3], [11, 12, 13, 14, 15])
    assert "contrast.weight=0" in suite.words("distribution_weight_0")
    assert set(suite.controls) < suite.settings.keys()


def test_a_seed_that_has_explored_cannot_confirm_later(tmp_path: Path) -> None:
    before = suite_of(tmp_path)
    rows = [row(before, "mixed", 3, 30.0, 31.0)]
    refuse_explored(before, rows)
    moved = suite_of(tmp_path, exploration=[1, 2], confirmation=[3, 11])
    with pytest.raises(InputError, match=r"seed 3 was run for exploration \(mixed\)"):
        refuse_explored(moved, rows)
    assert rows_of(moved, "confirmation", rows)["mixed"] == {}
