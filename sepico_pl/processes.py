"""How the processes of a run follow the first one, and how they end."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from pytorch_lightning.utilities import rank_zero_only

from sepico_pl.data.workers import end_with
from sepico_pl.resuming import FIRST_RANK
from sepico_pl.signal_handling import Interrupted, ignore_signals, mute
from sepico_pl.types import InputError


def is_first_rank() -> bool:
    """Whether this process is the only one of its run, or the one that prints and writes."""
    return getattr(rank_zero_only, "rank", 0) == 0


def follow_first_rank() -> None:
    """On other ranks, print nothing, and end where the process that started this one ends."""
    if is_first_rank():
        return
    sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    end_with(int(os.environ.get(FIRST_RANK, os.getppid())))


def refuse_spawning_multirun(trainer: pl.Trainer) -> None:
    """Refuse several devices in each job of a multirun: the processes would start the multirun.

    Raises:
        InputError: unless something else starts the processes.
    """
    strategy: object = trainer.strategy
    environment = getattr(strategy, "cluster_environment", None)
    spawns = environment is not None and not environment.creates_processes_externally
    if HydraConfig.get().mode == RunMode.MULTIRUN and trainer.world_size > 1 and spawns:
        message = (
            f"-m with trainer.devices={trainer.num_devices}: each process would start the whole "
            "multirun again; give each job one device, choose hydra/launcher=submitit_slurm, or "
            "start the runs one by one"
        )
        raise InputError(message)


def leave(stop: Interrupted) -> NoReturn:
    """End after a signal: say how to go on, and ask SLURM for it; no second signal breaks in."""
    ignore_signals()
    if not is_first_rank():
        sys.exit(0)  # Lightning kills the first rank while it saves if another one seems to fail
    if stop.checkpoint is None:
        say("interrupted before the first checkpoint")
    else:
        say(f"interrupted; continue by: python -m sepico_pl.train resume={stop.checkpoint}")
    requeue(stop.signum)
    sys.exit(128 + stop.signum)


def say(text: str) -> None:
    """Print, if only to nobody: a closed terminal or pipe is no failure of the run."""
    try:
        print(text, flush=True)
    except OSError:
        mute([sys.stdout.fileno()])


def requeue(signum: int) -> None:
    """Ask SLURM to run this job again after the SIGUSR1 that announces its end."""
    job = os.environ.get("SLURM_JOB_ID")
    if signum == signal.SIGUSR1 and job is not None:
        array = os.environ.get("SLURM_ARRAY_JOB_ID")
        name = job if array is None else f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
        done = subprocess.run(["scontrol", "requeue", name], check=False)
        say(f"scontrol requeue {name}: {'done' if done.returncode == 0 else 'failed'}")
