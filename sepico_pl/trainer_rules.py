"""What the keys of `trainer` may be, said before anything is built: see `limits.py`."""

from typing import NamedTuple

from sepico_pl.limits import FLAG, POSITIVE, Choice, OrNull, Rule


class Only(NamedTuple):
    """One value, as any other would do nothing, or harm.

    Attributes:
        value: that may be.
        remedy: what does what is meant by another one.
    """

    value: object
    remedy: str

    def hold(self, value: object) -> bool:
        """Whether a value is this one."""
        return isinstance(value, bool) is isinstance(self.value, bool) and value == self.value

    def __str__(self) -> str:
        """Say which, and the remedy."""
        shown = str(self.value).lower() if isinstance(self.value, bool) else self.value
        return f"{shown}: {self.remedy}"


class Absent(NamedTuple):
    """Nothing, as the program gives the argument itself.

    Attributes:
        remedy: what does what is meant.
    """

    remedy: str

    def hold(self, value: object) -> bool:
        """Return that no value may be."""
        return False

    def __str__(self) -> str:
        """Say so, and the remedy."""
        return f"left out: {self.remedy}"


LENGTH = "a run ends at trainer.max_steps"
EVALUATED = (
    "scores are those of all validation images; trainer.val_check_interval says how often they are "
    "taken"
)
LOADERS = "the streams of source and target images are shared out among processes already"

TRAINER_RULES: dict[str, Rule] = {
    "trainer.gradient_clip_val": OrNull(POSITIVE),
    "trainer.gradient_clip_algorithm": OrNull(Choice(("norm", "value"))),
    "trainer.sync_batchnorm": FLAG,
    "trainer.enable_progress_bar": FLAG,
    "trainer.max_epochs": Only(1, LENGTH),
    "trainer.min_epochs": Absent(LENGTH),
    "trainer.min_steps": Absent(LENGTH),
    "trainer.limit_train_batches": Absent(LENGTH),
    "trainer.overfit_batches": Only(0, "choose dataset.train_length, or a folder of few images"),
    "trainer.fast_dev_run": Only(False, "trainer.max_steps=2 is a run to try things out"),
    "trainer.barebones": Only(False, "choose logger=none, pictures=0"),
    "trainer.accumulate_grad_batches": Only(
        1,
        "a step takes one batch of each domain; choose a larger data.batch_size, more "
        "trainer.devices, or recompute=true to save memory",
    ),
    "trainer.limit_val_batches": Absent(EVALUATED),
    "trainer.check_val_every_n_epoch": Only(1, EVALUATED),
    "trainer.limit_test_batches": Absent("there is no test; `evaluate` takes validation images"),
    "trainer.limit_predict_batches": Absent("`predict` takes the images it is given"),
    "trainer.reload_dataloaders_every_n_epochs": Only(0, LOADERS),
    "trainer.use_distributed_sampler": Only(False, LOADERS),
    "trainer.enable_model_summary": FLAG,
    "trainer.profiler": Absent("profile the process from outside, by py-spy or nsys"),
    "trainer.enable_autolog_hparams": Absent("a logger gets the whole configuration"),
    "trainer.logger": Absent("choose logger=csv, tensorboard, wandb or none"),
    "trainer.callbacks": Absent("callbacks are those of sepico_pl/training.py"),
    "trainer.plugins": Absent("plugins are those of sepico_pl/training.py"),
    "trainer.default_root_dir": Absent("choose the run folder by hydra.run.dir=<folder>"),
    "trainer.enable_checkpointing": Absent("checkpoints are saved by keep.every and keep.last"),
}
