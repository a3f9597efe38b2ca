"""Train the settings of a suite over seeds: `python -m sepico_pl.ablate suite=streets`."""

from collections.abc import Sequence

from omegaconf import DictConfig

from sepico_pl.cli import command
from sepico_pl.typed_paths import paths

SUITE, FILE = "suite=", "suite.file="


def with_suite(words: Sequence[str]) -> list[str]:
    """Return what was typed for Hydra: the suite's name or path, and other paths, quoted."""
    named = [
        f"{FILE}{word.removeprefix(SUITE)}" if word.startswith(SUITE) else word for word in words
    ]
    return paths("suite.file", "results", "output")(named)


@command("ablate", with_suite)
def main(config: DictConfig) -> None:
    """Run what is missing of a suite; print and write its table."""
    from sepico_pl.ablation.ablating import ablate

    ablate(config)


if __name__ == "__main__":
    main()
