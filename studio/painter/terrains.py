"""Composition: what stands where in every terrain. Adds steps to a Stage, from far to near; paints nothing itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from studio.painter import buildings, land, plants, water
from studio.painter.canvas import UNITS, colour
from studio.painter.scene import (
    BEACH,
    BRIDGE,
    CACTI,
    CHERRY_TREE,
    COTTAGE,
    FAR_MOUNTAINS,
    ISLANDS,
    LAKE,
    LIGHTHOUSE,
    LONE_TREE,
    PALMS,
    PATH,
    PINES,
    PYRAMIDS,
    REFLECTION,
    RIVER,
    SAILBOAT,
    STREAM,
    WATERFALL,
    WINDMILL,
)
from studio.painter.stage import Stage

HORIZONS = {  # lowest and highest share of the height at which sky meets land
    "city": (0.72, 0.72),
    "forest": (0.62, 0.62),
    "mountains": (0.70, 0.70),
    "sea": (0.45, 0.58),
    "flowers": (0.42, 0.52),
    "arctic": (0.55, 0.58),
    "desert": (0.60, 0.60),
    "space": (0.95, 0.95),
}
WATER_COLOURS = {"sea": "1f6f94", "coast": "1f7a90", "lake": "2c5f7a", "arctic": "2f6f8f"}


def horizon_of(terrain: str, rng: np.random.Generator) -> float:
    """Where sky meets land, in units from the top."""
    return float(UNITS * rng.uniform(*HORIZONS.get(terrain, (0.54, 0.66))))


def compose(stage: Stage) -> None:
    """Add everything that the scene's terrain and things need."""
    _COMPOSERS[stage.scene.terrain](stage)


def _between(stage: Stage, low: float, high: float) -> float:
    return float(stage.rng.uniform(low, high))


def _far_mountains(stage: Stage) -> None:
    """Two ridges in the distance."""
    horizon = stage.horizon
    land.add_mountains(stage, horizon + 8, UNITS * _between(stage, 0.16, 0.26), 0.66, 3)
    land.add_mountains(stage, horizon + 12, UNITS * _between(stage, 0.20, 0.32), 0.38, _between(stage, 2, 3.6))


def _far_hills(stage: Stage) -> None:
    for index in range(2):
        height = UNITS * _between(stage, 0.07, 0.14)
        land.add_hills(stage, stage.horizon + 8 + index * 6, height, 0.62 - 0.25 * index, _between(stage, 2, 4))


def _backdrop(stage: Stage) -> None:
    if stage.scene.has(FAR_MOUNTAINS):
        _far_mountains(stage)
    else:
        _far_hills(stage)


def _mountains(stage: Stage) -> None:
    scene, horizon = stage.scene, stage.horizon
    if _between(stage, 0, 1) < 0.6:
        land.add_mountains(stage, horizon + 8, UNITS * _between(stage, 0.22, 0.36), 0.64, 3)
    ridge = land.add_mountains(stage, horizon + 14, UNITS * _between(stage, 0.34, 0.48), 0.3, _between(stage, 2, 3.4))
    if scene.has(WATERFALL):
        x = UNITS * _between(stage, 0.25, 0.75)
        top = max(float(ridge[int(x)]) + 26, horizon - 66)
        water.add_waterfall(stage, x, top, UNITS * 0.86)
    elif _between(stage, 0, 1) < 0.5:
        land.add_mountains(stage, horizon + 26, UNITS * _between(stage, 0.14, 0.22), 0.16, 4)
    meadow = land.add_hills(stage, UNITS * 0.97, UNITS * 0.18, 0.06, 2.5)
    cottage_x = UNITS * _between(stage, 0.25, 0.75)
    has_cottage = scene.has(COTTAGE)
    if scene.has(PINES):
        plants.add_trees(
            stage, (UNITS * 0.84, UNITS), (20, 46), (0.12, 0.0), 34, "pine", (cottage_x, 30) if has_cottage else None
        )
    else:
        plants.add_grass(stage, UNITS * 0.9, 300)
    if has_cottage:
        buildings.add_house(stage, cottage_x, max(float(meadow[int(cottage_x)]) + 14, 222.0), 36, 0.04)


