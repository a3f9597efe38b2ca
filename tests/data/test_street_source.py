from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sepico_pl.data.camvid import camvid
from sepico_pl.data.classes import CAMVID, CITYSCAPES
from sepico_pl.data.ledger import Ledger
from sepico_pl.data.own import photographs
from sepico_pl.data.pair import domain_pair
from sepico_pl.data.rare_classes import count_classes
from sepico_pl.data.street_source import (
    CAMVID_NAMES,
    StreetsOfDomains,
    StreetsSource,
    streets_to_camvid,
)
from sepico_pl.data.streets import STREETS_CLASSES, STREETS_NAMES, StreetScenes
from sepico_pl.types import IGNORE_INDEX, InputError, LabelledImages

SIZE = (48, 64)


def test_domains_take_turns() -> None:
    scenes = StreetsOfDomains(["night", "day"], "train", 5, SIZE, 3, STREETS_CLASSES)
    assert isinstance(scenes, LabelledImages)
    night, day = (StreetScenes(world, "train", 5, SIZE, 3) for world in ("night", "day"))
    for index, alone in enumerate([night[0], day[0], night[1], day[1], night[2]]):
        for one, other in zip(scenes[index], alone, strict=True):
            assert (one == other).all()
        assert (scenes.label(index) == alone[1]).all()
    assert [scenes.name(index) for index in (1, 2)] == [
        "streets/day/train/0",
        "streets/night/train/1",
    ]
    assert (len(scenes), scenes.size(4)) == (5, SIZE)
    with pytest.raises(IndexError):
        scenes[5]


@pytest.mark.parametrize("domains", [[], ["dusk"], ["day", "day"]])
def test_domains_are_known_and_named_once(domains: list[str]) -> None:
    with pytest.raises(InputError, match="choose day, night or both"):
        StreetsOfDomains(domains, "val", 2, SIZE, 0, STREETS_CLASSES)


def test_streets_are_a_source_for_photographs_without_a_label(tmp_path: Path) -> None:
    (tmp_path / "photographs").mkdir()
    image = np.arange(30 * 40 * 3, dtype=np.uint8).reshape(30, 40, 3)
    Image.fromarray(image).save(tmp_path / "photographs/a b.png")
    source = StreetsSource(["day", "night"], SIZE, 0, train_length=4, val_length=2)
    pair = domain_pair(source, photographs(str(tmp_path / "photographs")))
    assert (pair.target_train[0] == image).all()
    assert pair.target_val is None
    assert (len(pair.source_train), len(pair.source_val)) == (4, 2)
    own = StreetScenes("night", "train", 4, SIZE, 0).label(0)
    theirs = pair.source_train.label(1)
    for c, name in enumerate(STREETS_NAMES):
        assert ((theirs == CITYSCAPES.names.index(name)) == (own == c)).all()


def test_photographs_are_evaluated_where_they_have_labels(tmp_path: Path) -> None:
    for part in ("all", "all/labelled", "labels"):
        (tmp_path / part).mkdir()
    for place in ("all/1.png", "all/labelled/2.png"):
        Image.new("RGB", (8, 6)).save(tmp_path / place)
    Image.fromarray(np.full((6, 8), 18, np.uint8)).save(tmp_path / "labels/2.png")
    folders = [str(tmp_path / part) for part in ("all", "all/labelled", "labels")]
    target = photographs(*folders)
    images, labelled = target.images(target.train), target.labelled(target.val)
    labelled.check(Ledger(None))
    assert [Path(images.name(index)).name for index in range(len(images))] == ["1.png"]
    assert labelled.class_counts[0].tolist() == [0] * 18 + [48]
    assert target.evaluated == f"folder {folders[1]}"
    with pytest.raises(InputError, match="go together"):
        photographs(folders[0], val_images=folders[1])
    with pytest.raises(InputError, match="has no labels"):
        photographs(folders[0]).labelled("val")


@pytest.mark.realdata
def test_camvid_in_the_classes_of_the_streets(shared: Path) -> None:
    """The same pixels as in CamVid's own classes, but for fences and bicyclists."""
    root = str(shared / "camvid")
    pair, whole = streets_to_camvid(root, ["day"], SIZE, 0, 4, 2), camvid(root)
    assert pair.target_val is not None
    assert whole.source_val is not None
    for scenes in (pair.target_val, pair.target_train, whole.source_val):
        scenes.check(Ledger(None))
    ours, theirs = (
        dict(zip(names, count_classes(scenes, len(names)).sum(axis=0).tolist(), strict=True))
        for names, scenes in ((STREETS_NAMES, pair.target_val), (CAMVID.names, whole.source_val))
    )
    assert ours == {CAMVID_NAMES[name]: n for name, n in theirs.items() if name in CAMVID_NAMES}
    assert set(theirs) - set(CAMVID_NAMES) == {"fence", "bicyclist"}
    assert (len(pair.target_train), len(pair.target_val), len(pair.source_train)) == (411, 70, 4)
    kept = pair.target_val.label(0) != IGNORE_INDEX
    fences = np.isin(whole.source_val.label(0), [CAMVID.names.index("fence"), IGNORE_INDEX])
    assert not (kept & fences).any()


@pytest.mark.realdata
def test_the_oracle_learns_from_the_photographs(shared: Path) -> None:
    pair = streets_to_camvid(str(shared / "camvid"), ["day"], SIZE, 0, 4, 2, oracle=True)
    assert len(pair.source_train) == len(pair.target_train) == 411
    assert pair.source_train.name(0) == pair.target_train.name(0)
    assert set(np.unique(pair.source_train.label(0))) <= {*range(9), IGNORE_INDEX}
