"""Hostile cases: run folders and their texts; see hostile_cases.py."""

import json
from collections.abc import Sequence
from pathlib import Path

from hostile_cases import FILES, Case, Prepare, checkpoint
from PIL import Image
from sample_runs import (
    write_confusion,
    write_metrics,
    write_panel,
    write_run,
    write_scores,
)

REPORT = ["run=seen"]
SCORES = {"mIoU": 50.0, "IoU/road": 50.0}


def whole_run(folder: Path) -> Path:
    """Write a run folder `seen` with every file that the report reads."""
    run = write_run(folder / "seen")
    write_scores(run, SCORES)
    write_confusion(run, ["road", "car"], [[1, 2], [3, 4]])
    write_metrics(run, {"val/target/mIoU": {9: 40.0}, "train/source": {9: 1.0, 19: 2.0}})
    write_panel(run, [100], scenes=1)
    (run / "embeddings").mkdir()
    summary = {"definition": "x", "measures": {"margin": "m"}, "rows": [{"class": "road"}]}
    (run / "embeddings/summary.json").write_text(json.dumps(summary))
    return run


def holding(name: str, content: bytes | str) -> Prepare:
    """Replace a file of the run."""
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (whole_run(folder) / name).write_bytes(data)


def set_to(name: str, keys: Sequence[str | int], value: object) -> Prepare:
    """Replace a value in a JSON file of the run."""

    def prepare(folder: Path) -> None:
        path = whole_run(folder) / name
        content = node = json.loads(path.read_text())
        for key in keys[:-1]:
            node = node[key]
        node[keys[-1]] = value
        path.write_text(json.dumps(content))

    return prepare


def hostile_words(folder: Path) -> None:
    """Name the run, its host and its classes what a terminal or a page would act on."""
    words = ["road [/]", "[bold]", "<script>1</script>", "Straße", "a\x1b[2Jb", "=1+1", "`|`"]
    run = write_run(folder / "seen", {"name": "[/red] <b> ü"}, host="\ud800", overrides=words)
    write_scores(run, {"mIoU": 1.0, **{f"IoU/{word}": 2.0 for word in words}})
    write_metrics(run, {f"val/target/IoU/{word}": {9: 1.0, 19: 2.0} for word in words})


def hostile_map(folder: Path) -> None:
    drawing = "<svg onload='alert(1)'><script>1</script><image href='http://x.example'/></svg>"
    (whole_run(folder) / "embeddings/map.svg").write_text(drawing)


def two_runs(folder: Path) -> None:
    whole_run(folder)
    write_scores(write_run(folder / "other", seed=2), SCORES)
    (folder / "other/metrics.csv").write_text("step,train/source\n1,")


def linked_picture(folder: Path) -> None:
    (folder / "private").mkdir()
    Image.new("RGB", (9, 9)).save(folder / "private/x.png")
    picture = whole_run(folder) / "pictures/scene_0.jpg"
    picture.unlink()
    picture.symlink_to(folder / "private/x.png")


def scores_of(**protocol: object) -> Prepare:
    """Write what an evaluation left beside a checkpoint."""

    def prepare(folder: Path) -> None:
        checkpoint(folder)
        asked = {"network": "student", "scales": [1.0], "flip": False, "window": None}
        asked |= {"stride": None, "class_weights_deviation": 0, "input_size": [32, 64]}
        content = {**asked, "batch_norm": "target", **protocol, "target": {"mIoU": 1.0}}
        (folder / "good.scores.json").write_text(json.dumps(content))

    return prepare


def manifest_of(text: str) -> Prepare:
    def prepare(folder: Path) -> None:
        checkpoint(folder)
        (folder / "out").mkdir()
        (folder / "out/predictions.jsonl").write_text(text)

    return prepare


JUDGE = ["checkpoint=good.ckpt", "accelerator=cpu"]
PREDICT = ["checkpoint=good.ckpt", "images=night", "output=out", "accelerator=cpu"]
NAMES = [*FILES, "dataset.classes=['road [/]','Straße [bold]']", "logger=none"]
NAMES += ["dataset.target_val_images=night", "dataset.target_val_labels=labels"]
ASCII = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}

DAMAGED = [
    Case(f"{name} {damage}", REPORT, [f"seen/{name}"], holding(name, content), "report")
    for name in (
        "run.json",
        "scores.json",
        "confusion.json",
        "pictures/panel.json",
        "embeddings/summary.json",
    )
    for damage, content in {
        "empty": "",
        "cut": '{"config": {"name": 1',
        "holds a number": "5",
        "nested without end": "[" * 100_000,
        "holds other keys": '{"config": {}, "a": 1}',
    }.items()
]

