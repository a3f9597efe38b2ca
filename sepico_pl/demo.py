"""Try a checkpoint out on a local web page: `python -m sepico_pl.demo checkpoint=<file>`."""

from omegaconf import DictConfig

from sepico_pl.cli import command
from sepico_pl.libraries import NETWORKS
from sepico_pl.typed_paths import paths


@command("demo", paths("checkpoint", "beside", "statistics"), libraries=NETWORKS)
def main(config: DictConfig) -> None:
    """Serve a page on this machine: an image in, classes and confidence out."""
    from sepico_pl.serving.trying import demo

    demo(config)


if __name__ == "__main__":
    main()
