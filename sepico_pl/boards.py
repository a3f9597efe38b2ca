"""What Weights & Biases and TensorBoard show beyond numbers: pictures, tables, matrices."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger
from pytorch_lightning.loggers.logger import Logger
from torch import Tensor

from sepico_pl.data.painting import Picture, names_by_id, paint
from sepico_pl.metrics import iou_per_class
from sepico_pl.task import SegmentationTask
from sepico_pl.types import ByteArray, ClassSet

PACKAGE = Path(__file__).resolve().parent


def describe_run(
    loggers: Sequence[Logger],
    config: Mapping[str, Any],
    record: Mapping[str, Any],
    means: Sequence[str],
) -> None:
    """Give the loggers the run's configuration, and how it is made.

    Args:
        loggers: of the run.
        config: resolved, plain types.
        record: what `run.json` holds.
        means: names of the target's scores whose best value belongs into the summary.
    """
    made = {key: record.get(key) for key in ("command", "versions", "git", "images")}
    for logger in loggers:
        logger.log_hyperparams({**config, "run": made})
    for logger in weights_and_biases(loggers):
        logger.experiment.log_code(str(PACKAGE))
        for name in means:
            logger.experiment.define_metric(
                f"val/target/{name}", step_metric="trainer/global_step", summary="max,last"
            )


class Scoreboard(Callback):
    """Show each judging of the target class by class: a table, bars and the confusion matrix."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the last judging."""
        task = cast(SegmentationTask, pl_module)
        if trainer.state.fn != "fit" or trainer.sanity_checking or "target" not in task.confusion:
            return
        for logger in weights_and_biases(trainer.loggers):
            charts = score_charts(task.class_names, task.confusion["target"])
            logger.log_metrics(charts, trainer.global_step - 1)


def weights_and_biases(loggers: Sequence[Logger]) -> list[WandbLogger]:
    """Return those that log there; on other ranks than the first they do nothing."""
    return [logger for logger in loggers if isinstance(logger, WandbLogger)]


def score_charts(names: Sequence[str], counts: Tensor) -> dict[str, Any]:
    """Make the charts of a judging.

    Args:
        names: of the classes, C.
        counts: confusion matrix (C, C), rows the truth.

    Returns:
        For Weights & Biases: IoU in percent as a table and as bars, of the classes that occur, and
        the confusion matrix in percent of the truth's pixels.
    """
    import wandb

    scores = zip(names, (100 * iou_per_class(counts)).tolist(), strict=True)
    rows = [[name, iou] for name, iou in scores if iou == iou]
    table = wandb.Table(["class", "IoU"], data=rows)
    shares = 100 * counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
    cells = [
        [truth, predicted, share]
        for truth, row in zip(names, shares.tolist(), strict=True)
        for predicted, share in zip(names, row, strict=True)
    ]
    columns = ("Actual", "Predicted", "nPredictions")  # as W&B's chart calls them
    return {
        "val/target/classes": table,
        "val/target/bars": wandb.plot.bar(table, "class", "IoU", title="target IoU in percent"),
        "val/target/confusion": wandb.plot_table(
            "wandb/confusion_matrix/v1",
            wandb.Table(list(columns), data=cells),
            fields={column: column for column in columns},
            string_fields={"title": "percent of each class's pixels"},
        ),
    }


def show_pictures(
    loggers: Sequence[Logger],
    pictures: Mapping[str, Sequence[Picture]],
    classes: ClassSet,
    step: int,
) -> None:
    """Show pictures by kind in Weights & Biases, with masks, and in TensorBoard, side by side."""
    for logger in loggers:
        for kind, shown in pictures.items():
            if isinstance(logger, WandbLogger):
                _show_masks(logger, f"pictures/{kind}", shown, names_by_id(classes), step)
            if isinstance(logger, TensorBoardLogger):
                for picture in shown:
                    logger.experiment.add_image(
                        f"{kind}/{picture.name}", strip(picture, classes), step, dataformats="HWC"
                    )


def _show_masks(
    logger: WandbLogger, key: str, shown: Sequence[Picture], names: dict[int, str], step: int
) -> None:
    masks = [
        {
            source: {"mask_data": ids, "class_labels": names}
            for source, ids in picture.labels.items()
        }
        for picture in shown
    ]
    captions = [picture.name for picture in shown]
    images = [picture.image for picture in shown]
    logger.log_image(key, images, step, masks=masks, caption=captions)
    confident = [picture for picture in shown if picture.confidence is not None]
    if confident:
        logger.log_image(
            f"{key}_confidence",
            [picture.confidence for picture in confident],
            step,
            caption=[picture.name for picture in confident],
        )


def strip(picture: Picture, classes: ClassSet) -> ByteArray:
    """Return image, labels and confidence side by side, (H, n W, 3) uint8."""
    parts = [picture.image, *(paint(ids, classes) for ids in picture.labels.values())]
    if picture.confidence is not None:
        parts.append(np.stack([picture.confidence] * 3, axis=-1))
    return np.concatenate(parts, axis=1)
