"""Hostile cases: keys that nothing reads, and paths as people type them; see hostile_cases.py."""

from pathlib import Path

from hostile_cases import FILES, STREETS, Case, Prepare, checkpoint


def named(part: str, name: str) -> Prepare:
    """Give a folder of the good data another name."""
    return lambda folder: (folder / part).rename(folder / name)


def photographs(name: str) -> Prepare:
    """Make a checkpoint, and give the target images another name."""
    return lambda folder: (checkpoint(folder), named("night", name)(folder))


def own_experiment(folder: Path) -> None:
    (folder / "mine/experiment").mkdir(parents=True)
    text = "# @package _global_\nlearning_rate: 0.1\n"
    (folder / "mine/experiment/fast.yaml").write_text(text)


PREDICT = ["checkpoint=good.ckpt", "output=out", "accelerator=cpu", "batch_norm=running"]
NEAREST = "did you mean optim.learning_rate?"

KEYS = [
    Case("a key that nothing reads", [*STREETS, "+lr=0.1"], ["lr: there is no such key", NEAREST]),
    Case("a key that nothing reads, resume=auto", [*STREETS, "resume=auto", "+lr=0.1"], ["lr: there is no such key", NEAREST]),
    Case("a key of another group", [*STREETS, "+model.dropout=0.5"], ["model.dropout", "head.decode.dropout"]),
    Case("a key of an own file", ["--config-dir=mine", *STREETS, "experiment=fast"], ["learning_rate: there is no such key", NEAREST], own_experiment),
    Case("an argument that a part does not take", [*STREETS, "+optim.lr=0.1"], ["optim.lr: there is no such key", NEAREST]),
    Case("a key of trainer that Lightning has not", [*STREETS, "+trainer.max_step=3"], ["trainer.max_step: there is no such key"]),
    Case("a group's key that nothing reads", [*STREETS, "+keep.newest=3"], ["keep.newest: there is no such key"]),
    Case("a key that cannot be left out", [*STREETS, "~optim.power"], ["power"]),
    Case("a key that is there and is added", [*STREETS, "+seed=3"], ["seed"]),
    Case("predict: a key that nothing reads", [*PREDICT, "images=night", "+tta=true"], ["tta: there is no such key"], checkpoint, "predict"),
    Case("evaluate: data that nothing reads", ["checkpoint=good.ckpt", "+dataset.target_val_images=night"], ["dataset.target_val_images: there is no such key"], checkpoint, "evaluate"),
    Case("report: a key that nothing reads", ["run=run", "+title=mine"], ["title: there is no such key"], module="report"),
    Case("the run folder as working folder", [*STREETS, "hydra.job.chdir=true"], ["hydra.job.chdir=true", "leave it out"]),
]  # fmt: skip

PATHS = [
    Case("brackets, commas and equals in folders", [*FILES, "dataset.target_images=a=b, [c] {d}"], [], named("night", "a=b, [c] {d}"), code=0),
    Case("quotes in folders", [*FILES, "dataset.source_images=the driver's \"day\""], [], named("day", "the driver's \"day\""), code=0),
    Case("predict: brackets and commas", [*PREDICT, "images=a=b, [c] {d}"], [], photographs("a=b, [c] {d}"), "predict", code=0),
    Case("predict: a folder like a number", [*PREDICT, "images=001"], [], photographs("001"), "predict", code=0),
    Case("predict: accents decomposed", [*PREDICT, "images=N\u00e4chte"], [], photographs("Na\u0308chte"), "predict", code=0),
]  # fmt: skip

CASES = [*KEYS, *PATHS]
