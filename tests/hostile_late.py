"""Hostile cases: what would fail, or do nothing, only when a run is under way; see hostile_cases.py."""

import contextlib
import os
from pathlib import Path

import numpy as np
from hostile_cases import FILES, STREETS, Case, Prepare, attempt, checkpoint, tmpfs, unmount
from hostile_reports import whole_run
from PIL import Image

LABELLED = ["dataset.target_val_images=val", "dataset.target_val_labels=truth"]
TOO_FEW = "single value of each channel"


def trainer(word: str, *said: str) -> Case:
    """Return the case of a trainer's argument that is refused."""
    key = word.partition("=")[0].removeprefix("+")
    return Case(f"trainer: {word}", [*STREETS, word], [f"error: {key}=", *said])


TRAINER = [
    trainer("+trainer.accumulate_grad_batches=2", "must be 1", "data.batch_size"),
    trainer("+trainer.limit_val_batches=0", "left out", "trainer.val_check_interval"),
    trainer("+trainer.limit_val_batches=1", "left out"),
    trainer("+trainer.limit_train_batches=1", "trainer.max_steps"),
    trainer("+trainer.overfit_batches=1", "must be 0"),
    trainer("+trainer.fast_dev_run=true", "trainer.max_steps=2"),
    trainer("trainer.max_epochs=3", "must be 1", "trainer.max_steps"),
    trainer("trainer.use_distributed_sampler=true", "must be false"),
    trainer("+trainer.check_val_every_n_epoch=2", "must be 1"),
    trainer("+trainer.callbacks=[]", "left out"),
    trainer("+trainer.default_root_dir=here", "hydra.run.dir"),
    trainer("+trainer.profiler=simple", "left out"),
    trainer("trainer.gradient_clip_val=-1", "positive number or null"),
    trainer("trainer.gradient_clip_algorithm=size", "norm or value"),
    Case("gradients clipped", [*STREETS, "trainer.gradient_clip_val=0.1"], code=0),
    Case("double precision", [*STREETS, "trainer.precision=64-true"], code=0),
]


def labelled(*sizes: tuple[int, int]) -> Prepare:
    """Write target validation images of these heights and widths, with labels."""

    def prepare(folder: Path) -> None:
        rng = np.random.default_rng(3)
        for part in ("val", "truth"):
            (folder / part).mkdir()
        for index, size in enumerate(sizes):
            image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(image).save(folder / f"val/{index}.png")
            Image.fromarray(image[..., 0] % 2).save(folder / f"truth/{index}.png")

    return prepare


BATCHES = [
    Case("one image of 32 pixels in a batch", [*STREETS, "data.batch_size=1"], [TOO_FEW, "data.batch_size=2", "norm=group"]),
    Case("a pyramid pooled to one value", [*STREETS, "data.batch_size=1", "data.crop_size=[32,64]", "backbone=resnet18", "head=upernet"], [TOO_FEW, "data.batch_size=2"]),
    Case("statistics of one image of 32 pixels", [*FILES, *LABELLED, "dataset.target_images=val", "data.target_size=[32,32]", "data.statistics_images=1", "adapt.batch_norm=target", "backbone=resnet18"], [TOO_FEW, "batch_norm=running"], labelled((32, 32))),
    Case("evaluated images of two sizes in a batch", [*FILES, *LABELLED, "data.judge_batch_size=3"], [], labelled((40, 60), (60, 40), (40, 60)), code=0),
]  # fmt: skip


def spoilt_in_mid_run(part: str) -> Prepare:
    """Spoil the files of a folder once they are checked so that size and time do not tell."""

    def prepare(folder: Path) -> None:
        words = [*FILES, "trainer.max_steps=1", "hydra.run.dir=before", "logger=none"]
        assert attempt("train", words, folder).code == 0
        for path in (folder / part).iterdir():
            status = path.stat()
            path.write_bytes(b"spoilt".ljust(status.st_size))
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    return prepare


MID_RUN = [
    Case(f"{part} spoilt in mid-run", FILES, [f"/{part}/", ".png: cannot be read", "fetch or make it again"], spoilt_in_mid_run(part), may_begin=True)
    for part in ("day", "labels", "night")
]  # fmt: skip


def full_disk(prepare: Prepare) -> Prepare:
    """Mount a disk without a free block, once the rest is prepared."""

    def fill(folder: Path) -> None:
        prepare(folder)
        tmpfs(folder, "-o", "size=64k")
        with contextlib.suppress(OSError), (folder / "disk/full").open("wb") as file:
            while True:
                file.write(bytes(4096))
                file.flush()

    return fill


WRITERS = {
    "report": (["run=seen", "output=disk/report.html"], "disk/report.html", whole_run),
    "evaluate": (["checkpoint=good.ckpt", "accelerator=cpu", "output=disk/scores.json"], "disk/scores.json", checkpoint),
    "predict": (["checkpoint=good.ckpt", "accelerator=cpu", "images=night", "output=disk/out", "batch_norm=running"], "disk/out/", checkpoint),
    "export": (["checkpoint=good.ckpt", "output=disk/exported", "formats=[safetensors]"], "model.safetensors", checkpoint),
}  # fmt: skip
FULL = [
    Case(f"{program}: disk full", words, [named, "No space left on device", "choose another folder"], full_disk(prepare), program, afterwards=unmount, may_begin=True)
    for program, (words, named, prepare) in WRITERS.items()
]  # fmt: skip

CASES = [*TRAINER, *BATCHES, *MID_RUN, *FULL]
