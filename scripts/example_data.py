"""Make a small pair of raw folders, as somebody might have it: the example of docs/own_data.md.

Five classes, labels as colour PNGs with black for everything else, photographs and labels of
different sizes, JPEG and PNG mixed. The pictures are generated streets: by day with labels, by
night without, and a few night ones with labels to judge on.

    python scripts/example_data.py --output raw
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from sepico_pl.data.streets import STREETS_NAMES, StreetScenes

CLASSES = {
    "drivable": ((128, 64, 128), ("road", "sidewalk")),
    "building": ((70, 70, 70), ("building",)),
    "green": ((107, 142, 35), ("vegetation",)),
    "sky": ((70, 130, 180), ("sky",)),
    "moving": ((0, 0, 142), ("car", "person")),
}
SIZES = ((96, 192), (120, 160), (96, 192), (160, 120))


def colour_table() -> np.ndarray:
    table = np.zeros((256, 3), np.uint8)
    for colour, names in CLASSES.values():
        for name in names:
            table[STREETS_NAMES.index(name)] = colour
    return table


def write(folder: Path, world: str, split: str, count: int, *, labelled: bool) -> None:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for index in range(count):
        size = SIZES[index % len(SIZES)]
        image, label = StreetScenes(world, split, count, size, seed=5)[index]
        suffix = "png" if index % 3 else "jpg"
        Image.fromarray(image).save(folder / "images" / f"frame {index:03}.{suffix}")
        if labelled:
            (folder / "labels").mkdir(exist_ok=True)
            colours = Image.fromarray(colour_table()[label])
            colours.save(folder / "labels" / f"frame {index:03}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder to make")
    options = parser.parse_args()
    write(options.output / "day", "day", "train", 60, labelled=True)
    write(options.output / "night", "night", "train", 60, labelled=False)
    write(options.output / "night_labelled", "night", "val", 12, labelled=True)
    print(f"made: {options.output}")


if __name__ == "__main__":
    main()
