"""A run judged on the target under each batch-norm policy, from its checkpoint."""

from pathlib import Path

import pytorch_lightning as pl

from sepico_pl.checkpoints import load
from sepico_pl.judging import judge

POLICIES = ("running", "target")


def judged_under_each(checkpoint: Path) -> dict[str, dict[str, float]]:
    """Return the target scores in percent by policy; source only under "target" is AdaBN."""
    data, task = load(checkpoint)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    scores = {}
    for policy in POLICIES:
        task.batch_norm = policy
        scores[policy] = judge(trainer, task, data)["target"]
    return scores
