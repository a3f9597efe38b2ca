"""Check a data set before a long run, and write a resized copy.

`python -m sepico_pl.prepare dataset=gta copy=<folder>`.
"""

import sys

from omegaconf import DictConfig

from sepico_pl.cli import command
from sepico_pl.typed_paths import paths


@command("prepare", paths("copy", "report"), reads_data=False)
def main(config: DictConfig) -> None:
    """Report on the data set; exit with 1 if it has problems."""
    from sepico_pl.preparing import prepare

    if prepare(config):
        sys.exit(1)


if __name__ == "__main__":
    main()
