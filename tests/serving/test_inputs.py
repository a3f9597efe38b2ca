"""Which files are predicted, and what their results are called."""

from pathlib import Path

import pytest

from sepico_pl.serving.inputs import find_photographs
from sepico_pl.types import InputError


def names(images: Path | str, output: Path = Path("/nowhere")) -> dict[str, str]:
    """Return the name of the results by file name."""
    return {one.path.name: one.name for one in find_photographs(str(images), output)}


def touch(folder: Path, *files: str) -> None:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()


def test_a_folder_with_all_below_it(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b/c.PNG", "b/d/e.webp", "notes.txt", ".hidden.jpg", ".git/f.jpg")
    assert names(tmp_path) == {"a.jpg": "a", "c.PNG": "b/c", "e.webp": "b/d/e"}
    assert names(f"{tmp_path}/b") == {"c.PNG": "c", "e.webp": "d/e"}
    assert names(tmp_path / "a.jpg") == {"a.jpg": "a"}


def test_a_pattern_names_from_its_fixed_part(tmp_path: Path) -> None:
    touch(tmp_path, "day/0.jpg", "day/0.txt", "night/0.jpg", "night/far/1.jpg")
    found = find_photographs(f"{tmp_path}/*/*", Path("/nowhere"))
    assert [one.name for one in found] == ["day/0", "night/0"]
    found = find_photographs(f"{tmp_path}/night/**/*.jpg", Path("/nowhere"))
    assert [one.name for one in found] == ["0", "far/1"]


def test_a_file_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    touch(tmp_path, "what?.jpg", "whats.jpg")
    assert names(tmp_path / "what?.jpg") == {"what?.jpg": "what?"}


def test_names_that_differ_in_their_suffix_keep_it(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a.png", "b.jpg", "below/b.png", "C.jpg", "c.webp", "d.e.jpg", "d.png")
    assert names(tmp_path) == {
        "a.jpg": "a.jpg",
        "a.png": "a.png",
        "b.jpg": "b",
        "b.png": "below/b",
        "C.jpg": "C.jpg",
        "c.webp": "c.webp",
        "d.e.jpg": "d.e",
        "d.png": "d",
    }


def test_a_kept_suffix_meets_no_other_name(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a.png", "a.jpg.png", "b.jpg.png", "b.jpg")
    found = names(tmp_path)
    assert len(set(found.values())) == len(found) == 5
    assert found["b.jpg.png"] == "b.jpg.png"


def test_results_are_no_input(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "out/overlay/a.jpg", "out/ids/b/c.png", "outer/b.jpg")
    assert names(tmp_path, tmp_path / "out") == {"a.jpg": "a", "b.jpg": "outer/b"}
    with pytest.raises(InputError, match="the folder of the images"):
        names(tmp_path, tmp_path)


def test_images_may_lie_below_the_output(tmp_path: Path) -> None:
    touch(tmp_path, "photos/a.jpg", "photos/ids/b.jpg", "ids/a.png")
    assert names(tmp_path / "photos", tmp_path) == {"a.jpg": "a", "b.jpg": "ids/b"}
    assert names(f"{tmp_path}/*/a.*", tmp_path) == {"a.jpg": "photos/a"}


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ("nowhere", "no such file or folder"),
        ("*.jpg", "no image there"),
        (".", "no image there"),
        ("drive.MP4", "ffmpeg -i drive.MP4 frames/%06d.png"),
    ],
)
def test_what_cannot_be_predicted(
    images: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "notes.txt", "drive.MP4")
    with pytest.raises(InputError, match=said) as caught:
        names(images)
    assert f"images={images}" in str(caught.value)
