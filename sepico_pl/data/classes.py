"""Class names, colours, subsets and id maps of the data sets."""

from sepico_pl.types import IGNORE_INDEX, ClassSet

# SYNTHIA lacks terrain, truck and train: 16 classes are judged, or 13 without wall, fence and pole.
SYNTHIA_16 = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18)
SYNTHIA_13 = (0, 1, 2, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18)

# Cordts et al., CVPR 2016: the nineteen classes of the benchmark, in the order of their train ids.
CITYSCAPES = ClassSet(
    names=(
        "road",
        "sidewalk",
        "building",
        "wall",
        "fence",
        "pole",
        "traffic light",
        "traffic sign",
        "vegetation",
        "terrain",
        "sky",
        "person",
        "rider",
        "car",
        "truck",
        "bus",
        "train",
        "motorcycle",
        "bicycle",
    ),
    palette=(
        (128, 64, 128),
        (244, 35, 232),
        (70, 70, 70),
        (102, 102, 156),
        (190, 153, 153),
        (153, 153, 153),
        (250, 170, 30),
        (220, 220, 0),
        (107, 142, 35),
        (152, 251, 152),
        (70, 130, 180),
        (220, 20, 60),
        (255, 0, 0),
        (0, 0, 142),
        (0, 0, 70),
        (0, 60, 100),
        (0, 80, 100),
        (0, 0, 230),
        (119, 11, 32),
    ),
    subsets={"mIoU19": tuple(range(19)), "mIoU16": SYNTHIA_16, "mIoU13": SYNTHIA_13},
)

# cityscapesscripts, helpers/labels.py: label id -> train id. 34 occurs in GTA5's labels alone.
CITYSCAPES_TRAIN_IDS = dict.fromkeys(range(35), IGNORE_INDEX) | {
    7: 0,
    8: 1,
    11: 2,
    12: 3,
    13: 4,
    17: 5,
    19: 6,
    20: 7,
    21: 8,
    22: 9,
    23: 10,
    24: 11,
    25: 12,
    26: 13,
    27: 14,
    28: 15,
    31: 16,
    32: 17,
    33: 18,
}

# SYNTHIA-RAND-CITYSCAPES, as DAFormer maps it: void, parking slot, road work and lane marking are
# ignored.
SYNTHIA_TRAIN_IDS = {
    0: IGNORE_INDEX,
    1: 10,
    2: 2,
    3: 0,
    4: 1,
    5: 4,
    6: 8,
    7: 5,
    8: 13,
    9: 7,
    10: 11,
    11: 18,
    12: 17,
    13: IGNORE_INDEX,
    14: IGNORE_INDEX,
    15: 6,
    16: 9,
    17: 12,
    18: 14,
    19: 15,
    20: 16,
    21: 3,
    22: IGNORE_INDEX,
}

TRAIN_IDS = {c: c for c in range(19)}

# Brostow, Fauqueur, Cipolla (2009), the eleven classes of SegNet's version.
CAMVID = ClassSet(
    names=(
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "sign",
        "fence",
        "car",
        "pedestrian",
        "bicyclist",
    ),
    palette=(
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (0, 0, 192),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
)
