"""Write the predictions of a folder of images.

`python -m sepico_pl.predict checkpoint=<file> images=<folder> output=<folder>`.
"""

from omegaconf import DictConfig

from sepico_pl.cli import command


@command("predict")
def main(config: DictConfig) -> None:
    """Write a palette PNG of class ids for each image."""
    from sepico_pl.judging import predict

    predict(config)


if __name__ == "__main__":
    main()
