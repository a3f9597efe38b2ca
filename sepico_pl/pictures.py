"""The same few images over time: what student and teacher see in them, and what they learn from.

Arrays: image (H, W, 3) uint8 RGB, ids (H, W) uint8 with 255 ignored, confidence (H, W) uint8.
"""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from sepico_pl.adapt.batch_norm import target_statistics
from sepico_pl.adapt.teacher import Teacher
from sepico_pl.boards import show_pictures
from sepico_pl.data.datamodule import AdaptationData
from sepico_pl.data.geometry import fit, to_tensor
from sepico_pl.data.painting import Picture, palette_image
from sepico_pl.data.streams import evenly
from sepico_pl.json_files import load_json
from sepico_pl.tables import write_json
from sepico_pl.task import SegmentationTask
from sepico_pl.types import IMAGENET_MEAN, IMAGENET_STD, ByteArray, ClassSet, InputError, Preview

PANEL = "panel.json"
Pictures = dict[str, list[Picture]]
"""By kind: "scene" (the fixed panel), "target" and "mixed" (of the last training step)."""


class PicturePanel(Callback):
    """Draw the same scenes at each judging, for the report and the loggers that show images.

    Args:
        folder: receives `panel.json`, the scenes, and a folder for each judging.
        count: scenes, and images of a training step, at most.
    """

    def __init__(self, folder: Path, *, count: int) -> None:
        """Remember where and how many."""
        self.folder, self.count = folder, count

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Choose the scenes; forget what a resumed run draws anew, or drew of other scenes."""
        data = cast(AdaptationData, trainer.datamodule)  # type: ignore[attr-defined]
        self.classes = data.pair.classes
        self.scenes = chosen_scenes(data, self.count)
        if trainer.is_global_zero:
            panel = self._panel()
            if panel.get("scenes", self._entries()) != self._entries():
                shutil.rmtree(self.folder)
                panel = {}
            for drawn in self._drawn():
                if _step_of(drawn) > trainer.global_step:
                    shutil.rmtree(drawn)
            if panel:
                self._write_panel()

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw, while the student has the statistics that it is judged with.

        Every rank asks its networks; the first one writes.
        """
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        task = cast(SegmentationTask, pl_module)
        pictures: Pictures = {"scene": seen(task, self.scenes)}
        if task.preview is not None:
            pictures |= learnt_from(task.preview, self.count)
            task.preview = None
        if trainer.is_global_zero:
            self.write(pictures, trainer.global_step)
            show_pictures(trainer.loggers, pictures, self.classes, trainer.global_step - 1)

    def write(self, pictures: Pictures, step: int) -> None:
        """Write the pictures of a step, and `panel.json` anew."""
        folder = self.folder / f"step_{step:08}"
        folder.mkdir(parents=True, exist_ok=True)
        self._write_scenes()
        for kind, shown in pictures.items():
            for index, picture in enumerate(shown):
                if kind != "scene":
                    _save_photograph(picture.image, folder / f"{kind}_{index}.jpg")
                changing = {name: ids for name, ids in picture.labels.items() if name != "truth"}
                _save_labels(
                    replace(picture, labels=changing), folder / f"{kind}_{index}", self.classes
                )
        self._write_panel()

    def _write_scenes(self) -> None:
        """Write what does not change with the steps."""
        for index, scene in enumerate(self.scenes):
            name = self.folder / f"scene_{index}.jpg"
            if not name.exists():
                _save_photograph(scene.image, name)
                _save_labels(scene, self.folder / f"scene_{index}", self.classes)

    def _write_panel(self) -> None:
        steps = [_step_of(drawn) for drawn in self._drawn()]
        last = self.folder / f"step_{max(steps, default=0):08}"
        content = {
            "classes": self.classes.names,
            "palette": self.classes.palette,
            "scenes": self._entries(),
            "steps": steps,
            "mixed": len(list(last.glob("mixed_*.jpg"))),
        }
        write_json(self.folder / PANEL, content)

    def _entries(self) -> list[dict[str, str | None]]:
        """Return what the panel says of each scene."""
        return [
            {
                "name": scene.name,
                "image": f"scene_{index}.jpg",
                "truth": f"scene_{index}_truth.png" if "truth" in scene.labels else None,
            }
            for index, scene in enumerate(self.scenes)
        ]

    def _panel(self) -> dict[str, Any]:
        """Return what an earlier session of the run wrote; nothing if there is none.

        A damaged panel is written anew with the next pictures.
        """
        path = self.folder / PANEL
        try:
            return load_json(path) if path.is_file() else {}
        except InputError as error:
            print(f"{str(error).rpartition(';')[0]}; it is written anew")
            return {}

    def _drawn(self) -> list[Path]:
        drawn = self.folder.glob("step_*")
        return sorted(path for path in drawn if path.name.removeprefix("step_").isdecimal())


