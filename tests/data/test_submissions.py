import contextlib
import zipfile
from io import BytesIO
from pathlib import Path

import hostile_images
import numpy as np
import pytest
from PIL import Image

from sepico_pl.data.submissions import FORMATS, Submission, submission_format
from sepico_pl.types import InputError

NAMES = ("GOPR0364_frame_000001_rgb_anon.png", "GOPR0364_frame_000021_rgb_anon.png")
SIZES = dict.fromkeys(NAMES, (4, 6))
FORM = FORMATS["dark_zurich"]


def probabilities() -> np.ndarray:
    """Class 3 everywhere at 0.75, but class 18 at 0.5 in the first row."""
    scores = np.zeros((19, 4, 6), np.float32)
    scores[3], scores[4] = 0.75, 0.25
    scores[3, 0], scores[4, 0], scores[18, 0] = 0.25, 0.25, 0.5
    return scores


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    with Submission(tmp_path / "made" / "archive.zip", FORM) as submission:
        for name in NAMES:
            submission.add(name, probabilities())
    return tmp_path / "made" / "archive.zip"


def content(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def png(array: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def test_what_is_written(archive: Path) -> None:
    FORM.validate(archive, SIZES)
    files = content(archive)
    assert set(files) == {f"{folder}/{name}" for folder in FORM.folders for name in NAMES}
    expected = np.full((4, 6), 3)
    expected[0] = 18
    for folder in ("labelTrainIds", "labelTrainIds_invalid"):
        with Image.open(BytesIO(files[f"{folder}/{NAMES[1]}"])) as label:
            assert label.mode == "L"
            np.testing.assert_array_equal(np.asarray(label), expected)
    with Image.open(BytesIO(files[f"confidence/{NAMES[0]}"])) as confidence:
        values = np.asarray(confidence)
    assert values[0].tolist() == [round(0.5 * 65535)] * 6
    assert values[1].tolist() == [round(0.75 * 65535)] * 6


@pytest.mark.parametrize(
    ("name", "replacement", "expected"),
    [
        (f"labelTrainIds/{NAMES[0]}", None, f"missing labelTrainIds/{NAMES[0]}"),
        ("labelTrainIds/other.png", b"x", "unknown labelTrainIds/other.png"),
        (f"labelTrainIds/{NAMES[0]}", b"x", "cannot be read as an image"),
        (f"labelTrainIds/{NAMES[0]}", png(np.zeros((4, 5), np.uint8)), "is 4x5, the test image"),
        (f"labelTrainIds/{NAMES[0]}", png(np.full((4, 6), 255, np.uint8)), r"has ids \[255\]"),
        (f"labelTrainIds/{NAMES[0]}", png(np.full((4, 6), 26, np.uint8)), r"has ids \[26\]"),
        (f"labelTrainIds_invalid/{NAMES[0]}", png(np.full((4, 6), 19, np.uint8)), r"ids \[19\]"),
        (f"labelTrainIds/{NAMES[0]}", png(np.zeros((4, 6, 3), np.uint8)), "one channel"),
        (f"confidence/{NAMES[0]}", png(np.zeros((4, 6), np.uint8)), "not 16 bits"),
    ],
)
def test_what_a_server_would_not_take(
    archive: Path, name: str, replacement: bytes | None, expected: str
) -> None:
    files = content(archive)
    files.pop(name, None)
    if replacement is not None:
        files[name] = replacement
    with zipfile.ZipFile(archive, "w") as changed:
        for one, data in files.items():
            changed.writestr(one, data)
    assert len(FORM.problems(archive, SIZES)) == 1
    with pytest.raises(InputError, match=rf"archive\.zip: 1 problems: .*{expected}"):
        FORM.validate(archive, SIZES)


def test_ignored_pixels_may_be_marked_invalid(archive: Path) -> None:
    files = content(archive)
    files[f"labelTrainIds_invalid/{NAMES[0]}"] = png(np.full((4, 6), 255, np.uint8))
    with zipfile.ZipFile(archive, "w") as changed:
        for one, data in files.items():
            changed.writestr(one, data)
    FORM.validate(archive, SIZES)


def test_many_problems_are_counted(archive: Path) -> None:
    sizes = {**SIZES, **{f"{index}.png": (4, 6) for index in range(4)}}
    with pytest.raises(InputError, match=r"12 problems: .* and 7 more"):
        FORM.validate(archive, sizes)


def test_no_archive(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such archive"):
        FORM.validate(tmp_path / "none.zip", SIZES)
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(InputError, match="cannot be read as a zip archive"):
        FORM.validate(tmp_path / "text.zip", SIZES)
    with pytest.raises(InputError, match="target=cityscapes has no server"):
        submission_format("cityscapes")


def test_an_interrupted_archive_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with Submission(tmp_path / "a.zip", FORM) as submission:
            submission.add(NAMES[0], probabilities())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (bytes(50 << 20), "is larger than its pixels would be"),
        (hostile_images.png(60000, 60000), "cannot be read as an image"),
        (
            hostile_images.png(9000, 9000, hostile_images.pixels(99)),
            "is 9000x9000, the test image 4x6",
        ),
        (b"no image", "cannot be read as an image"),
    ],
    ids=["zeros", "far too large", "too large", "text"],
)
def test_bombs_in_an_archive_are_named(tmp_path: Path, content: bytes, said: str) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as written:
        written.writestr("labelTrainIds/a.png", content)
    with pytest.raises(InputError, match=f"a.png:? {said}"):
        submission_format("acdc").validate(archive, {"a.png": (4, 6)})


def test_a_damaged_archive_is_one_line(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as written:
        written.writestr("labelTrainIds/a.png", hostile_images.png(6, 4, hostile_images.pixels(28)))
    whole = archive.read_bytes()
    for place in range(len(whole)):
        archive.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        with contextlib.suppress(InputError):
            submission_format("acdc").validate(archive, {"a.png": (4, 6)})
