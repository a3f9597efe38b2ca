"""Weights & Biases that never asks: offline where nobody is logged in."""

import os

import wandb
from pytorch_lightning.loggers import WandbLogger


def wandb_logger(*, project: str, name: str, save_dir: str) -> WandbLogger:
    """Log to Weights & Biases, offline without a login, unless WANDB_MODE says otherwise.

    Args:
        project: where runs are gathered.
        name: of the run.
        save_dir: folder for the run's local files.
    """
    mode = os.environ.get("WANDB_MODE")
    if mode is None:
        mode = "online" if wandb.login(prompt=False) else "offline"
    if mode == "offline":
        print(
            f"Weights & Biases: offline; `wandb sync {save_dir}/wandb/latest-run` uploads the run"
        )
    return WandbLogger(project=project, name=name, save_dir=save_dir, mode=mode)
