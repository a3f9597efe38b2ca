import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from sepico_pl.data.checks import check_pair
from sepico_pl.data.datasets import SegmentationFolder
from sepico_pl.data.labels import IdLabels
from sepico_pl.data.ledger import Ledger
from sepico_pl.types import InputError


@pytest.fixture
def pairs(tmp_path: Path) -> list[tuple[Path, Path]]:
    made = []
    for index in range(6):
        files = tmp_path / f"{index}.png", tmp_path / f"{index}_label.png"
        cv2.imwrite(str(files[0]), np.zeros((4, 6, 3), np.uint8))
        cv2.imwrite(str(files[1]), np.full((4, 6), index % 3, np.uint8))
        made.append(files)
    return made


def check(pairs, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, classes: int = 3):
    """Check; return the counts and how many pairs were decoded for it."""
    decoded = []

    def counted(code, num_classes, item):
        decoded.append(item)
        return check_pair(code, num_classes, item)

    monkeypatch.setattr("sepico_pl.data.datasets.check_pair", counted)
    code = IdLabels({c: c for c in range(classes)})
    collection = SegmentationFolder(lambda: pairs, code, classes)
    collection.check(ledger)
    return collection.class_counts, len(decoded)


def test_files_are_decoded_once(pairs, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "outputs" / "checked.jsonl"
    counts, decoded = check(pairs, Ledger(path), monkeypatch)
    assert decoded == 6
    assert counts.sum(axis=0).tolist() == [48, 48, 48]
    again, decoded = check(pairs, Ledger(path), monkeypatch)
    assert decoded == 0
    np.testing.assert_array_equal(again, counts)


def test_a_changed_file_is_counted_again(pairs, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "checked.jsonl"
    check(pairs, Ledger(path), monkeypatch)
    cv2.imwrite(str(pairs[2][1]), np.full((4, 6), 0, np.uint8))
    os.utime(pairs[2][1], ns=(1, 1))
    counts, decoded = check(pairs, Ledger(path), monkeypatch)
    assert decoded == 1
    assert counts.sum(axis=0).tolist() == [72, 48, 24]


def test_other_classes_are_another_check(pairs, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "checked.jsonl"
    check(pairs, Ledger(path), monkeypatch)
    assert check(pairs, Ledger(path), monkeypatch, classes=4)[1] == 6


def test_an_interrupted_check_goes_on(pairs, tmp_path: Path, monkeypatch) -> None:
    """A broken label stops it; what passed before stays recorded, a line cut short does not."""
    path = tmp_path / "checked.jsonl"
    whole = pairs[4][1].read_bytes()
    pairs[4][1].write_bytes(whole[:20])
    with pytest.raises(InputError, match=r"4_label\.png"):
        check(pairs, Ledger(path), monkeypatch)
    content = path.read_text()
    path.write_text(content[: content.rindex("}") - 5])
    pairs[4][1].write_bytes(whole)
    counts, decoded = check(pairs, Ledger(path), monkeypatch)
    assert decoded == 2
    assert counts.sum() == 6 * 24


def test_where_nothing_can_be_written(pairs, tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "file").write_text("")
    counts, _ = check(pairs, Ledger(tmp_path / "file" / "checked.jsonl"), monkeypatch)
    assert len(counts) == 6
    assert "cannot be recorded" in capsys.readouterr().out


@pytest.mark.parametrize(
    "line",
    [
        "[" * 99_999,
        "5",
        '{"key": [], "record": {"sizes": [[1, 2]]}}',
        '{"key": "a", "record": 5}',
        '{"key": "a", "record": {}}',
        '{"key": "a", "record": {"sizes": []}}',
        '{"key": "a", "record": {"sizes": [1]}}',
        '{"key": "a", "record": {"sizes": [[1]]}}',
        '{"key": "a", "record": {"sizes": [["1", 2]]}}',
        '{"key": "a", "record": {"sizes": [[1, 2]], "counts": "x"}}',
        '{"key": "a", "record": {"sizes": [[1, 2]], "counts": [0.5]}}',
    ],
)
def test_a_damaged_line_counts_for_nothing(tmp_path: Path, line: str) -> None:
    good = '{"key": "b", "record": {"sizes": [[1, 2]], "counts": [0, 3]}}'
    (tmp_path / "checked.jsonl").write_text(f"{line}\n{good}\n")
    assert list(Ledger(tmp_path / "checked.jsonl").records) == ["b"]
