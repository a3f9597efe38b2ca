"""Train the settings of a suite over seeds: `python -m sepico_pl.ablate suite=streets`."""

from omegaconf import DictConfig

from sepico_pl.cli import command
from sepico_pl.typed_paths import paths


@command("ablate", paths("suite", "results", "output"))
def main(config: DictConfig) -> None:
    """Run what is missing of a suite; print and write its table."""
    from sepico_pl.ablation.ablating import ablate

    ablate(config)


if __name__ == "__main__":
    main()