def _hills(stage: Stage) -> None:
    scene = stage.scene
    _far_hills(stage)
    for index in range(3):
        base = stage.horizon + 30 + index * 34
        land.add_hills(stage, base, UNITS * _between(stage, 0.10, 0.17), 0.30 - 0.13 * index, _between(stage, 1.5, 3))
    start = land.add_path(stage, UNITS * 0.72) if scene.has(PATH) else UNITS / 2
    side = 1 if _between(stage, 0, 1) < 0.5 else -1
    x = float(np.clip(start + side * _between(stage, 48, 88), 44, 212))
    if scene.has(LONE_TREE) or scene.has(CHERRY_TREE):
        kind = "leafy" if scene.has(LONE_TREE) else "blossom"
        plants.add_tree(stage, x, UNITS * _between(stage, 0.80, 0.88), UNITS * _between(stage, 0.30, 0.44), 0.03, kind)
    elif scene.has(COTTAGE):
        buildings.add_house(stage, x, UNITS * _between(stage, 0.74, 0.82), 54, 0.06)
    elif scene.has(WINDMILL):
        buildings.add_windmill(stage, x, UNITS * _between(stage, 0.74, 0.82), 36, 0.06)
    plants.add_grass(stage, UNITS * 0.86, 300)


def _shore(stage: Stage) -> float:
    """The line where the water begins, on a whole pixel row."""
    scale = stage.canvas.scale
    stage.calm = {"stormy": 0.15, "rainy": 0.35}.get(
        stage.scene.weather, 0.8 if stage.scene.terrain == "lake" else 0.5
    )
    return round(stage.horizon * scale) / scale


def _boat(stage: Stage, shore: float, left: float = 0.2, right: float = 0.8) -> None:
    share = _between(stage, 0.34, 0.5) if stage.scene.weather == "foggy" else _between(stage, 0.16, 0.42)
    water.add_boat(
        stage, UNITS * _between(stage, left, right), shore + share * (UNITS - shore) * 0.72, 30 + 40 * share
    )


def _sea(stage: Stage) -> None:
    scene, shore = stage.scene, _shore(stage)
    if scene.has(ISLANDS):
        land.add_mountains(stage, shore + 3, UNITS * 0.12, 0.38, 2.2)
    water.add_water(stage, shore, colour(WATER_COLOURS["sea"]))
    if scene.weather == "stormy":
        water.add_waves(stage, shore)
    if scene.has(SAILBOAT):
        _boat(stage, shore, 0.3, 0.7)
    if scene.has(BEACH):
        water.add_beach(stage)
    if scene.has(PALMS):
        sides = [_between(stage, 0.08, 0.24), _between(stage, 0.76, 0.92)]
        first = int(stage.rng.integers(2))
        for index in range(int(stage.rng.integers(1, 3))):
            plants.add_palm(
                stage, UNITS * sides[(first + index) % 2], UNITS * 0.97, UNITS * _between(stage, 0.42, 0.58)
            )


def _lake(stage: Stage) -> None:
    scene, shore = stage.scene, _shore(stage)
    land.add_mountains(stage, stage.horizon + 8, UNITS * _between(stage, 0.18, 0.30), 0.66, 3)
    land.add_mountains(stage, stage.horizon + 12, UNITS * _between(stage, 0.28, 0.42), 0.32, _between(stage, 2, 3.6))
    cottage_x = UNITS * _between(stage, 0.2, 0.8)
    gap = (cottage_x, 20.0) if scene.has(COTTAGE) else None
    plants.add_trees(stage, (shore - 2, shore + 4), (14, 26), (0.28, 0.18), 46, scene.trees, gap)
    if scene.has(COTTAGE):
        buildings.add_house(stage, cottage_x, shore + 2, 34, 0.1)
    water.add_water(stage, shore, colour(WATER_COLOURS["lake"]))
    if scene.has(SAILBOAT):
        _boat(stage, shore)


def _coast(stage: Stage) -> None:
    scene, shore = stage.scene, _shore(stage)
    x, y, side = land.add_cliff(stage, shore)
    if scene.has(LIGHTHOUSE):
        buildings.add_lighthouse(stage, x, y, 24)
    elif scene.has(COTTAGE):
        buildings.add_house(stage, x, y, 38, 0.08)
    water.add_water(stage, shore, colour(WATER_COLOURS["coast"]))
    if scene.weather == "stormy":
        water.add_waves(stage, shore)
    if scene.has(SAILBOAT):
        _boat(stage, shore, *((0.15, 0.45) if side > 0 else (0.55, 0.85)))


def _arctic(stage: Stage) -> None:
    shore = _shore(stage)
    if stage.scene.has(FAR_MOUNTAINS):
        land.add_mountains(stage, shore + 6, UNITS * 0.24, 0.45, 3)
    water.add_water(stage, shore, colour(WATER_COLOURS["arctic"]))
    water.add_icebergs(stage, shore)
    if stage.scene.has(SAILBOAT):
        _boat(stage, shore)


