"""Train a network: `python -m sepico_pl.train contrast=distribution dataset=streets`."""

from omegaconf import DictConfig

from sepico_pl.cli import command
from sepico_pl.resuming import whole_command


@command("config", whole_command)
def main(config: DictConfig) -> None:
    """Train as configured and print the target's scores."""
    from sepico_pl.runner import train

    train(config)


if __name__ == "__main__":
    main()
