"""Predict images.

`python -m sepico_pl.predict checkpoint=<file> images=<file|folder|pattern> output=<folder>`.
"""

import sys

from omegaconf import DictConfig

from sepico_pl.cli import command
from sepico_pl.libraries import NETWORKS
from sepico_pl.typed_paths import paths


@command("predict", paths("checkpoint", "images", "output", "statistics"), libraries=NETWORKS)
def main(config: DictConfig) -> None:
    """Write class ids, overlay and confidence of each image; exit with 1 if files are broken."""
    from sepico_pl.serving.predicting import predict

    if predict(config):
        sys.exit(1)


if __name__ == "__main__":
    main()
