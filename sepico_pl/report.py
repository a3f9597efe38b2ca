"""Write the report page of a run: `python -m sepico_pl.report run=<folder>`."""

from omegaconf import DictConfig

from sepico_pl.cli import command
from sepico_pl.typed_paths import paths


@command("report", paths("run", "baseline", "output"))
def main(config: DictConfig) -> None:
    """Write one HTML page that opens without network."""
    from sepico_pl.reporting.page import report

    report(config)


if __name__ == "__main__":
    main()