def _desert(stage: Stage) -> None:
    scene, horizon = stage.scene, stage.horizon
    if scene.has(PYRAMIDS):
        count = int(stage.rng.integers(2, 4))
        places = np.linspace(0.22, 0.78, count) + stage.rng.uniform(-0.06, 0.06, count)
        for place in places.tolist():
            buildings.add_pyramid(
                stage, UNITS * place, horizon + _between(stage, 4, 14), UNITS * _between(stage, 0.22, 0.4)
            )
    elif _between(stage, 0, 1) < 0.35:
        land.add_mesas(stage, horizon + 4, UNITS * 0.15, 0.5, 2.5)
    for index in range(4):
        low = 0.04 if index == 0 and scene.has(PYRAMIDS) else 0.07
        height = UNITS * _between(stage, low, low * 2.2)
        land.add_dunes(stage, horizon + 14 + index * 30, height, 0.34 - 0.11 * index, _between(stage, 1.2, 2.6))
    if scene.has(CACTI):
        count = int(stage.rng.integers(2, 5))
        for place in np.linspace(0.15, 0.85, count).tolist():
            plants.add_cactus(
                stage,
                UNITS * (place + _between(stage, -0.08, 0.08)),
                UNITS * _between(stage, 0.8, 0.95),
                UNITS * _between(stage, 0.17, 0.28),
            )
    if scene.has(PALMS):
        centre = _between(stage, 0.3, 0.7)
        for offset in (-0.1, 0.09):
            plants.add_palm(
                stage,
                UNITS * (centre + offset),
                UNITS * _between(stage, 0.84, 0.9),
                UNITS * _between(stage, 0.3, 0.42),
            )


def _forest(stage: Stage) -> None:
    scene, horizon, kind = stage.scene, stage.horizon, stage.scene.trees
    plants.add_trees(stage, (horizon - 4, horizon + 6), (16, 30), (0.6, 0.5), 50, kind)
    land.add_hills(stage, UNITS * 0.78, UNITS * 0.12, 0.25, 2)
    start = UNITS / 2
    if scene.has(PATH) or scene.has(STREAM):
        start = land.add_path(stage, UNITS * 0.68, water=scene.has(STREAM))
    plants.add_trees(stage, (UNITS * 0.66, UNITS * 0.80), (44, 78), (0.35, 0.15), 24, kind, (start, 26))
    plants.add_trees(stage, (UNITS * 0.86, UNITS * 1.04), (110, 160), (0.08, 0.0), 8, kind, (start, 62))
    plants.add_grass(stage, UNITS * 0.84, 240)


def _city(stage: Stage) -> None:
    scene = stage.scene
    foot = round(UNITS * 0.74 * stage.canvas.scale) / stage.canvas.scale
    buildings.add_skyline(stage, foot)
    if scene.has(REFLECTION):
        stage.calm = 0.65
        if scene.has(BRIDGE):
            water.add_bridge(stage, foot - 3, grand=True)
        water.add_water(stage, foot, colour("24506a"))
    else:
        land.add_ground(stage, foot, colour("dfe6f2") if scene.snowy_ground else colour("4a6a3e"))
        plants.add_trees(stage, (UNITS * 0.78, UNITS), (20, 40), (0.1, 0.0), 24, "leafy")


def _near_hills(stage: Stage) -> None:
    for index in range(2):
        base = stage.horizon + 24 + index * 44
        land.add_hills(stage, base, UNITS * _between(stage, 0.08, 0.13), 0.22 - 0.14 * index, _between(stage, 1.5, 3))


def _village(stage: Stage) -> None:
    scene, horizon = stage.scene, stage.horizon
    _backdrop(stage)
    _near_hills(stage)
    start = land.add_path(stage, horizon + 18) if scene.has(PATH) else UNITS / 2
    count = int(stage.rng.integers(5, 8))
    shares = np.sort(stage.rng.uniform(0, 1, count))
    houses: list[tuple[float, float, float]] = []
    order = stage.rng.permutation(count)
    for share, slot in zip(shares.tolist(), order.tolist(), strict=True):
        x = UNITS * (0.08 + 0.84 * (slot + _between(stage, 0.2, 0.8)) / count)
        houses.append((x, horizon + 18 + share * 58, share))
    for share in np.sort(stage.rng.uniform(0, 1, 14)).tolist():  # trees stand beside the houses, never in front
        x, y = _between(stage, 4, 252), horizon + 16 + share * 66
        if abs(x - start) < 10 + 26 * share or any(abs(x - hx) < 26 and y > hy - 2 for hx, hy, _ in houses):
            continue
        plants.add_tree(stage, x, y, (24 + 26 * share) * _between(stage, 0.8, 1.2), 0.2 - 0.16 * share, scene.trees)
    for x, y, share in houses:
        buildings.add_house(stage, x, y, UNITS * (0.125 + 0.10 * share), 0.18 * (1 - share))
    for x in (8.0, 247.0):
        plants.add_tree(
            stage,
            x + _between(stage, -6, 6),
            UNITS * _between(stage, 0.93, 0.98),
            _between(stage, 44, 60),
            0.02,
            scene.trees,
        )
    plants.add_grass(stage, UNITS * 0.87, 220)


