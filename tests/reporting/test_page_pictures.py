import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image
from sample_runs import write_panel, write_run

from sepico_pl.data.streets import StreetScenes
from sepico_pl.reporting.page import write_report
from sepico_pl.reporting.page_pictures import STEPS, WIDEST, panel_of, spread
from sepico_pl.reporting.runs import Run


def decoded(source: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(source.partition("base64,")[2])))


def test_labels_travel_unchanged(tmp_path: Path) -> None:
    write_panel(write_run(tmp_path), [100, 200])
    run = Run(tmp_path)
    panel = panel_of(tmp_path / "pictures", run.panel)
    photograph, truth = panel.scenes[1].still
    night = StreetScenes("night", "val", 2, (32, 64), seed=0)
    assert (np.asarray(decoded(truth.source)) == night[1][1]).all()
    assert photograph.source.startswith("data:image/jpeg")
    assert panel.kinds == ["photograph", "truth", "student", "teacher", "confidence"]
    assert panel.legend["car"] == "rgb(0 0 142)"
    learnt = ["mixed image", "mixed label", "target crop", "pseudo-label", "confidence"]
    assert [picture.kind for picture in panel.learnt[0]] == learnt


def test_a_panel_without_self_training(tmp_path: Path) -> None:
    write_panel(write_run(tmp_path), [100], self_training=False)
    panel = panel_of(tmp_path / "pictures", Run(tmp_path).panel)
    assert panel.kinds == ["photograph", "truth", "student"]
    assert panel.learnt == []
    assert "only self-training mixes images" in write_report(tmp_path).read_text()


def test_pictures_of_a_killed_run_are_left_out_where_they_are_broken(tmp_path: Path) -> None:
    write_panel(write_run(tmp_path), [100, 200])
    shot = tmp_path / "pictures/step_00000200"
    whole = (shot / "scene_0_student.png").read_bytes()
    (shot / "scene_0_student.png").write_bytes(whole[: len(whole) // 2])
    (shot / "scene_0_teacher.png").unlink()
    panel = panel_of(tmp_path / "pictures", Run(tmp_path).panel)
    assert [picture.kind for picture in panel.scenes[0].steps[200]] == ["confidence"]
    assert len(panel.scenes[1].steps[200]) == 3


def test_a_long_panel_of_large_pictures_stays_small(tmp_path: Path) -> None:
    steps = list(range(100, 2100, 100))
    assert spread(steps, STEPS) == [100, 500, 900, 1200, 1600, 2000]
    write_panel(write_run(tmp_path), steps[:2], (512, 1024), scenes=1)
    panel = panel_of(tmp_path / "pictures", Run(tmp_path).panel)
    photograph, truth = panel.scenes[0].still
    assert (photograph.width, photograph.height) == (WIDEST, WIDEST // 2)
    assert set(np.unique(np.asarray(decoded(truth.source)))) <= {*range(9), 255}
