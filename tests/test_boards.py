"""What two runs left in Weights & Biases and TensorBoard, read back with their own readers."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import wandb
import yaml
from command_line import ROOT, TINY, call, configured
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from sepico_pl.checkpoints import load
from sepico_pl.data.geometry import to_tensor
from sepico_pl.loggers import ended, wandb_logger
from sepico_pl.tables import read_rows

WORDS = [
    *[word for word in TINY if "max_steps" not in word],
    "trainer.max_steps=4",
    "trainer.val_check_interval=2",
    "trainer.log_every_n_steps=1",
    "logger=[wandb,tensorboard]",
    "hydra.sweep.dir=sweep",
    "hydra.sweep.subdir=seed-${seed}",
]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds, one after the other in one process."""
    folder = tmp_path_factory.mktemp("boards")
    with pytest.MonkeyPatch.context() as patch:
        assert call(patch, folder, "train", "-m", "seed=1,2", *WORDS) == ""
    return folder / "sweep"


def records(run: Path) -> list[dict]:
    """Return what W&B's own reader finds in the log of a run's last session."""
    log = max((run / "wandb").glob("offline-run-*"))
    program = Path(sys.executable).with_name("wandb")
    done = subprocess.run(
        [program, "leet", "inspect", "--json", log], capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def of_kind(found: list[dict], kind: str) -> list[dict]:
    return [record[kind] for record in found if record["type"] == kind]


def history(found: list[dict]) -> list[dict]:
    return [record["item"] for record in of_kind(found, "history")]


@pytest.fixture(scope="module")
def found(sweep: Path) -> list[dict]:
    return records(sweep / "seed-1")


def test_a_run_has_its_name_group_tags_configuration_and_code(
    sweep: Path, found: list[dict]
) -> None:
    (run,) = of_kind(found, "run")
    assert run["display_name"] == "streets_sepico_distribution_seed1"
    assert run["run_group"] == "streets_sepico_distribution"
    assert {"streets", "sepico", "distribution", "light"} <= set(run["tags"])
    config: dict = {}
    for record in of_kind(found, "config"):
        config |= record.get("update", {})
    recorded = json.loads((sweep / "seed-1/run.json").read_text())
    assert {key: config[key] for key in recorded["config"]} == recorded["config"]
    assert config["run"]["git"] == recorded["git"]
    code = [one for one in of_kind(found, "artifact") if one["type"] == "code"]
    paths = {entry["path"] for entry in code[0]["manifest"]["contents"]}
    assert "contrast/losses.py" in paths


def test_every_number_of_the_csv_is_in_the_history(sweep: Path, found: list[dict]) -> None:
    seen: dict[tuple[str, int], float] = {}
    for item in history(found):
        step = item["trainer/global_step"]
        seen |= {(name, step): value for name, value in item.items() if name[0] not in "_p"}
    rows = read_rows(sweep / "seed-1/metrics.csv")
    assert list(rows) == ["0", "1", "2", "3"]
    for step, row in rows.items():
        for name, value in row.items():
            assert seen[name, int(step)] == pytest.approx(float(value), rel=1e-6), name
    last = rows["3"].keys()
    assert last >= {"train/confidence", "train/coverage", "train/gradient_norm", "lr-AdamW"}
    assert last >= {"train/source_margin", "train/source_contrast_gradient"}
    assert last >= {"train/images_per_second", "val/target/mIoU"}


def test_the_best_score_is_in_the_summary(sweep: Path, found: list[dict]) -> None:
    summary: dict = {}
    for record in of_kind(found, "summary"):
        summary |= record["update"]
    scores = [
        float(row["val/target/mIoU"])
        for row in read_rows(sweep / "seed-1/metrics.csv").values()
        if "val/target/mIoU" in row
    ]
    expected = {"max": max(scores), "last": scores[-1]}
    assert summary["val/target/mIoU"] == pytest.approx(expected)


def test_tables_hold_the_scores_and_the_confusion(sweep: Path, found: list[dict]) -> None:
    run = sweep / "seed-1"
    files = max((run / "wandb").glob("offline-run-*")) / "files"
    tables = [item for item in history(found) if "val/target/classes.path" in item]
    assert len(tables) == 2
    shown = json.loads((files / tables[-1]["val/target/classes.path"]).read_text())
    scores = json.loads((run / "scores.json").read_text())["target"]
    assert {f"IoU/{name}": iou for name, iou in shown["data"]} == pytest.approx(
        {name: iou for name, iou in scores.items() if name.startswith("IoU/")}
    )
    matrix = json.loads((files / tables[-1]["val/target/confusion_table.path"]).read_text())
    counts = np.array(json.loads((run / "confusion.json").read_text())["target"])
    shares = 100 * counts / counts.sum(axis=1, keepdims=True).clip(1)
    assert np.array([row[2] for row in matrix["data"]]) == pytest.approx(shares.ravel(), abs=1e-4)


def test_the_panel_is_in_the_media_with_masks(sweep: Path, found: list[dict]) -> None:
    run = sweep / "seed-1"
    files = max((run / "wandb").glob("offline-run-*")) / "files"
    by_step: dict[int, int] = {}
    for item in history(found):
        for name, value in item.items():
            if name.startswith("pictures/") and name.endswith(".count"):
                step = item["trainer/global_step"]
                by_step[step] = by_step.get(step, 0) + value
    assert by_step.keys() == {1, 3}
    assert max(by_step.values()) < 50
    scenes = [item for item in history(found) if "pictures/scene.all_masks" in item][-1]
    for place, masks in enumerate(scenes["pictures/scene.all_masks"]):
        assert masks.keys() == {"truth", "student", "teacher"}
        for source, mask in masks.items():
            where = "" if source == "truth" else "step_00000004/"
            own = run / f"pictures/{where}scene_{place}_{source}.png"
            assert np.array_equal(pixels(files / mask["path"]), pixels(own))
    assert any('"ignore"' in json.dumps(record) for record in of_kind(found, "config"))


def test_the_panel_shows_what_the_student_predicts(sweep: Path) -> None:
    run = sweep / "seed-2"
    data, task = load(run / "last.ckpt")
    panel = json.loads((run / "pictures/panel.json").read_text())
    assert panel["steps"] == [2, 4]
    assert len(panel["scenes"]) == 2
    task.eval()
    with torch.no_grad(), task.judge(task.student, data.statistics_images(task.device)):
        for place in range(2):
            image, truth = data.pair.target_val[place]
            expected = task.student(to_tensor(image)[None]).argmax(dim=1)[0].numpy()
            folder = run / "pictures"
            drawn = pixels(folder / f"step_00000004/scene_{place}_student.png")
            assert np.array_equal(drawn, expected)
            assert np.array_equal(pixels(folder / f"scene_{place}_truth.png"), truth)


def test_each_run_of_a_multirun_ends_by_itself(sweep: Path) -> None:
    for seed in (1, 2):
        log = records(sweep / f"seed-{seed}")
        assert of_kind(log, "exit")[0].get("exit_code", 0) == 0
        assert of_kind(log, "run")[0]["display_name"].endswith(f"_seed{seed}")
    ids = {(sweep / f"seed-{seed}/wandb_id").read_text() for seed in (1, 2)}
    assert len(ids) == 2


def test_tensorboard_has_numbers_and_pictures(sweep: Path) -> None:
    board = EventAccumulator(str(sweep / "seed-1/tensorboard"))
    board.Reload()
    rows = read_rows(sweep / "seed-1/metrics.csv")
    shown = {event.step: event.value for event in board.Scalars("train/mixed")}
    expected = {int(step): float(row["train/mixed"]) for step, row in rows.items()}
    assert shown == pytest.approx(expected)
    assert [event.step for event in board.Images("scene/streets/night/val/0")] == [1, 3]


def test_a_resumed_run_goes_on_as_the_same(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = sweep / "seed-2"
    before = of_kind(records(run), "run")[0]["run_id"]
    resumed = f"resume={run / 'checkpoints/best.ckpt'}"
    assert call(monkeypatch, sweep, "train", resumed) == ""
    log = records(run)
    assert of_kind(log, "run")[0]["run_id"] == before
    best = torch.load(run / "checkpoints/best.ckpt", weights_only=True)["global_step"]
    steps = [item["trainer/global_step"] for item in history(log) if "train/mixed" in item]
    assert steps == list(range(best, 4))


def test_a_run_that_breaks_is_shown_as_broken(tmp_path: Path) -> None:
    def break_off() -> None:
        with ended():
            wandb.init(dir=tmp_path, mode="offline").log({"loss": 1.0})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert wandb.run is None
    assert of_kind(records(tmp_path), "exit")[0]["exit_code"] == 1


def test_a_sweeps_run_keeps_the_id_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "given123")
    logger = wandb_logger(
        project="p", name="n", group=None, tags=[], finish_timeout=1, save_dir=str(tmp_path)
    )
    assert logger._id == (tmp_path / "wandb_id").read_text().strip() == "given123"


def test_the_sweep_file_drives_overrides() -> None:
    """Expanded by the agent's own functions, each combination is a command line of ours."""
    sweep = yaml.safe_load((ROOT / "scripts/sweep.yaml").read_text())
    drawn = {
        "contrast": "bank",
        "contrast.temperature": 0.5,
        "contrast.weight": 0.1,
        "seed": 3,
    }
    assert drawn.keys() == sweep["parameters"].keys()
    args = {name: {"value": value} for name, value in drawn.items()}
    filled = create_sweep_command_args({"args": args})
    filled |= {"program": [sweep["program"]], "interpreter": ["python"], "env": ["env"]}
    words: list[str] = []
    for part in create_sweep_command(sweep["command"]):
        words += filled[part[2:-1]] if part.startswith("${") else [part]
    assert words[:4] == ["env", "python", "-m", "sepico_pl.train"]
    config = configured(*words[4:])
    assert config["contrast"]["_target_"].endswith("BankContrast")
    assert (config["contrast"]["temperature"], config["seed"]) == (0.5, 3)
    assert "wandb" in config["logger"]
    assert sweep["metric"]["name"] == "val/target/mIoU"
