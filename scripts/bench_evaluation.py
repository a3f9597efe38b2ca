"""Seconds of judging a network on full-size images, by part.

    python scripts/bench_evaluation.py [--images 500]

Cityscapes-like photographs (2048x1024, made as in bench_loaders.py, each used several times) are
decoded, brought to 1280x640, predicted, and counted at full size, as `evaluate` does; on a GPU by
the paper's DeepLab-v2, else by a small network.
"""

import argparse
import tempfile
from pathlib import Path

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

SIZE, BOX = (1024, 2048), (640, 1280)
DISTINCT = 8


class Photographs:
    """Cityscapes-like images, decoded from files, with generated labels."""

    def __init__(self, folder: Path, count: int) -> None:
        make(folder, DISTINCT)
        self.files = sorted(folder.glob("cityscapes/**/*.png"))
        small = StreetScenes("day", "val", DISTINCT, (256, 512), 0, CITYSCAPES)
        self.labels = folder / "labels"
        self.labels.mkdir()
        for index in range(DISTINCT):
            label = small[index][1].repeat(4, axis=0).repeat(4, axis=1)
            Image.fromarray(label).save(self.labels / f"{index}.png")
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        image = np.asarray(Image.open(self.files[index % DISTINCT]).convert("RGB"))
        return image, self.label(index)

    def label(self, index: int) -> np.ndarray:
        """Return one label."""
        return np.asarray(Image.open(self.labels / f"{index % DISTINCT}.png"))

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width."""
        return self.label(index).shape

    def name(self, index: int) -> str:
        """Return what to call one."""
        return str(index)


class Domains(pl.LightningDataModule):
    """What `SegmentationTask` asks of the data it is judged on."""

    domains = ("target",)

    def __init__(self, scenes: Photographs, batch: int, workers: int) -> None:
        super().__init__()
        self.loader = torch.utils.data.DataLoader(
            EvaluationSet(scenes, BOX), batch_size=batch, num_workers=workers
        )

    def val_dataloader(self) -> torch.utils.data.DataLoader:
        """Return the only loader."""
        return self.loader

    def statistics_images(self, device: torch.device) -> list[torch.Tensor]:
        """Return nothing: running statistics judge."""
        return []


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args()
    be_quiet()
    on_gpu = torch.cuda.is_available()
    names = ("resnet101_v1c", "deeplabv2") if on_gpu else ("resnet10t", "light")
    task = build(Plan(*names, crop=64, batch=2), "cuda" if on_gpu else "cpu")
    task.batch_norm = "running"
    parts = Parts()
    parts.watch(task.student, "encode", "network")
    parts.watch(task.student, "decode", "network")
    parts.watch(task, "inference", "logits to 2048x1024")
    parts.watch(task.target_matrix, "update", "confusion matrix")
    parts.watch(task, "validation_step", "maximum over classes")
    with tempfile.TemporaryDirectory() as folder:
        data = Domains(Photographs(Path(folder), chosen.images), batch=1, workers=chosen.workers)
        trainer = pl.Trainer(
            accelerator="auto",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        start = now()
        trainer.validate(task, datamodule=data, verbose=False)
        total = now() - start
    parts.seconds["waiting for images, and the rest"] = total - sum(parts.seconds.values())
    rows = [
        {"part": name, "ms an image": f"{1e3 * s / chosen.images:.1f}", "share": f"{s / total:.1%}"}
        for name, s in parts.seconds.items()
    ]
    whole = {"images": chosen.images, "seconds": f"{total:.1f}"}
    whole["images per second"] = f"{chosen.images / total:.2f}"
    publish("evaluation", {f"{' + '.join(names)}, 1280x640": rows, "all": [whole]})


if __name__ == "__main__":
    main()
