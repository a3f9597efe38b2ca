"""Write a server's archive of test predictions.

`python -m sepico_pl.submit checkpoint=<file> target=dark_zurich output=<zip>`.
"""

from omegaconf import DictConfig

from sepico_pl.cli import command
from sepico_pl.libraries import TRAINING
from sepico_pl.typed_paths import paths


@command("submit", paths("checkpoint", "output"), libraries=TRAINING)
def main(config: DictConfig) -> None:
    """Write the archive of a checkpoint's predictions, or validate one that is there."""
    from sepico_pl.judging import submit

    submit(config)


if __name__ == "__main__":
    main()
