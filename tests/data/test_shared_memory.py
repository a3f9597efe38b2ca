import shutil
from pathlib import Path

import pytest

from sepico_pl.data.shared_memory import (
    MEBIBYTE,
    Load,
    check_shared_memory,
    image_bytes,
    label_bytes,
)
from sepico_pl.types import InputError


def test_bytes_by_hand() -> None:
    assert image_bytes((2, 5)) == 3 * 2 * 5 * 4
    assert label_bytes((2, 5)) == 2 * 5 * 8


def test_two_batches_of_each_stream_and_worker_must_fit(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    fitting, too_large = int(free / 6 * 0.9), int(free / 6 * 1.1)
    check_shared_memory(3, [Load(fitting)], tmp_path)
    check_shared_memory(0, [Load(10 * free)], tmp_path)
    check_shared_memory(3, [Load(10 * free)], tmp_path / "absent")
    check_shared_memory(3, [Load(too_large, batches=4)], tmp_path)
    check_shared_memory(1, [Load(fitting)], tmp_path, processes=3)
    check_shared_memory(1, [Load(too_large, batches=4)], tmp_path, processes=3)
    with pytest.raises(InputError, match=r"data.workers=1: "):
        check_shared_memory(1, [Load(too_large)], tmp_path, processes=3)
    for loads in ([Load(too_large)], [Load(fitting), Load(fitting // 4)]):
        with pytest.raises(InputError, match=r"data.workers=3: .* --shm-size=8g.*data.workers=0"):
            check_shared_memory(3, loads, tmp_path)


def test_the_message_says_how_much_is_needed(tmp_path: Path) -> None:
    needed = 4 * (shutil.disk_usage(tmp_path).free // MEBIBYTE)
    with pytest.raises(InputError, match=f"need {needed} MiB"):
        check_shared_memory(2, [Load(needed // 4 * MEBIBYTE)], tmp_path)
