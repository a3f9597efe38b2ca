"""Take an official checkpoint in: `import_official checkpoint=<file.pth> output=<file.ckpt>`."""

from omegaconf import DictConfig

from sepico_pl.cli import command
from sepico_pl.libraries import TRAINING
from sepico_pl.typed_paths import paths


@command("import_official", paths("checkpoint", "output"), reads_data=False, libraries=TRAINING)
def main(config: DictConfig) -> None:
    """Write a checkpoint of ours and account for every key of the official one."""
    from sepico_pl.official_import import import_official

    import_official(config)


if __name__ == "__main__":
    main()
