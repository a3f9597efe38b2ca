"""Export a network: `python -m sepico_pl.export checkpoint=<file> output=<folder>`."""

from omegaconf import DictConfig

from sepico_pl.cli import command
from sepico_pl.libraries import NETWORKS
from sepico_pl.typed_paths import paths


@command("export", paths("checkpoint", "output", "statistics"), libraries=NETWORKS)
def main(config: DictConfig) -> None:
    """Write ONNX, torch.export's and the Hugging Face form, checked against PyTorch."""
    from sepico_pl.serving.exporting import export

    export(config)


if __name__ == "__main__":
    main()
