"""Draws one street scene: sky, ground, houses, then all objects, far before near."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sepico_pl.data.street_looks import (
    BLUR,
    BUILDING,
    CAR,
    CHANGE,
    DARKNESS,
    DAY,
    FOG,
    FOG_COLOUR,
    LOOKS,
    NOISE,
    PERSON,
    POLE,
    ROAD,
    SIDEWALK,
    SIGN,
    SKY,
    TINT,
    VEGETATION,
    Look,
    World,
)
from sepico_pl.types import IGNORE_INDEX, ByteArray, Size

Colour = NDArray[np.float64]
SKIN = np.array([226.0, 178.0, 150.0])
GLASS = np.array([40.0, 52.0, 70.0])
TYRE = np.array([24.0, 24.0, 26.0])
MARKING_DEPTHS = np.geomspace(0.15, 1.0, 6).tolist()
TAIL_LAMP = np.array([255.0, 50.0, 40.0])
MARKING = np.array([226.0, 226.0, 220.0])
BONNET_SHARE = 0.06
NEAREST, FARTHEST = 1.0, 0.12


@dataclass
class Canvas:
    """An image (H, W, 3) and its label (H, W), uint8, painted together."""

    image: ByteArray
    label: ByteArray

    def polygon(self, points: list[tuple[float, float]], class_id: int, colour: Colour) -> None:
        """Fill a polygon of (x, y) points."""
        corners = np.round(np.array(points)).astype(np.int32)
        cv2.fillPoly(self.image, [corners], colour.tolist())
        cv2.fillPoly(self.label, [corners], class_id)

    def box(
        self, x: float, y: float, width: float, height: float, class_id: int, colour: Colour
    ) -> None:
        """Fill a rectangle whose lower edge is centred at (x, y), at least two pixels wide."""
        left, right = round(x - width / 2), max(round(x + width / 2), round(x - width / 2) + 2) - 1
        top, bottom = min(round(y - height), round(y) - 1), round(y)
        cv2.rectangle(self.image, (left, top), (right, bottom), colour.tolist(), -1)
        cv2.rectangle(self.label, (left, top), (right, bottom), class_id, -1)

    def ellipse(
        self, x: float, y: float, width: float, height: float, class_id: int, colour: Colour
    ) -> None:
        """Fill an ellipse centred at (x, y)."""
        axes = (max(1, round(width / 2)), max(1, round(height / 2)))
        for layer, value in ((self.image, colour.tolist()), (self.label, class_id)):
            cv2.ellipse(layer, (round(x), round(y)), axes, 0, 0, 360, value, -1)

    def detail(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        """Paint a rectangle whose lower edge is centred at (x, y) into the image alone."""
        left, top = round(x - width / 2), round(y - height)
        corner = (max(left, round(x + width / 2) - 1), max(top, round(y) - 1))
        cv2.rectangle(self.image, (left, top), corner, colour.tolist(), -1)


class Street:
    """One scene while it is drawn: its dice, its look and its geometry.

    Args:
        world: "day" or "night".
        size: height and width in pixels.
        dice: decides everything.
    """

    def __init__(self, world: World, size: Size, dice: np.random.Generator) -> None:
        """Draw the layout."""
        height, width = size
        self.world, self.height, self.width, self.dice = world, height, width, dice
        self.look: Look = LOOKS[world]
        night = world == "night"
        self.change = dice.uniform(*CHANGE, len(self.look.surfaces)) * night
        self.darkness = float(dice.uniform(*DARKNESS)) * night
        self.canvas = Canvas(
            np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint8)
        )
        self.horizon = height * dice.uniform(*self.look.horizon)
        self.vanishing = width * dice.uniform(0.35, 0.65)
        self.half_road = width * dice.uniform(*self.look.half_street)
        self.half_street = self.half_road + width * dice.uniform(0.14, 0.24)

    def draw(self) -> tuple[ByteArray, ByteArray]:
        """Return image (H, W, 3) and label (H, W), both uint8."""
        self._sky_and_ground()
        self._houses()
        self._objects()
        if self.world == "night":
            self._night()
        return self.canvas.image, self.canvas.label

    def _shade(self, day: Colour, night: Colour) -> Colour:
        return (1 - self.darkness) * day + self.darkness * night

    def _colour(self, class_id: int) -> Colour:
        """Draw a colour of the class, as far from its day as it has changed in this scene."""
        day, own = (
            np.array(look.surfaces[class_id][self._any(len(look.surfaces[class_id]))], float)
            for look in (DAY, self.look)
        )
        change = self.change[class_id]
        colour = (1 - change) * day + change * own
        shaded: Colour = np.minimum(colour * self.dice.uniform(0.9, 1.1), 255)
        return shaded

    def _any(self, count: int) -> int:
        """Draw one of `count` indices; `choice` would take five times as long."""
        return int(self.dice.integers(count))

    def _x(self, offset: float, depth: float) -> float:
        """Return the column of a point `offset` pixels beside the street's axis at the camera."""
        camera = self.width / 2
        return self.vanishing + (camera + offset - self.vanishing) * depth

    def _y(self, depth: float) -> float:
        return self.horizon + (self.height - self.horizon) * depth

    def _strip(self, left: float, right: float, class_id: int) -> None:
        far, near = 0.0, 1.3
        points = [
            (self._x(x, d), self._y(d))
            for x, d in ((left, far), (right, far), (right, near), (left, near))
        ]
        self.canvas.polygon(points, class_id, self._colour(class_id))

    def _sky_and_ground(self) -> None:
        sky = self._colour(SKY)
        self.canvas.box(self.width / 2, self.height, self.width + 2, self.height + 1, SKY, sky)
        for _ in range(self.dice.integers(0, 4)):
            x, y = self.dice.uniform(0, self.width), self.dice.uniform(0, 0.7 * self.horizon)
            size = self.width * self.dice.uniform(0.08, 0.2)
            cloud = self._shade(np.array([240.0, 244.0, 248.0]), sky * 1.2)
            self.canvas.ellipse(x, y, size, size / 4, SKY, np.clip(cloud, 0, 255))
        ground, low = self._colour(VEGETATION), self.height - self.horizon
        self.canvas.box(self.width / 2, self.height, self.width + 2, low, VEGETATION, ground)
        self._strip(-self.half_street, self.half_street, SIDEWALK)
        self._strip(-self.half_road, self.half_road, ROAD)
        for depth in MARKING_DEPTHS:
            if self.world == "day" or self.darkness < 0.8:
                size = depth * self.height * 0.1
                self.canvas.detail(
                    self._x(0, depth),
                    self._y(depth),
                    size / 3,
                    size,
                    MARKING * (1 - 0.4 * self.darkness),
                )

    def _houses(self) -> None:
        for side in (-1, 1):
            depth = FARTHEST
            while depth < 1.2:
                nearer = depth * self.dice.uniform(1.35, 1.9)
                if self.dice.random() < 0.82:
                    self._house(side, depth, nearer)
                depth = nearer

    def _house(self, side: int, far: float, near: float) -> None:
        wall = self._colour(BUILDING)
        offset = side * self.half_street
        tall = self.height * self.dice.uniform(*self.look.house_height)
        x_far, x_near = self._x(offset, far), self._x(offset, near)
        points = [(x_far, self._y(far)), (x_near, self._y(near))]
        tops = [(x_near, self._y(near) - tall * near), (x_far, self._y(far) - tall * far)]
        if self.look.gables:
            middle = (far + near) / 2
            tops.insert(1, (self._x(offset, middle), self._y(middle) - 1.35 * tall * middle))
        self.canvas.polygon([*points, *tops], BUILDING, wall)
        self._windows(offset, far, near, tall)

    def _windows(self, offset: float, far: float, near: float, tall: float) -> None:
        window = np.array(self.look.window, float)
        for depth in (far * 1.1, (1.012 * far * near) ** 0.5, near * 0.92):
            size, x, ground = depth * self.height * 0.1, self._x(offset, depth), self._y(depth)
            for floor in (0.3, 0.55, 0.8):
                if self.dice.random() < self.look.window_share:
                    y = ground - floor * tall * depth
                    self.canvas.detail(x, y, max(1, size * 0.5), max(1, size), window)

    def _objects(self) -> None:
        """Draw trees, poles, people and cars, the farthest first."""
        plans: list[tuple[Callable[[float], None], int]] = [
            (self._tree, self.look.trees),
            (self._pole, self.look.poles),
            (self._person, self.look.people),
            (self._car, self.look.cars),
        ]
        placed = [
            (float(self.dice.uniform(0.2, NEAREST)), draw)
            for draw, most in plans
            for _ in range(self.dice.integers(1, most + 1))
        ]
        for depth, draw in sorted(placed, key=lambda item: item[0]):
            draw(depth)

    def _beside(self, inner: float, outer: float) -> float:
        side = (-1, 1)[self._any(2)]
        return float(side * self.dice.uniform(inner, outer))

    def _tree(self, depth: float) -> None:
        x = self._x(self._beside(self.half_road * 1.25, self.half_street * 1.4), depth)
        y, size = self._y(depth), self.height * self.dice.uniform(0.35, 0.55) * depth
        leaves = self._colour(VEGETATION)
        if self.look.conical_trees:
            points = [(x - size * 0.35, y), (x + size * 0.35, y), (x, y - 1.6 * size)]
            self.canvas.polygon(points, VEGETATION, leaves)
            return
        self.canvas.box(x, y, size * 0.16, size * 0.8, VEGETATION, np.array([90.0, 66.0, 46.0]))
        self.canvas.ellipse(x, y - size, size, size * 0.9, VEGETATION, leaves)
        self.canvas.ellipse(
            x - size * 0.2,
            y - size * 1.2,
            size * 0.5,
            size * 0.4,
            VEGETATION,
            np.clip(leaves * 1.15, 0, 255),
        )

    def _pole(self, depth: float) -> None:
        x = self._x(self._beside(self.half_road * 1.05, self.half_road * 1.2), depth)
        y, tall = self._y(depth), self.height * self.dice.uniform(0.5, 0.75) * depth
        width = max(2.5, 0.055 * self.height * depth)
        self.canvas.box(x, y, width, tall, POLE, self._colour(POLE))
        if self.dice.random() < 0.7:
            size = max(4.0, 0.14 * self.height * depth)
            colour = self._colour(SIGN)
            if self.world == "day":
                self.canvas.ellipse(x, y - tall, size, size, SIGN, colour)
            else:
                self.canvas.box(x, y - tall + size * 0.6, size * 0.9, size * 1.2, SIGN, colour)
            self.canvas.detail(
                x, y - tall + size * 0.2, size * 0.35, size * 0.35, np.array(self.look.lamp, float)
            )

    def _person(self, depth: float) -> None:
        inner, outer = (0.2, 1.25) if self.dice.random() < 0.3 else (1.02, 1.3)
        x = self._x(self._beside(self.half_road * inner, self.half_road * outer), depth)
        y, tall = self._y(depth), max(6.0, self.height * 0.3 * depth)
        clothes = self._colour(PERSON)
        self.canvas.box(x, y, tall * 0.28, tall * 0.45, PERSON, clothes * 0.6)
        self.canvas.ellipse(x, y - tall * 0.58, tall * 0.36, tall * 0.5, PERSON, clothes)
        self.canvas.ellipse(
            x, y - tall * 0.92, tall * 0.2, tall * 0.22, PERSON, SKIN * (1 - 0.5 * self.darkness)
        )

    def _car(self, depth: float) -> None:
        x = self._x(self._beside(self.half_road * 0.35, self.half_road * 0.8), depth)
        y, wide = self._y(depth), max(7.0, self.height * 0.5 * depth)
        paint, tall = self._colour(CAR), wide * (0.62 if self.world == "day" else 0.78)
        for wheel in (-0.32, 0.32):
            self.canvas.box(x + wheel * wide, y, wide * 0.2, tall * 0.3, CAR, TYRE)
        self.canvas.box(x, y - tall * 0.12, wide, tall * 0.5, CAR, paint)
        roof = 0.72 if self.world == "day" else 0.92
        self.canvas.box(x, y - tall * 0.6, wide * roof, tall * 0.42, CAR, paint)
        self.canvas.detail(x, y - tall * 0.62, wide * roof * 0.8, tall * 0.28, GLASS)
        lamp = self._shade(
            MARKING, TAIL_LAMP if self.dice.random() < 0.5 else np.array(self.look.lamp, float)
        )
        for place in (-0.38, 0.38):
            self.canvas.detail(
                x + place * wide, y - tall * 0.3, max(1, wide * 0.14), max(1, tall * 0.14), lamp
            )

    def _night(self) -> None:
        """Lay fog, tint, blur, noise and the own car's bonnet over the scene."""
        image = self.canvas.image.astype(np.float32)
        rows = np.arange(self.height)[:, None, None]
        distance = np.clip(1 - np.abs(rows - self.horizon) / (0.6 * self.height), 0, 1)
        fog = distance * self.dice.uniform(*FOG)
        image = (image * (1 - fog) + fog * np.array(FOG_COLOUR)) * np.array(TINT)
        image = cv2.GaussianBlur(image, (0, 0), float(self.dice.uniform(*BLUR)) * self.height / 64)
        image += self.dice.normal(0, self.dice.uniform(*NOISE), image.shape)
        self.canvas.image[:] = np.clip(image, 0, 255)
        bonnet = self.height - round(BONNET_SHARE * self.height)
        self.canvas.image[bonnet:] = self.canvas.image[bonnet:] // 6
        self.canvas.label[bonnet:] = IGNORE_INDEX
