"""Judge a checkpoint on both domains: `python -m sepico_pl.evaluate checkpoint=<file>`."""

from omegaconf import DictConfig

from sepico_pl.cli import command
from sepico_pl.libraries import TRAINING
from sepico_pl.typed_paths import paths


@command("evaluate", paths("checkpoint", "output", "dataset_root"), libraries=TRAINING)
def main(config: DictConfig) -> None:
    """Print the per-class table of source and target validation, and write it as JSON."""
    from sepico_pl.evaluating import evaluate

    evaluate(config)


if __name__ == "__main__":
    main()