def _river(stage: Stage) -> None:
    scene, horizon = stage.scene, stage.horizon
    _backdrop(stage)
    _near_hills(stage)
    bridge = scene.has(BRIDGE)
    start = land.add_path(stage, horizon + 16, water=True, foot=UNITS * 0.5 if bridge else None)
    gap = (start, 84.0) if bridge else (start, 42.0)
    plants.add_trees(stage, (horizon + 14, UNITS * 0.97), (18, 64), (0.25, 0.02), 26, scene.trees, gap)
    if bridge:
        water.add_bridge(stage, horizon + 56, grand=False)
    plants.add_grass(stage, UNITS * 0.88, 200)


def _castle(stage: Stage) -> None:
    scene, horizon = stage.scene, stage.horizon
    _backdrop(stage)
    x = UNITS * _between(stage, 0.36, 0.64)
    land.add_hills(stage, horizon + 26, UNITS * 0.12, 0.25, 1.4)
    buildings.add_castle(stage, x, horizon + 24, UNITS * _between(stage, 0.27, 0.36))
    _near_hills(stage)
    start = land.add_path(stage, horizon + 30, foot=x) if scene.has(PATH) else x
    plants.add_trees(stage, (horizon + 34, UNITS * 0.98), (20, 60), (0.2, 0.02), 24, scene.trees, (start, 52))
    plants.add_grass(stage, UNITS * 0.87, 240)


def _flowers(stage: Stage) -> None:
    scene, horizon = stage.scene, stage.horizon
    _far_hills(stage)
    land.add_hills(stage, horizon + 18, UNITS * 0.06, 0.16, 2)
    land.add_ground(stage, horizon + 14, stage.light.grass * np.float32(0.75))
    x = UNITS * _between(stage, 0.2, 0.8)
    if scene.has(LONE_TREE):
        plants.add_tree(stage, x, horizon + 26, UNITS * _between(stage, 0.26, 0.38), 0.1, "leafy")
    elif scene.has(COTTAGE):
        buildings.add_house(stage, x, horizon + 22, 46, 0.1)
    elif scene.has(WINDMILL):
        buildings.add_windmill(stage, x, horizon + 22, 34, 0.1)
    plants.add_grass(stage, horizon + 18, 260)
    plants.add_flower_field(stage, horizon + 14, scene.flowers)


def _canyon(stage: Stage) -> None:
    scene, horizon = stage.scene, stage.horizon
    for index in range(3):
        land.add_mesas(
            stage,
            horizon + 14 + index * 38,
            UNITS * _between(stage, 0.26, 0.38),
            0.42 - 0.17 * index,
            _between(stage, 1.6, 3),
        )
    land.add_ground(stage, UNITS * 0.90, colour("b8734a"), 0.08, waviness=4)
    if scene.has(RIVER):
        land.add_path(stage, UNITS * 0.82, water=True)
    if scene.has(CACTI):
        for place in (_between(stage, 0.08, 0.22), _between(stage, 0.76, 0.92)):
            plants.add_cactus(
                stage, UNITS * place, UNITS * _between(stage, 0.93, 0.98), UNITS * _between(stage, 0.17, 0.25)
            )


def _volcano(stage: Stage) -> None:
    scene, horizon = stage.scene, stage.horizon
    land.add_volcano(stage, horizon + 10, UNITS * 0.42, 0.2)
    if scene.has(LAKE):
        scale = stage.canvas.scale
        shore = round((horizon + 16) * scale) / scale
        plants.add_trees(stage, (horizon + 6, horizon + 16), (10, 18), (0.3, 0.2), 60, "pine")
        stage.calm = 0.7
        water.add_water(stage, shore, colour("2c5f7a"))
    else:
        land.add_hills(stage, UNITS * 0.9, UNITS * 0.16, 0.1, 2)
        plants.add_trees(stage, (UNITS * 0.8, UNITS * 1.02), (22, 50), (0.12, 0.0), 26, "pine")


def _space(stage: Stage) -> None:
    """Space has no land; studio.painter.space paints it whole."""


_COMPOSERS: dict[str, Callable[[Stage], None]] = {
    "mountains": _mountains,
    "hills": _hills,
    "sea": _sea,
    "lake": _lake,
    "desert": _desert,
    "forest": _forest,
    "city": _city,
    "village": _village,
    "river": _river,
    "flowers": _flowers,
    "canyon": _canyon,
    "volcano": _volcano,
    "arctic": _arctic,
    "castle": _castle,
    "coast": _coast,
    "space": _space,
}
