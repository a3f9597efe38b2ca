"""What the two worlds of the generated streets look like, class by class.

The worlds share one grammar (a street towards a vanishing point, objects that shrink with distance)
and differ class by class, not only in tint: by night the wet road shines over a dark sidewalk, the
sky is darker than the houses, windows and lamps are lit, foliage is brown and conical, roofs have
gables, people and cars are dark shapes, streets are narrower and the camera looks lower.
"""

from dataclasses import dataclass
from typing import Literal

World = Literal["day", "night"]
Colours = tuple[tuple[int, int, int], ...]
Range = tuple[float, float]

ROAD, SIDEWALK, BUILDING, POLE, SIGN, VEGETATION, SKY, PERSON, CAR = range(9)


@dataclass(frozen=True)
class Look:
    """Colours (RGB, 0..255) and layout of a world.

    Attributes:
        surfaces: possible colours of each class, in the order of the class ids.
        window: colour of a house's windows.
        window_share: how many of them differ from the wall.
        lamp: colour of street lamps and head lamps.
        horizon: row of the horizon, as a share of the height.
        half_street: half the road's width at the lower edge, as a share of the width.
        house_height: of a house at the camera, as a share of the height.
        conical_trees: whether trees are cones on the ground or round crowns on a trunk.
        gables: whether houses have a gable.
        trees: how many, at most; likewise all that follow.
    """

    surfaces: tuple[Colours, ...]
    window: tuple[int, int, int]
    window_share: float
    lamp: tuple[int, int, int]
    horizon: Range
    half_street: Range
    house_height: Range
    conical_trees: bool
    gables: bool
    trees: int
    poles: int
    people: int
    cars: int


DAY = Look(
    surfaces=(
        ((88, 88, 92), (100, 98, 98), (78, 80, 86)),
        ((178, 168, 160), (190, 184, 180), (168, 152, 150)),
        ((186, 120, 92), (206, 178, 138), (160, 140, 128), (150, 96, 84)),
        ((70, 70, 74), (84, 88, 84)),
        ((36, 80, 190), (210, 40, 40), (240, 200, 30)),
        ((66, 132, 52), (92, 152, 60), (52, 112, 58)),
        ((150, 196, 240), (176, 210, 244), (132, 182, 236)),
        ((220, 60, 70), (60, 70, 200), (236, 180, 60), (200, 70, 180)),
        ((200, 30, 36), (30, 70, 180), (236, 236, 240), (40, 140, 120)),
    ),
    window=(60, 70, 90),
    window_share=1.0,
    lamp=(220, 220, 220),
    horizon=(0.42, 0.52),
    half_street=(0.34, 0.48),
    house_height=(0.75, 1.2),
    conical_trees=False,
    gables=False,
    trees=4,
    poles=4,
    people=4,
    cars=3,
)

NIGHT = Look(
    surfaces=(
        ((104, 110, 128), (114, 118, 134), (96, 104, 124)),
        ((74, 70, 80), (84, 78, 82), (66, 64, 76)),
        ((70, 62, 76), (92, 78, 74), (58, 60, 80), (80, 70, 60)),
        ((150, 150, 150), (132, 136, 146)),
        ((236, 240, 240), (120, 240, 150), (250, 120, 90)),
        ((84, 62, 46), (66, 52, 54), (96, 74, 50)),
        ((18, 20, 44), (26, 26, 56), (34, 28, 52)),
        ((38, 34, 42), (52, 40, 40), (30, 36, 52)),
        ((30, 30, 40), (52, 22, 28), (24, 36, 56), (70, 70, 80)),
    ),
    window=(250, 214, 120),
    window_share=0.45,
    lamp=(255, 244, 200),
    horizon=(0.34, 0.45),
    half_street=(0.26, 0.40),
    house_height=(0.55, 1.0),
    conical_trees=True,
    gables=True,
    trees=4,
    poles=5,
    people=6,
    cars=4,
)
LOOKS: dict[World, Look] = {"day": DAY, "night": NIGHT}

# How far each class of a night scene, on its own, has left its colours by day: 0 is day, 1 is
# night. A road may be dry or wet, a house lit or dark: so a class has looks between the worlds in
# any scene.
CHANGE: Range = (0.0, 0.8)
# The same for lamps and markings, once per scene.
DARKNESS: Range = (0.2, 1.0)
FOG_COLOUR = (92, 84, 104)
FOG: Range = (0.0, 0.35)
TINT = (0.92, 0.94, 1.08)
NOISE: Range = (3.0, 9.0)
BLUR: Range = (0.3, 0.8)
