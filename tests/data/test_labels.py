"""What a label's pixels mean: the values that are stored, by the rules that were typed."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hostile_images import chunk, png
from PIL import Image

from sepico_pl.data.files import read_ids
from sepico_pl.data.own import folder
from sepico_pl.types import InputError

RGB = [[9, 9, 9], [255, 255, 255]]
FORMATS = {
    "uint8": (8, 1),
    "int8": (8, 2),
    "uint16": (16, 1),
    "int16": (16, 2),
    "uint32": (32, 1),
    "int32": (32, 2),
    "float32": (32, 3),
}


def code(**settings: object):
    folders = dict.fromkeys(("source_images", "source_labels", "target_images"), "nowhere")
    return folder(**{**folders, "classes": ["road", "sky"], **settings}).source_train.code


def write_tiff(path: Path, values: np.ndarray, photometric: int = 1) -> None:
    """Write an uncompressed TIFF of gray numbers, of which Pillow can write but some."""
    bits, kind = FORMATS[values.dtype.name]
    height, width = values.shape
    numbers = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 200, 277: 1}
    numbers |= {278: height, 279: values.nbytes, 339: kind}
    tags = [(tag, 4 if tag in (273, 279) else 3, 1, number) for tag, number in numbers.items()]
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    head += b"".join(struct.pack("<HHII", *tag) for tag in tags)
    path.write_bytes(head.ljust(200, b"\0") + values.tobytes())


def write_packed(path: Path, values: np.ndarray, bits: int, colours: int = 0) -> None:
    """Write a PNG of less than 8 bits a pixel: gray, or (3) a palette's index."""
    rows = b""
    for row in values:
        line = "".join(f"{value:0{bits}b}" for value in row)
        line += "0" * (-len(line) % 8)
        rows += b"\0" + int(line, 2).to_bytes(len(line) // 8, "big")
    height, width = values.shape
    palette = [chunk(b"PLTE", bytes(range(90, 90 + 3 * 2**bits)))] if colours else []
    data = chunk(b"IDAT", zlib.compress(rows))
    path.write_bytes(png(width, height, *palette, data, bits=bits, colours=colours))


def test_the_typed_255_is_a_class(tmp_path: Path) -> None:
    masks = np.array([[0, 255, 255]], np.uint8)
    Image.fromarray(masks).save(tmp_path / "a.png")
    assert code(ids={0: "road", 255: "sky"}).read(tmp_path / "a.png").tolist() == [[0, 1, 1]]
    assert code(ids={255: "road", 0: "sky"}).read(tmp_path / "a.png").tolist() == [[1, 0, 0]]
    ignoring = code(ids={0: "road", 255: "sky"}, unlisted="ignore")
    assert ignoring.read(tmp_path / "a.png").tolist() == [[0, 1, 1]]
    assert code(ids={0: "road", 1: "sky"}).read(tmp_path / "a.png").tolist() == [[0, 255, 255]]


def test_all_known_ids_are_named(tmp_path: Path) -> None:
    Image.fromarray(np.array([[7]], np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"known are 0, 255 \(2 classes\); mend"):
        code(ids={0: "road", 255: "sky"}).read(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"known are 0 to 1 \(2 classes\), and 255 for pixels to"):
        code().read(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ids": {0: "road", 5: "sky"}, "ignore": [5]}, r"dataset\.ignore: 5 .*sky \(dataset\.ids"),
        ({"ignore": [1]}, r"dataset\.ignore: 1 .*sky \(its place in dataset\.classes"),
        (
            {"labels": "colours", "colours": RGB, "ignore": [[255, 255, 255]]},
            r"dataset\.ignore: \[255, 255, 255\] .*sky \(dataset\.colours",
        ),
        ({"ids": {0: "road", 255: "sky"}, "ignore": [255]}, r"dataset\.ignore: 255 .*sky"),
        ({"ids": {7: "road", "07": "sky"}}, "7 is given twice"),
        ({"labels": "colours", "colours": RGB, "ids": {0: "road", 1: "sky"}}, "hold no ids"),
        ({"classes": [1, 2]}, "1 was read as a number, not as the text that was typed; quote"),
        ({"classes": ["road", True]}, "True was read as true or false"),
        ({"classes": ["road", None]}, "None was read as nothing"),
        ({"classes": ["road", 1e3]}, "1000.0 was read as a number"),
        ({"classes": ["road", "  "]}, "a name is empty"),
        ({"classes": ["0", "1"], "ids": {0: "0", 1: 1}}, r"dataset\.ids: 1 was read as a number"),
    ],
)
def test_what_contradicts_itself_is_refused(settings: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        code(**settings)


def test_names_that_look_like_numbers_may_be_texts() -> None:
    names = ["001", "true", "null", "1e3"]
    folders = dict.fromkeys(("source_images", "source_labels", "target_images"), "nowhere")
    assert folder(**folders, classes=names).classes.names == tuple(names)


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("colours", [0, 3])
def test_packed_ids_are_what_is_stored(tmp_path: Path, bits: int, colours: int) -> None:
    values = np.random.default_rng(bits).integers(0, 2**bits, (5, 11))
    values[0, 0] = 2**bits - 1
    write_packed(tmp_path / "a.png", values, bits, colours)
    np.testing.assert_array_equal(read_ids(tmp_path / "a.png"), values)


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "float32"])
def test_whole_numbers_of_any_width_are_ids(tmp_path: Path, kind: str) -> None:
    values = np.array([[0, 1, 100], [2, 3, 7]], kind)
    write_tiff(tmp_path / "a.tif", values)
    np.testing.assert_array_equal(read_ids(tmp_path / "a.tif"), values)


@pytest.mark.parametrize("kind", ["int8", "int16", "int32"])
def test_a_negative_id_is_refused(tmp_path: Path, kind: str) -> None:
    write_tiff(tmp_path / "a.tif", np.array([[0, 1, -1]], kind))
    with pytest.raises(InputError, match=r"a\.tif: class id -1 in an id image"):
        code().read(tmp_path / "a.tif")


def test_float_ids_are_refused(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", np.array([[0, 1, 1]], "float32"))
    with pytest.raises(InputError, match=r"a\.tif: the label holds float32 numbers.*8-bit PNG"):
        code().read(tmp_path / "a.tif")


def test_white_as_zero_does_not_change_ids(tmp_path: Path) -> None:
    values = np.array([[0, 1, 200]], np.uint8)
    write_tiff(tmp_path / "a.tif", values, photometric=0)
    np.testing.assert_array_equal(read_ids(tmp_path / "a.tif"), values)


LOSSY = {
    "a.jpg": {},
    "a.webp": {},
    "a.png": {"format": "JPEG", "quality": 100, "subsampling": 0},
    "a.tif": {"compression": "jpeg"},
}


@pytest.mark.parametrize("name", LOSSY)
@pytest.mark.parametrize("labels", ["ids", "colours"])
def test_lossy_labels_are_refused(tmp_path: Path, name: str, labels: str) -> None:
    Image.new("RGB", (8, 8), (1, 1, 1)).save(tmp_path / name, **LOSSY[name])
    reads = code(labels=labels, colours=[[1, 1, 1], [2, 2, 2]], unlisted="ignore")
    with pytest.raises(InputError, match=r"a\.\w+: a label saved as lossy .* as PNG"):
        reads.read(tmp_path / name)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_lossless_webp_is_taken(tmp_path: Path, mode: str) -> None:
    truth = np.random.default_rng(0).integers(0, 2, (9, 8), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x010E] = "a description"
    Image.fromarray(truth).convert(mode).save(tmp_path / "a.webp", lossless=True, exif=exif)
    np.testing.assert_array_equal(code().read(tmp_path / "a.webp"), truth)
