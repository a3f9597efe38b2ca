"""Images that are damaged, hostile or too large: one line, and little memory."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import run_measured
from hostile_images import BOMBS, png
from PIL import Image

from sepico_pl.data.files import LARGEST, STRIP, read_colours, read_ids, read_image, read_size
from sepico_pl.serving.images import to_rgb
from sepico_pl.types import InputError

TURNS = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270}
READERS = [read_image, read_colours, read_ids, read_size, to_rgb]


def said(read: Callable, path: Path) -> str:
    """Return the line that a file is refused with, or ""; anything else is a fault."""
    try:
        read(path)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_read_or_is_one_line(tmp_path: Path, name: str) -> None:
    BOMBS[name](tmp_path / name)
    for read in READERS:
        line = said(read, tmp_path / name)
        assert "\n" not in line
        assert line == "" or str(tmp_path / name) in line


@pytest.mark.parametrize("side", [(8193, 6144), (9500, 9500), (20000, 20000), (1, 60_000_000)])
def test_too_many_pixels_are_refused_by_the_header(tmp_path: Path, side: tuple[int, int]) -> None:
    (tmp_path / "a.png").write_bytes(png(*side))
    for read in READERS:
        with pytest.raises(InputError, match=rf"a\.png: .*more than the {LARGEST} pixels"):
            read(tmp_path / "a.png")


READ_ALL = """
import sys
from pathlib import Path
from peak_memory import peak_memory
from sepico_pl.data.files import read_colours, read_ids, read_image, read_size
from sepico_pl.types import InputError
before = peak_memory()
for name in sys.argv[1:]:
    for read in (read_image, read_colours, read_ids, read_size):
        try:
            read(Path(name))
        except InputError:
            pass
print((peak_memory() - before) >> 20)
"""


@pytest.mark.slow
def test_bombs_take_little_memory_and_warn_of_nothing(tmp_path: Path) -> None:
    for name, write in BOMBS.items():
        write(tmp_path / name)
    (tmp_path / "large.png").write_bytes(png(9500, 9500))
    files = sorted(map(str, tmp_path.iterdir()))
    done = run_measured(READ_ALL, *files)
    assert done.returncode == 0, done.stderr
    assert "DecompressionBomb" not in done.stderr
    assert int(done.stdout) < 500, "megabytes"


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "P", "RGBA", "CMYK", "1"])
@pytest.mark.parametrize("orientation", [None, 3, 6])
def test_strips_are_the_image(tmp_path: Path, mode: str, orientation: int | None) -> None:
    shape = (STRIP + 7, STRIP * 2 + 3, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    file = tmp_path / "a.tif"
    Image.fromarray(pixels).convert(mode).save(file, exif=exif)
    upright = Image.fromarray(pixels).convert(mode)
    if orientation:
        upright = upright.transpose(TURNS[orientation])
    expected = np.asarray(upright.convert("RGB"))
    assert np.array_equal(read_image(file), expected)
    assert read_size(file) == expected.shape[:2]
    with file.open("rb") as content, Image.open(content) as image:
        assert np.array_equal(to_rgb(image), expected)


def encoded(form: str, mode: str) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    content = io.BytesIO()
    image = Image.fromarray(pixels).convert(mode)
    image.save(content, form, **({} if form == "BMP" else {"exif": exif}))
    return content.getvalue()


def flipped(content: bytes, rng: np.random.Generator) -> bytes:
    damaged = bytearray(content)
    for place in rng.integers(0, len(content), rng.integers(1, 8)):
        damaged[place] = rng.integers(0, 256)
    return bytes(damaged[: None if rng.random() < 0.8 else rng.integers(0, len(content))])


def mended(content: bytes, rng: np.random.Generator) -> bytes:
    """Damage a PNG's chunks, with their checksums right again."""
    parts, at = [content[:8]], 8
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        chunk = bytearray(content[at + 4 : at + 8 + length])
        if rng.random() < 0.4:
            chunk[rng.integers(0, len(chunk))] ^= 1 << rng.integers(0, 8)
        parts += [struct.pack(">I", length), bytes(chunk), struct.pack(">I", zlib.crc32(chunk))]
        at += 12 + length
    return b"".join(parts)


@pytest.mark.parametrize(
    ("form", "mode"),
    [
        *(("PNG", mode) for mode in ("RGB", "P", "L")),
        *((form, "RGB") for form in ("JPEG", "TIFF", "WEBP", "BMP")),
    ],
)
def test_damaged_images_are_one_line(tmp_path: Path, form: str, mode: str) -> None:
    whole = encoded(form, mode)
    rng = np.random.default_rng(2)
    changes: list[Callable] = [flipped, mended] if form == "PNG" else [flipped]
    for _ in range(60):
        for change in changes:
            (tmp_path / "a.png").write_bytes(change(whole, rng))
            for read in READERS:
                assert said(read, tmp_path / "a.png").count("\n") == 0


def test_other_programs_formats_are_not_opened(tmp_path: Path) -> None:
    """Pillow gives PostScript to Ghostscript, whatever the file is called."""
    Image.new("RGB", (4, 4)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.png")
    with pytest.raises(InputError, match="it is no PNG, JPEG, BMP, TIFF, WEBP"):
        read_image(tmp_path / "a.png")


def test_a_damaged_pillow_image_is_one_line(tmp_path: Path) -> None:
    content = encoded("JPEG", "RGB")
    with (
        Image.open(io.BytesIO(content[:-200])) as image,
        pytest.raises(InputError, match="image: Pillow cannot decode it"),
    ):
        to_rgb(image)
    with (
        Image.open(io.BytesIO(png(9000, 9000))) as image,
        pytest.raises(InputError, match="image: 9000x9000, more than"),
    ):
        to_rgb(image)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_colours_of_16_bits_are_no_labels(tmp_path: Path, suffix: str) -> None:
    """Their upper halves alone would make two colours one."""
    path = tmp_path / f"one{suffix}"
    cv2.imwrite(str(path), np.array([[[0x80FF, 0x40FF, 0x8000]]], np.uint16))
    with pytest.raises(InputError, match=f"one{suffix}.*16 or 32 bits per pixel"):
        read_colours(path)
    assert read_image(path).tolist() == [[[0x80, 0x40, 0x80]]]
