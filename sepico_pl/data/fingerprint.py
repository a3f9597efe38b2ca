"""A key of collections of images, so that a resumed run can tell that they are the same."""

import hashlib
from pathlib import Path

from sepico_pl.types import LabelledImages, UnlabelledImages


def fingerprint(*collections: LabelledImages | UnlabelledImages) -> str:
    """Return a key of images: of their number, order, file names and sizes."""
    digest = hashlib.sha256()
    for images in collections:
        digest.update(f"{len(images)}\n".encode())
        for index in range(len(images)):
            path = Path(images.name(index))
            size = path.stat().st_size if path.is_file() else 0
            digest.update(f"{path.name} {size}\n".encode())
    return digest.hexdigest()[:16]