CASES: list[Case] = [
    *DAMAGED,
    Case("metrics.csv empty", REPORT, ["seen/metrics.csv", "step"], holding("metrics.csv", ""), "report"),
    Case("metrics.csv cut", REPORT, ["seen/metrics.csv", "cut"], holding("metrics.csv", "step,a\n1,2\n2,"), "report"),
    Case("metrics.csv holds words", REPORT, ["seen/metrics.csv", "no number"], holding("metrics.csv", "step,a\n1,x\n"), "report"),
    Case("metrics.csv of bytes", REPORT, ["seen/metrics.csv"], holding("metrics.csv", bytes(range(256))), "report"),
    Case("metrics.csv of a million columns", REPORT, ["seen/metrics.csv", "columns"], holding("metrics.csv", "step" + ",a" * 10**6), "report"),
    Case("a step of 10^30", REPORT, ["seen/metrics.csv", "row 2"], holding("metrics.csv", f"step,a\n{10**30},1\n"), "report"),
    Case("a mixed count of 10^12", REPORT, ["panel.json", "mixed"], set_to("pictures/panel.json", ["mixed"], 10**12), "report"),
    Case("a matrix of 1000 classes", REPORT, ["confusion.json", "classes"], set_to("confusion.json", ["classes"], ["x"] * 1000), "report"),
    Case("scores of text", REPORT, ["scores.json", "mIoU"], set_to("scores.json", ["target", "mIoU"], "50"), "report"),
    Case("a colour with a style", REPORT, ["panel.json", "palette"], set_to("pictures/panel.json", ["palette", 0], ["0);background:url(//x", 0, 0]), "report"),
    Case("a picture of another folder", REPORT, ["panel.json", "scenes.0.image"], set_to("pictures/panel.json", ["scenes", 0, "image"], "../../night/0.png"), "report"),
    Case("a picture by an absolute path", REPORT, ["panel.json", "scenes.0.truth"], set_to("pictures/panel.json", ["scenes", 0, "truth"], "/etc/x.png"), "report"),
    Case("a picture that is a link", REPORT, [], linked_picture, "report", code=0),
    Case("a map with a script", REPORT, [], hostile_map, "report", code=0),
    Case("markup in a run's words, reported", REPORT, [], hostile_words, "report", code=0),
    Case("markup in a run's words, compared", ["seen"], [], hostile_words, "compare", code=0),
    Case("a run's words on an ASCII terminal", ["seen"], [], hostile_words, "compare", code=0, powerless=True, variables=ASCII),
    Case("one damaged run of two compared", ["seen", "other"], [], two_runs, "compare", code=0),
    Case("damaged runs alone compared", ["seen"], ["no run to compare", "seen/metrics.csv"], holding("metrics.csv", "x"), "compare"),
    Case("markup in class names, trained", NAMES, [], code=0),
    Case("class names on an ASCII terminal", NAMES, [], code=0, powerless=True, variables=ASCII),
    Case("scores of another network", JUDGE, ["good.scores.json", "network was teacher and is student", "output="], scores_of(network="teacher"), "evaluate"),
    Case("scores of another policy", JUDGE, ["batch_norm was running and is target"], scores_of(batch_norm="running"), "evaluate"),
    Case("scores on another target", JUDGE, ["judged_on was acdc val and is None"], scores_of(judged_on="acdc val"), "evaluate"),
    Case("scores of other scales", [*JUDGE, "scales=[1.0,0.5]"], ["scales was [1.0] and is [1.0, 0.5]"], scores_of(), "evaluate"),
    Case("scores of another checkpoint", JUDGE, ["checkpoint was /other.ckpt"], scores_of(checkpoint="/other.ckpt"), "evaluate"),
    Case("scores that are damaged", JUDGE, ["good.scores.json", "output="], lambda f: (checkpoint(f), (f / "good.scores.json").write_text("{")), "evaluate"),
    Case("scores onto a folder", [*JUDGE, "output=night"], ["output=night", "directory"], checkpoint, "evaluate"),
    Case("scores below a file", [*JUDGE, "output=day/0.png/a.json"], ["output=day/0.png/a.json"], checkpoint, "evaluate"),
    Case("scores where nobody may write", [*JUDGE, "output=day/a.json"], ["output=day/a.json", "ermission"], lambda f: (checkpoint(f), (f / "day").chmod(0o500)), "evaluate", powerless=True),
    Case("manifest without settings", PREDICT, ["out/predictions.jsonl", "settings"], manifest_of('{"begun": "0"}\n'), "predict"),
    Case("manifest empty", PREDICT, ["out/predictions.jsonl", "settings"], manifest_of(""), "predict"),
    Case("manifest of wrong types", PREDICT, ["out/predictions.jsonl", "settings"], manifest_of('{"settings": 5}\n{"done": 1}'), "predict"),
    Case("manifest nested without end", PREDICT, ["out/predictions.jsonl", "settings"], manifest_of("[" * 100_000), "predict"),
    Case("manifest of other settings", PREDICT, ["output=out", "checkpoint was None"], manifest_of('{"settings": {}}'), "predict"),
]  # fmt: skip
