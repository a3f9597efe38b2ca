"""Archives for the evaluation servers of Dark Zurich and ACDC: written, and validated.

Names, folders and values are those of the official SePiCo, DANNet and DAFormer instructions; what
the servers accept today was not tried.
"""

import os
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sepico_pl.types import ByteArray, InputError, Size

CLASSES = 19
LABELS, INVALID, CONFIDENCE = "labelTrainIds", "labelTrainIds_invalid", "confidence"
SHOWN = 5


@dataclass(frozen=True)
class SubmissionFormat:
    """What a server expects.

    Attributes:
        folders: at the top of the archive; each holds a PNG per test image, named like it.
        images: number of test images.
    """

    folders: tuple[str, ...]
    images: int

    def validate(self, archive: Path, sizes: Mapping[str, Size]) -> None:
        """Compare an archive with the test images before anybody uploads it.

        Args:
            archive: zip file.
            sizes: height and width of each test image by its file name.

        Raises:
            InputError: with the first few things that are wrong, and how many there are.
        """
        problems = self.problems(archive, sizes)
        if problems:
            more = f" and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
            message = f"{archive}: {len(problems)} problems: {'; '.join(problems[:SHOWN])}{more}"
            raise InputError(message)

    def problems(self, archive: Path, sizes: Mapping[str, Size]) -> list[str]:
        """Return everything that is wrong with an archive.

        Raises:
            InputError: if it is no zip file.
        """
        try:
            with zipfile.ZipFile(archive) as content:
                sizes_of = {one.filename: one.file_size for one in content.infolist()}
                names = [name for name in content.namelist() if not name.endswith("/")]
                expected = {f"{folder}/{name}" for folder in self.folders for name in sizes}
                found = [f"missing {name}" for name in sorted(expected - set(names))]
                found += [f"unknown {name}" for name in sorted(set(names) - expected)]
                found += [f"{name} twice" for name, n in sorted(Counter(names).items()) if n > 1]
                for name in sorted(expected & set(names)):
                    folder, _, file = name.partition("/")
                    if sizes_of[name] > _largest(sizes[file]):
                        found.append(f"{name} is larger than its pixels would be")
                        continue
                    problem = _problem(content.read(name), folder, sizes[file])
                    found += [f"{name}: {problem}"] if problem else []
                return found
        except FileNotFoundError as error:
            message = f"output={archive}: no such archive; give a checkpoint to make it"
            raise InputError(message) from error
        except Exception as error:  # a damaged archive makes zipfile raise anything at all
            message = f"output={archive}: cannot be read as a zip archive ({error}); make it again"
            raise InputError(message) from error


def _largest(size: Size) -> int:
    """Return the bytes that no PNG of 16 bits of this size needs."""
    return 4 * size[0] * size[1] + (1 << 16)


def _problem(content: bytes, folder: str, size: Size) -> str:
    try:
        with Image.open(BytesIO(content), formats=("PNG",)) as image:
            height, width = image.height, image.width
        if (height, width) != tuple(size):
            return f"is {height}x{width}, the test image {size[0]}x{size[1]} (height x width)"
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except Exception:  # see data.files.opened
        decoded = None
    if decoded is None:
        return "cannot be read as an image"
    if decoded.ndim != 2:
        return "has colours, it must have one channel"
    if folder == CONFIDENCE:
        return "" if decoded.dtype == np.uint16 else f"has {decoded.dtype} values, not 16 bits"
    allowed = decoded < CLASSES
    if folder == INVALID:
        allowed |= decoded == 255
    if decoded.dtype != np.uint8 or not allowed.all():
        return f"has ids {np.unique(decoded[~allowed])[:SHOWN].tolist()}, not 0 to 18"
    return ""


FORMATS = {
    "dark_zurich": SubmissionFormat((LABELS, INVALID, CONFIDENCE), images=151),
    "acdc": SubmissionFormat((LABELS,), images=2000),
}


def submission_format(benchmark: str) -> SubmissionFormat:
    """Return what a benchmark's server takes.

    Raises:
        InputError: for a benchmark without a server.
    """
    if benchmark not in FORMATS:
        message = f"target={benchmark} has no server; choose {' or '.join(FORMATS)}"
        raise InputError(message)
    return FORMATS[benchmark]


class Submission:
    """Writes an archive; it appears whole or not at all.

    Args:
        path: of the zip file.
        form: its folders.
    """

    def __init__(self, path: Path, form: SubmissionFormat) -> None:
        """Remember where."""
        self.path, self.form = path, form
        self.partial = path.with_name(f".{path.name}.{os.getpid()}.partial")

    def __enter__(self) -> "Submission":
        """Open the archive.

        Raises:
            InputError: if it cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.archive = zipfile.ZipFile(self.partial, "w")
        except OSError as error:
            message = f"output={self.path} cannot be written ({error.strerror})"
            raise InputError(message) from error
        return self

    def add(self, name: str, probabilities: NDArray[np.float32]) -> None:
        """Add the prediction of a test image.

        Args:
            name: of the image file.
            probabilities: (19, H, W).
        """
        label = probabilities.argmax(axis=0).astype(np.uint8)
        for folder in self.form.folders:
            content = _png(label) if folder != CONFIDENCE else _confidence(probabilities)
            self.archive.writestr(f"{folder}/{name}", content)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the archive; give it its name if all went well."""
        self.archive.close()
        if kind is None:
            self.partial.rename(self.path)
        else:
            self.partial.unlink(missing_ok=True)


def _png(label: ByteArray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(label).save(buffer, "PNG")
    return buffer.getvalue()


def _confidence(probabilities: NDArray[np.float32]) -> bytes:
    """Encode the largest probability as 16 bits."""
    buffer = BytesIO()
    largest = (probabilities.max(axis=0) * 65535).round().astype(np.uint16)
    Image.fromarray(largest).save(buffer, "PNG")
    return buffer.getvalue()
