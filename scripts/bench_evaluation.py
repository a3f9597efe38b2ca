"""Seconds of judging a network on full-size images, by part.

    python scripts/bench_evaluation.py [--images 500]

Cityscapes-like photographs (2048x1024, made as in bench_loaders.py, each used several times) are
decoded, brought to 1280x640, predicted, and counted at full size, as `evaluate` does; on a GPU by
the paper's DeepLab-v2, else by a small network.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Literal

import numpy as np
import pytorch_lightning as pl
import torch
from bench_loaders import make
from measuring import now, publish
from PIL import Image
from stepping import Parts, Plan, build

from sepico_pl.data.classes import CITYSCAPES
from sepico_pl.data.streams import EvaluationSet
from sepico_pl.data.streets import StreetScenes
from sepico_pl.judging import be_quiet
from sepico_pl.model.inference import Inference

SIZE, BOX = (1024, 2048), (640, 1280)
DISTINCT = 8
PAPER, SMALL = ("resnet101_v1c", "deeplabv2"), ("resnet10t", "light")


class Photographs:
    """Cityscapes-like images, decoded from files, with generated labels."""

    def __init__(self, folder: Path, count: int) -> None:
        self.distinct = min(DISTINCT, count)
        make(folder, self.distinct, ["cityscapes"])
        self.files = sorted(folder.glob("cityscapes/**/*.png"))
        small = StreetScenes("day", "val", self.distinct, (256, 512), 0, CITYSCAPES)
        self.labels = folder / "labels"
        self.labels.mkdir()
        for index in range(self.distinct):
            label = small[index][1].repeat(4, axis=0).repeat(4, axis=1)
            Image.fromarray(label).save(self.labels / f"{index}.png")
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        image = np.asarray(Image.open(self.files[index % self.distinct]).convert("RGB"))
        return image, self.label(index)

    def label(self, index: int) -> np.ndarray:
        """Return one label."""
        return np.asarray(Image.open(self.labels / f"{index % self.distinct}.png"))

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width."""
        return self.label(index).shape

    def name(self, index: int) -> str:
        """Return what to call one."""
        return str(index)


class Domains(pl.LightningDataModule):
    """What `SegmentationTask` asks of the data it is judged on."""

    domains = ("target",)

    def __init__(self, scenes: Photographs, batch: int, workers: int, box: tuple[int, int]) -> None:
        super().__init__()
        self.loader = torch.utils.data.DataLoader(
            EvaluationSet(scenes, box), batch_size=batch, num_workers=workers
        )

    def val_dataloader(self) -> torch.utils.data.DataLoader:
        """Return the only loader."""
        return self.loader

    def statistics_images(self, device: torch.device) -> list[torch.Tensor]:
        """Return nothing: running statistics judge."""
        return []


def evaluated(
    names: tuple[str, str],
    scenes: Photographs,
    *,
    workers: int,
    box: tuple[int, int] = BOX,
    precision: Literal["32-true", "bf16-mixed"] = "32-true",
    inference: Inference | None = None,
) -> tuple[list[dict[str, object]], dict[str, object]]:
    """Evaluate a network of this backbone and head on photographs.

    Returns:
        A row for each part, and one of the whole.
    """
    task = build(Plan(*names, crop=64, batch=2), "cuda" if torch.cuda.is_available() else "cpu")
    task.batch_norm = "running"
    task.inference = inference or task.inference
    parts = Parts()
    parts.watch(task.student, "encode", "network")
    parts.watch(task.student, "decode", "network")
    parts.watch(task, "inference", "logits to 2048x1024")
    parts.watch(task.target_matrix, "update", "confusion matrix")
    parts.watch(task, "validation_step", "maximum over classes")
    data = Domains(scenes, batch=1, workers=workers, box=box)
    trainer = pl.Trainer(
        accelerator="auto",
        devices=1,
        precision=precision,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    start = now()
    trainer.validate(task, datamodule=data, verbose=False)
    total = now() - start
    parts.seconds["waiting for images, and the rest"] = total - sum(parts.seconds.values())
    count = len(scenes)
    rows: list[dict[str, object]] = [
        {"part": name, "ms an image": f"{1e3 * s / count:.1f}", "share": f"{s / total:.1%}"}
        for name, s in parts.seconds.items()
    ]
    whole = {"images": count, "seconds": f"{total:.1f}"}
    return rows, whole | {"images per second": f"{count / total:.2f}"}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args()
    be_quiet()
    names = PAPER if torch.cuda.is_available() else SMALL
    with tempfile.TemporaryDirectory() as folder:
        scenes = Photographs(Path(folder), chosen.images)
        rows, whole = evaluated(names, scenes, workers=chosen.workers)
    publish("evaluation", {f"{' + '.join(names)}, 1280x640": rows, "all": [whole]})


if __name__ == "__main__":
    main()
