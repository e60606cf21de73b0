"""Houses, lighthouses, castles, windmills, pyramids and skylines, with windows that are lit after dark."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from studio.painter.canvas import UNITS, Canvas, Point, colour, rectangle
from studio.painter.noise import Array
from studio.painter.stage import Stage

WALLS = ("e8dcc4", "d9b08c", "c8574a", "f2efe6", "9fb4c0")
ROOFS = ("8a3b2c", "5a4038", "3f4a5a")
FACADES = ("6a7486", "8a8f9a", "9a8478", "5a6478", "b0a498")
LAMP = colour("ffd36a")


class _Builder:
    """Draws walls and roofs of one building in the light of the stage, at one distance."""

    def __init__(self, stage: Stage, distance: float) -> None:
        self.stage, self.distance = stage, distance

    def wall(self, points: list[Point], tone: Array, brightness: float = 1.0) -> None:
        """A face of the building."""
        lit = np.clip(tone * np.float32(brightness), 0, 1)
        self.stage.canvas.polygon(points, self.stage.light.air(lit, self.distance))

    def sides(self) -> tuple[float, float]:
        """How bright the left and the right faces are."""
        return (1.05, 0.74) if self.stage.lit_from > 0 else (0.74, 1.05)

    def window(self, x: float, y: float, half_width: float, half_height: float) -> None:
        """A window; after dark it shines, also through the style."""
        frame = rectangle(x - half_width, y - half_height, x + half_width, y + half_height)
        if not self.stage.scene.dark:
            self.wall(frame, colour("4a5a70"))
            return

        def shine(canvas: Canvas) -> None:
            canvas.glow(x, y, half_width * 1.6 + 1, LAMP, 0.45)
            canvas.polygon(frame, LAMP)

        shine(self.stage.canvas)
        self.stage.details.append(shine)


def add_house(stage: Stage, x: float, y: float, width: float, distance: float) -> None:
    """A cottage with a gable, a chimney and smoke in winter; (x, y) is the middle of its foot."""
    rng = stage.rng
    wall, roof = colour(str(rng.choice(WALLS))), colour(str(rng.choice(ROOFS)))
    w, h = width, width * 0.62
    stage.covers(x - w * 0.6, x + w * 0.6, y - h * 1.45)
    stage.attend(x, y - h * 0.6, w * 0.65, h)

    def paint() -> None:
        build = _Builder(stage, distance)
        left, right = build.sides()
        cover = colour("f4f7ff") if stage.scene.snowy_ground else roof
        front, ridge, eaves, side = x + w * 0.15, x + w * 0.325, y - h * 0.62, x + w / 2
        build.wall(rectangle(x - w / 2, eaves, front, y), wall, left)
        build.wall([(front, y), (front, eaves), (ridge, y - h * 1.1), (side, eaves), (side, y)], wall, right)
        build.wall(rectangle(x - w * 0.2, y - h * 1.42, x - w * 0.08, y - h), colour("7a4a3c"))
        top, gutter = y - h * 1.15, y - h * 0.56
        build.wall([(x - w * 0.56, gutter), (x - w * 0.38, top), (ridge, top), (front, gutter)], cover)
        edge = [(ridge, top), (x + w * 0.29, y - h * 1.08), (x + w * 0.55, y - h * 0.52), (x + w * 0.58, y - h * 0.58)]
        build.wall(edge, cover, 0.75)
        build.wall(rectangle(x - w * 0.08, y - h * 0.36, x + w * 0.03, y), colour("5a3a2a"))
        if stage.scene.season == "winter" and width > 20:
            _smoke(stage, x - w * 0.14, y - h * 1.45)
        build.window(x - w * 0.32, y - h * 0.3, w * 0.085, w * 0.085)
        build.window(x + w * 0.325, y - h * 0.36, w * 0.075, w * 0.09)

    stage.later(paint)


def _smoke(stage: Stage, x: float, y: float) -> None:
    canvas = stage.canvas
    where = (canvas.rows(y - 48, y), canvas.columns(x - 24, x + 34))
    above = np.float32(y) - canvas.y[where[0]]
    drift = canvas.x[:, where[1]] - np.float32(x) - 4 * np.sin(above * 0.09) - above * np.float32(0.15)
    plume = np.clip(1 - np.abs(drift) / (2 + 0.11 * above.clip(0)), 0, 1)
    plume = plume * np.clip(above / 4, 0, 1) * np.clip(1 - above / 48, 0, 1)
    canvas.blend(stage.light.horizon * np.float32(0.7) + np.float32(0.3), plume * np.float32(0.6), where)


def add_lighthouse(stage: Stage, x: float, y: float, width: float) -> None:
    """A striped lighthouse; its lamp and beam shine in the dark, in fog and in storms."""
    w, h = width, width * 2.6
    stage.covers(x - w * 0.5, x + w * 0.5, y - h - w * 0.9)
    stage.attend(x, y - h / 2 - w * 0.3, w * 0.6, h / 2 + w * 0.7)
    lamp_y = y - h - w * 0.28
    shining = stage.scene.dark or stage.scene.weather in ("stormy", "foggy")

    def beam(canvas: Canvas) -> None:
        where = (canvas.rows(lamp_y - 70, lamp_y + 70), slice(0, canvas.size))
        away = canvas.x - np.float32(x)
        up = np.abs(canvas.y[where[0]] - np.float32(lamp_y))
        angle = np.arctan2(up, away if x < UNITS / 2 else -away)
        strength = np.exp(-((angle / 0.13) ** 2)) * np.exp(-np.hypot(away, up) / 110)
        canvas.blend(colour("fff2b0"), strength * np.float32(0.7), where)
        canvas.glow(x, lamp_y, 7, colour("fff2b0"), 0.85)

    def paint() -> None:
        build = _Builder(stage, 0.04)
        white, red = colour("f8f4ec"), colour("cc3530")
        build.wall([(x - w * 0.34, y), (x - w * 0.22, y - h), (x + w * 0.22, y - h), (x + w * 0.34, y)], white)
        for low in (0.04, 0.38, 0.72):
            high = low + 0.18
            a, b = w * (0.34 - 0.12 * low), w * (0.34 - 0.12 * high)
            foot, head = y - h * low, y - h * high
            build.wall([(x - a, foot), (x - b, head), (x + b, head), (x + a, foot)], red)
        shade = [(x, y), (x, y - h), (x + stage.lit_from * w * 0.22, y - h), (x + stage.lit_from * w * 0.34, y)]
        stage.canvas.polygon(shade, stage.light.air(colour("4a3a4a"), 0.04), 0.28)
        top = y - h
        build.wall(rectangle(x - w * 0.3, top - w * 0.1, x + w * 0.3, top), colour("333a44"))
        lamp = rectangle(x - w * 0.18, top - w * 0.46, x + w * 0.18, top - w * 0.08)
        stage.canvas.polygon(lamp, colour("ffe9a0"))
        roof = [(x - w * 0.27, top - w * 0.44), (x, top - w * 0.78), (x + w * 0.27, top - w * 0.44)]
        build.wall(roof, colour("a83230"))
        if shining:
            beam(stage.canvas)

    stage.later(paint)
    if shining:
        stage.details.append(lambda canvas: canvas.glow(x, lamp_y, 6, colour("fff2b0"), 0.8))


def add_castle(stage: Stage, x: float, y: float, width: float) -> None:
    """A castle with a wall, a gate and three towers under pointed roofs."""
    w = width
    stage.covers(x - w * 0.7, x + w * 0.7, y - w * 1.3)
    stage.covers(x - w * 0.22, x + w * 0.22, y - w * 1.7)
    stage.attend(x, y - w * 0.7, w * 0.75, w)

    def paint() -> None:
        build = _Builder(stage, 0.12)
        stone = colour("a59c94")
        roof = colour("e6eefc") if stage.scene.season == "winter" else colour("3f5a8a")
        left, right = build.sides()

        def tower(tx: float, tw: float, th: float) -> None:
            build.wall(rectangle(tx - tw / 2, y - th, tx, y), stone, left)
            build.wall(rectangle(tx, y - th, tx + tw / 2, y), stone, right)
            build.wall([(tx - tw * 0.65, y - th), (tx, y - th - tw * 1.5), (tx, y - th)], roof, left)
            build.wall([(tx, y - th), (tx, y - th - tw * 1.5), (tx + tw * 0.65, y - th)], roof, right)
            build.window(tx, y - th * 0.72, tw * 0.13, tw * 0.2)

        tower(x, w * 0.34, w * 1.15)
        west, east, crest = x - w * 0.6, x + w * 0.6, y - w * 0.5
        battlements = [(x - w * 0.6 + i * w * 0.1, y - w * (0.5 + 0.07 * (i % 2 == 0))) for i in range(13)]
        build.wall([(west, y), (west, crest), *battlements, (east, crest), (east, y)], stone, 0.88)
        tower(x - w * 0.55, w * 0.26, w * 0.8)
        tower(x + w * 0.55, w * 0.26, w * 0.8)
        jamb, arch = w * 0.1, y - w * 0.2
        gate = [(x - jamb, y), (x - jamb, arch), (x, y - w * 0.3), (x + jamb, arch), (x + jamb, y)]
        build.wall(gate, colour("3a2a22"))
        build.window(x - w * 0.28, y - w * 0.3, w * 0.035, w * 0.05)
        build.window(x + w * 0.28, y - w * 0.3, w * 0.035, w * 0.05)

    stage.later(paint)


def add_windmill(stage: Stage, x: float, y: float, width: float, distance: float) -> None:
    """A windmill with four sails."""
    rng = stage.rng
    wall, roof = colour(str(rng.choice(WALLS))), colour(str(rng.choice(ROOFS)))
    turn = float(rng.uniform(0.2, 1.3))
    w, h = width, width * 1.5
    stage.covers(x - w * 1.1, x + w * 1.1, y - h - w * 1.1)
    stage.attend(x, y - h * 0.8, w * 1.15, h * 1.05)

    def paint() -> None:
        build = _Builder(stage, distance)
        left, right = build.sides()
        build.wall([(x - w * 0.38, y), (x - w * 0.22, y - h), (x, y - h), (x, y)], wall, left)
        build.wall([(x, y), (x, y - h), (x + w * 0.22, y - h), (x + w * 0.38, y)], wall, right)
        build.wall([(x - w * 0.27, y - h), (x, y - h - w * 0.38), (x + w * 0.27, y - h)], roof)
        build.window(x, y - h * 0.45, w * 0.08, w * 0.11)
        for quarter in range(4):
            angle = turn + quarter * np.pi / 2
            ux, uy = float(np.cos(angle)), float(np.sin(angle))

            def at(along: float, aside: float, ux: float = ux, uy: float = uy) -> Point:
                return (x + w * (ux * along - uy * aside), y - h + w * (uy * along + ux * aside))

            build.wall([at(0.2, 0.0), at(1.1, 0.0), at(1.1, 0.26), at(0.2, 0.26)], colour("f4ecdc"))
            stage.canvas.line([at(0, 0), at(1.12, 0)], stage.light.air(colour("5a4030"), distance), 1.6)

    stage.later(paint)


def add_pyramid(stage: Stage, x: float, y: float, width: float) -> None:
    """A pyramid with one face in shadow."""
    peak = (x, y - width * 0.62)
    stage.covers(x - width * 0.3, x + width * 0.3, peak[1])
    stage.attend(x, y - width * 0.3, width * 0.5, width * 0.35)

    def paint() -> None:
        light, side = stage.light, stage.lit_from
        stage.canvas.polygon([(x - width / 2, y), peak, (x + width / 2, y)], light.air(colour("e0b070"), 0.14))
        for share in np.linspace(0.12, 0.92, 8).tolist():
            row, reach = y - width * 0.62 * (1 - share), width / 2 * share
            stage.canvas.line([(x - reach, row), (x + reach, row)], light.air(colour("b88a50"), 0.16), 0.6)
        shaded = [peak, (x + side * width / 2, y), (x + side * width * 0.12, y)]
        stage.canvas.polygon(shaded, light.air(colour("7a5030"), 0.16), 0.9)

    stage.later(paint)


@dataclass(frozen=True)
class _House:
    """One tower block of a skyline, in units."""

    x: float
    width: float
    height: float
    shape: float
    tone: Array
    distance: float
    pattern: int


def add_skyline(stage: Stage, foot: float) -> None:
    """Three rows of tower blocks standing on `foot`; windows of the nearer two are lit after dark."""
    rng = stage.rng
    houses: list[_House] = []
    for distance, low, high, count in ((0.58, 42, 98, 18), (0.32, 30, 80, 14), (0.05, 16, 56, 12)):
        for x in np.linspace(-8, UNITS + 8, count).tolist():
            width = float(rng.uniform(0.62, 1.15)) * UNITS / count
            height = float(rng.uniform(low, high))
            tone = colour(FACADES[int(rng.integers(len(FACADES)))])
            middle, shape = x + float(rng.normal(0, 3)), float(rng.random())
            houses.append(_House(middle, width, height, shape, tone, distance, int(rng.integers(1 << 30))))
            top = foot - height * (1.25 if shape < 0.32 else 1.0)
            stage.covers(middle - width / 2, middle + width / 2, top)
    lit: list[tuple[float, float]] = []

    def shine(canvas: Canvas) -> None:
        for x, y in lit:
            canvas.polygon(rectangle(x - 1.3, y - 1.7, x + 1.3, y + 1.7), colour("ffdf8a"))

    def paint() -> None:
        lit.clear()
        for house in houses:
            _block(stage, house, foot, lit)
        shine(stage.canvas)

    stage.later(paint)
    if stage.scene.dark:
        stage.details.append(shine)


def _block(stage: Stage, house: _House, foot: float, lit: list[tuple[float, float]]) -> None:
    """Paint one block and add its lit windows to `lit`, dropping those that it hides."""
    canvas, light = stage.canvas, stage.light
    x, w, h = house.x, house.width, house.height
    left, right, top = x - w / 2, x + w / 2, foot - h
    roof: list[Point] = [(left, top), (right, top)]
    if house.shape < 0.2:
        hut = [(x - w / 4, top), (x - w / 4, top - h * 0.12), (x + w / 4, top - h * 0.12), (x + w / 4, top)]
        roof = [(left, top), *hut, (right, top)]
    elif house.shape < 0.32:
        roof = [(left, top), (x, top - h * 0.25), (right, top)]
    face = light.air(house.tone, house.distance)
    canvas.polygon([(left, foot), *roof, (right, foot)], face)
    shaded = (x, right) if stage.lit_from > 0 else (left, x)
    shade = light.air(house.tone * np.float32(0.78), house.distance)
    canvas.polygon(rectangle(shaded[0], top, shaded[1], foot), shade, 0.8)
    lit[:] = [(wx, wy) for wx, wy in lit if not (left - 1 < wx < right + 1 and wy > top - 1)]
    if house.distance > 0.5:
        return
    dice = np.random.default_rng(house.pattern)
    share = 0.2 if stage.scene.style == "ink" else 0.36
    dark_glass = light.air(house.tone * np.float32(0.55), house.distance)
    for wy in np.arange(top + 5, foot - 3, 7.0).tolist():
        for wx in np.arange(left + 3.2, right - 2.4, 5.6).tolist():
            if stage.scene.dark:
                if dice.random() < share:
                    lit.append((wx, wy))
            elif dice.random() < 0.85:
                canvas.polygon(rectangle(wx - 1.2, wy - 1.7, wx + 1.2, wy + 1.7), dark_glass)
