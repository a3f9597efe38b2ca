"""Images as an attacker would make them."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from PIL import Image


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png(width: int, height: int, *chunks: bytes, bits: int = 8, colours: int = 0) -> bytes:
    """Return a PNG with a header, and what else is given."""
    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def tiff(*tags: tuple[int, int, int, int]) -> bytes:
    """Return a TIFF of one directory: tag, type, count, value."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + bytes(300)


SHAPE = [
    (256, 3, 1, 64),
    (257, 3, 1, 64),
    (258, 3, 1, 8),
    (259, 3, 1, 1),
    (262, 3, 1, 1),
    (277, 3, 1, 1),
]


def pixels(size: int) -> bytes:
    return chunk(b"IDAT", zlib.compress(bytes(size)))


def animated(form: str) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        frames = [
            Image.new("RGB", (64, 64), (index % 256, index // 256, 0)) for index in range(3000)
        ]
        frames[0].save(path, form, save_all=True, append_images=frames[1:])

    return write


def many_exif(path: Path) -> None:
    """A directory of EXIF that points at itself, in a photograph that is turned."""
    exif = Image.Exif()
    exif[0x0112] = 6
    content = io.BytesIO()
    Image.new("RGB", (64, 48)).save(content, "JPEG", exif=exif.tobytes() + bytes(30_000))
    path.write_bytes(
        content.getvalue().replace(
            b"\x12\x01\x03\x00\x01\x00\x00\x00", b"\x12\x01\x07\x00\xff\xff\xff\x7f"
        )
    )


BOMBS: dict[str, Callable[[Path], object]] = {
    "text.png": lambda path: path.write_bytes(
        png(8, 8, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100 << 20))), pixels(72))
    ),
    "texts.png": lambda path: path.write_bytes(
        png(8, 8, *[chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 20)))] * 300, pixels(72))
    ),
    "profile.png": lambda path: path.write_bytes(
        png(8, 8, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(100 << 20))), pixels(72))
    ),
    "exif.png": lambda path: path.write_bytes(
        png(8, 8, chunk(b"eXIf", b"II*\0\x08\0\0\0" + b"\xff\xff" + bytes(1 << 20)), pixels(72))
    ),
    "more_pixels.png": lambda path: path.write_bytes(png(8, 8, pixels(100 << 20))),
    "sixteen.png": lambda path: path.write_bytes(png(60000, 60000, pixels(99), bits=16)),
    "sixteen_of_a_size.png": lambda path: path.write_bytes(png(8192, 6144, pixels(99), bits=16)),
    "no_pixels.png": lambda path: path.write_bytes(png(0, 0)),
    "strips.tif": lambda path: path.write_bytes(
        tiff(*SHAPE, (273, 4, 1, 8), (278, 4, 1, 64), (279, 4, 1, 0xFFFFFFF0))
    ),
    "many_strips.tif": lambda path: path.write_bytes(
        tiff(*SHAPE, (273, 4, 0x0FFFFFFF, 8), (278, 4, 1, 1), (279, 4, 0x0FFFFFFF, 8))
    ),
    "no_strips.tif": lambda path: path.write_bytes(tiff(*SHAPE)),
    "next_to_itself.tif": lambda path: path.write_bytes(
        tiff(*SHAPE, (34665, 4, 1, 8), (273, 4, 1, 8), (279, 4, 1, 64))
    ),
    "large.tif": lambda path: path.write_bytes(
        tiff((256, 4, 1, 1 << 31), (257, 4, 1, 1 << 31), *SHAPE[2:], (273, 4, 1, 8), (279, 4, 1, 9))
    ),
    "frames.webp": animated("WEBP"),
    "frames.png": animated("PNG"),
    "frames.gif": animated("GIF"),
    "exif.jpg": many_exif,
    "bitmap.bmp": lambda path: path.write_bytes(
        b"BM" + struct.pack("<IIIIiiHHI", 99, 0, 54, 40, 1 << 30, -(1 << 30), 1, 24, 0) + bytes(20)
    ),
}
