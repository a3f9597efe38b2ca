"""Measure and map the embedding space: `python -m sepico_pl.embeddings checkpoint=<file>`."""

from omegaconf import DictConfig

from sepico_pl.cli import command
from sepico_pl.libraries import TRAINING
from sepico_pl.typed_paths import paths


@command("embeddings", paths("checkpoint", "run", "dataset_root", "checked"), libraries=TRAINING)
def main(config: DictConfig) -> None:
    """Print the measures by class; write them and a map into the run's folder."""
    from sepico_pl.reporting.embedding_space import analyse

    analyse(config)


if __name__ == "__main__":
    main()