def chosen_scenes(data: AdaptationData, count: int) -> list[Picture]:
    """Choose target images at the networks' input size, evenly: with their truth where it is known.

    Args:
        data: of the run.
        count: at most.
    """
    labelled, unlabelled = data.judged.get("target"), data.pair.target_train
    scenes = []
    for index in evenly(len(unlabelled if labelled is None else labelled), count):
        if labelled is None:
            image, _ = fit(unlabelled[index], None, data.target_size)
            scenes.append(Picture(_short(unlabelled.name(index)), image, {}))
            continue
        image, truth = fit(*labelled[index], data.target_size)
        assert truth is not None
        scenes.append(Picture(_short(labelled.name(index)), image, {"truth": truth}))
    return scenes


def seen(task: SegmentationTask, scenes: Sequence[Picture]) -> list[Picture]:
    """Return the scenes with what the student sees in them, and the teacher if there is one.

    The student has the statistics that it has; the teacher takes those of the scenes, as it takes
    those of its batch in training.
    """
    like = next(task.student.parameters())
    images = [to_tensor(scene.image)[None].to(like) for scene in scenes]
    student = [_ids(task.student(image).argmax(dim=1)[0]) for image in images]
    pictures = [
        replace(scene, labels={**scene.labels, "student": ids})
        for scene, ids in zip(scenes, student, strict=True)
    ]
    teacher = getattr(task, "teacher", None)
    if not isinstance(teacher, Teacher):
        return pictures
    with target_statistics(teacher.network, images):
        votes = [teacher(image)[0].max(dim=0) for image in images]
    return [
        replace(
            picture,
            labels={**picture.labels, "teacher": _ids(label)},
            confidence=_shades(confidence),
        )
        for picture, (confidence, label) in zip(pictures, votes, strict=True)
    ]


def learnt_from(preview: Preview, count: int) -> Pictures:
    """Return the target crops of a step with their pseudo-labels, and its class mixes."""
    shown = range(min(count, len(preview.mixed)))
    target = [
        Picture(
            f"target {index}",
            _photograph(preview.target[index]),
            {"label": _ids(preview.pseudo_label[index])},
            _shades(preview.confidence[index]),
        )
        for index in shown
    ]
    mixed = [
        Picture(
            f"mixed {index}",
            _photograph(preview.mixed[index]),
            {"label": _ids(preview.mixed_label[index])},
        )
        for index in shown
    ]
    return {"target": target, "mixed": mixed}


def _short(name: str) -> str:
    """Return the name of a file without its folders, and any other name whole."""
    return Path(name).name if Path(name).is_file() else name


def _step_of(folder: Path) -> int:
    return int(folder.name.removeprefix("step_"))


def _ids(label: Tensor) -> ByteArray:
    return label.byte().cpu().numpy()


def _shades(confidence: Tensor) -> ByteArray:
    """Return shades of probabilities (H, W); a vote with class weights may exceed 1."""
    return (confidence.float().clamp(max=1) * 255).round().byte().cpu().numpy()


def _photograph(image: Tensor) -> ByteArray:
    """Undo the normalisation of an image (3, H, W)."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    bright = (image.float().cpu() * std + mean).clamp(0, 1) * 255
    return np.ascontiguousarray(bright.round().byte().permute(1, 2, 0).numpy())


def _save_photograph(image: ByteArray, path: Path) -> None:
    Image.fromarray(image).save(path, quality=90)


def _save_labels(picture: Picture, stem: Path, classes: ClassSet) -> None:
    """Write `<stem>_<source>.png` of each source of ids, and `<stem>_confidence.png`."""
    for source, ids in picture.labels.items():
        palette_image(ids, classes).save(f"{stem}_{source}.png")
    if picture.confidence is not None:
        Image.fromarray(picture.confidence).save(f"{stem}_confidence.png")
