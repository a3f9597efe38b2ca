"""Images of every kind that people have, of generated streets or real ones."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sepico_pl.data.streets import StreetScenes
from sepico_pl.types import ByteArray

ORIENTATION = 0x0112
LYING = 6  # the camera was turned: viewers turn it back by 90 degrees clockwise


def street(index: int, size: tuple[int, int] = (64, 128)) -> ByteArray:
    return StreetScenes("night", "val", 12, size, 0)[index][0]


def save_lying(upright: Image.Image, path: Path) -> None:
    """Store a photograph as a turned camera does."""
    exif = Image.Exif()
    exif[ORIENTATION] = LYING
    upright.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=95)


def save_broken(path: Path) -> None:
    """Write a PNG that ends in the middle."""
    Image.fromarray(street(0)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def eight_kinds(folder: Path) -> dict[str, tuple[int, int]]:
    """Write seven images and a broken one; return height and width of results by their names."""
    (folder / "below").mkdir(parents=True)
    image = Image.fromarray(street(0))
    image.save(folder / "wide.png")
    image.resize((40, 70)).save(folder / "tall.bmp")
    image.convert("L").save(folder / "grey.jpg")
    image.convert("RGBA").save(folder / "alpha.webp")
    image.convert("P").save(folder / "palette.PNG")
    image.resize((33, 17)).save(folder / "below" / "wide.tif")
    save_lying(Image.fromarray(street(1)), folder / "lying.jpeg")
    save_broken(folder / "broken.png")
    return {
        "wide": (64, 128),
        "tall": (70, 40),
        "grey": (64, 128),
        "alpha": (64, 128),
        "palette": (64, 128),
        "below/wide": (17, 33),
        "lying": (64, 128),
    }


def hundred_real(sources: Sequence[Path], folder: Path) -> None:
    """Write ninety-nine variations of real photographs, and a broken file as the hundredth."""
    folder.mkdir()
    for index in range(99):
        with Image.open(sources[index % len(sources)]) as source:
            image = source.convert("RGB").reduce(2)
        stem = folder / f"{index:02} {sources[index % len(sources)].stem}"
        if index % 7 == 1:
            image.resize((image.height, image.width)).save(stem.with_suffix(".jpg"))
        elif index % 7 == 2:
            image.convert("L").save(stem.with_suffix(".png"))
        elif index % 7 == 3:
            image.putalpha(128)
            image.save(stem.with_suffix(".png"))
        elif index % 7 == 4:
            save_lying(image, stem.with_suffix(".jpg"))
        elif index % 7 == 5:
            size = (50 + 3 * index, 500 - 4 * index)
            image.resize(size).save(stem.with_suffix(".webp"))
        else:
            image.save(stem.with_suffix(".jpg"))
    save_broken(folder / "broken.png")


def own_folders(folder: Path) -> list[str]:
    """Write three images of noise, labelled and not; return how dataset=folder takes them."""
    for part in ("day", "labels", "night"):
        (folder / part).mkdir()
    for index in range(3):
        image = np.random.default_rng(index).integers(0, 255, (32, 64, 3), dtype=np.uint8)
        for part in ("day", "night"):
            Image.fromarray(image).save(folder / part / f"{index}.png")
        Image.fromarray(image[..., 0] % 2).save(folder / "labels" / f"{index}.png")
    words = ["dataset=folder", "dataset.source_images=day", "dataset.source_labels=labels"]
    words += ["dataset.target_images=night", "dataset.classes=[a,b]", "data.workers=0"]
    return [*words, "data.source_size=[32,64]", "data.target_size=[32,64]"]
