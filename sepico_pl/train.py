"""Train a network: `python -m sepico_pl.train contrast=distribution dataset=streets`."""

from collections.abc import Sequence

from omegaconf import DictConfig

from sepico_pl.cli import command
from sepico_pl.libraries import TRAINING
from sepico_pl.resuming import whole_command
from sepico_pl.typed_paths import paths


def with_paths(words: Sequence[str]) -> list[str]:
    """Return what was typed for Hydra, as `whole_command` does, with paths quoted."""
    return whole_command(paths("start", "checked", "data_root")(words))


@command("config", with_paths, libraries=TRAINING)
def main(config: DictConfig) -> None:
    """Train as configured and print the target's scores."""
    from sepico_pl.runner import train

    train(config)


if __name__ == "__main__":
    main()
