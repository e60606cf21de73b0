"""The shared state of one painting: light, horizon, skyline, and the steps still to be painted.

Land is composed first and painted later: every part tells the skyline how high it reaches, then sun, moon and stars
find a place where nothing hides them, then sky and land are painted from far to near. Small bright or dark things are
kept for after the style, which would erase them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from studio.painter.canvas import UNITS, Canvas, colour, mix
from studio.painter.noise import Array, noise_field
from studio.painter.scene import CRESCENT_MOON, FULL_MOON, SUN, Scene

SKY_COLOURS = {  # top, middle, horizon, sunlight, shadow, sun
    "dawn": ("5a6fa8", "d9a3b5", "ffd9a8", "ffd8c0", "7f7ba6", "fff0cf"),
    "morning": ("4f97d6", "9cc9ea", "e8eed8", "fff3dd", "86a0c4", "fff6c8"),
    "midday": ("2f7fd0", "74b4ea", "cfe6f4", "ffffff", "8fa9cc", "fffbe0"),
    "sunset": ("3b4a86", "d9708a", "ffb35c", "ffb27a", "6a5a86", "ffe9a8"),
    "dusk": ("242a5c", "6b5596", "d98a86", "a78fc0", "4a4a80", "ffd0b0"),
    "night": ("0c1440", "26407f", "6a84bc", "7f96d8", "222c58", "f4f3e4"),
}
AMBIENT = {
    "dawn": (0.95, 0.82, 0.84),
    "morning": (1.0, 0.98, 0.93),
    "midday": (1.0, 1.0, 1.0),
    "sunset": (0.92, 0.70, 0.60),
    "dusk": (0.62, 0.54, 0.70),
    "night": (0.48, 0.57, 0.82),
}
AMBIENT_BY_WEATHER = {"stormy": 0.68, "rainy": 0.80, "cloudy": 0.90, "snowy": 0.90, "foggy": 0.95}
Detail = Callable[[Canvas], None]
GREYNESS = {"cloudy": 0.35, "rainy": 0.60, "stormy": 0.75, "snowy": 0.60, "foggy": 0.55}
GRASS = {"spring": "86c04e", "summer": "6fa23c", "autumn": "b99a3f", "winter": "eef2fb"}


@dataclass(frozen=True, eq=False)
class Light:
    """The colours of one hour and weather, float RGB (3,)."""

    top: Array
    middle: Array
    horizon: Array
    sunlight: Array
    shadow: Array
    sun: Array
    ambient: Array
    grass: Array

    @cached_property
    def haze(self) -> Array:
        """What everything fades to in the distance."""
        return mix(self.horizon, self.top, 0.18) * np.float32(0.96)

    def air(self, tone: Array, distance: float) -> Array:
        """A colour as seen at a distance: 0 near, 1 lost in the haze of the horizon."""
        near: Array = tone * self.ambient
        return mix(near, self.haze, distance) if distance else near


def light_of(scene: Scene, rng: np.random.Generator) -> Light:
    """The light of a scene, a little different every time."""

    def varied(tone: Array) -> Array:
        return np.clip(tone + rng.normal(0, 0.025, 3).astype(np.float32), 0, 1)

    top, middle, horizon, sunlight, shadow, sun = (varied(colour(code)) for code in SKY_COLOURS[scene.time])
    if scene.weather in GREYNESS:
        darkness = {"stormy": 0.55, "rainy": 0.75}.get(scene.weather, 0.95)

        def greyed(tone: Array) -> Array:
            grey = np.full(3, tone.mean() * darkness, np.float32) + np.array([-0.01, 0, 0.02], np.float32)
            return mix(tone, grey, GREYNESS[scene.weather])

        top, middle, horizon = greyed(top), greyed(middle), greyed(horizon)
        sunlight = greyed(sunlight) * np.float32(0.75 if scene.weather == "stormy" else 0.9)
    dimming = AMBIENT_BY_WEATHER.get(scene.weather, 1.0)
    if scene.time == "night":  # bad weather must not make a night black
        dimming = 1.25 if scene.snowy_ground and scene.weather == "snowy" else max(dimming, 1.0)
    ambient = np.array(AMBIENT[scene.time], np.float32) * np.float32(dimming)
    grass = np.clip(colour(GRASS[scene.season]) * (1 + 0.07 * rng.normal(0, 1, 3).astype(np.float32)), 0, 1)
    return Light(top, middle, horizon, sunlight, shadow, sun, ambient, grass)


class Stage:
    """One painting in the making. Heights and places are in units; steps run in the order in which they were added."""

    def __init__(self, canvas: Canvas, scene: Scene, rng: np.random.Generator, horizon: float) -> None:
        self.canvas = canvas
        self.scene = scene
        self.rng = rng
        self.horizon = horizon
        self.light = light_of(scene, rng)
        self.skyline: Array = np.full(
            int(UNITS), horizon, np.float32
        )  # y of the first land below the sky, per unit of width
        self.clouds: Array | None = None  # opacity of clouds (h, W), from the top row down
        self.calm = 0.75  # how clearly water mirrors: 1 a mirror, 0 none
        self.sun_x = float(rng.uniform(0.15, 0.85) * UNITS)
        self.sun_y = horizon * 0.3
        self.sun_radius = 0.0
        self.leaf_texture = noise_field(rng, (canvas.size, canvas.size), (34, 34), 3)
        self.focus: list[
            tuple[float, float, float, float]
        ] = []  # boxes (x, y, reach x, reach y) that a style paints finely
        self.details: list[Detail] = []  # painted after the style
        self._steps: list[Callable[[], None]] = []

    @property
    def lit_from(self) -> int:
        """1 when the light comes from the left, -1 from the right."""
        return 1 if self.sun_x < UNITS / 2 else -1

    def later(self, step: Callable[[], None]) -> None:
        """Add a step of painting."""
        self._steps.append(step)

    def paint_steps(self) -> None:
        """Run all steps."""
        for step in self._steps:
            step()

    def covers(self, left: float, right: float, top: float) -> None:
        """Something from `left` to `right` hides the sky below `top`."""
        first, last = max(0, int(left)), min(len(self.skyline), int(right) + 1)
        if last > first:
            np.minimum(self.skyline[first:last], np.float32(top), out=self.skyline[first:last])

    def covers_below(self, profile: Array) -> None:
        """Land hides the sky below a profile of 256 heights."""
        np.minimum(self.skyline, profile, out=self.skyline)

    def attend(self, x: float, y: float, reach_x: float, reach_y: float) -> None:
        """Ask the style to keep a small important thing crisp."""
        self.focus.append((x, y, reach_x, reach_y))

    def place_sun_or_moon(self) -> None:
        """Put the sun or the moon where no land hides it, low at sunrise and sunset."""
        scene, rng = self.scene, self.rng
        moon = scene.has(FULL_MOON) or scene.has(CRESCENT_MOON)
        if not (moon or scene.has(SUN)):
            return
        radius = float(rng.uniform(11, 17) if moon else rng.uniform(9, 15))
        low = scene.time in ("sunset", "dawn", "dusk") and not moon
        best_height, best = -1e9, (self.sun_x, self.sun_y)
        for _ in range(24):
            x = float(rng.uniform(0.13, 0.87) * UNITS)
            wanted = self.horizon * float(rng.uniform(0.72, 0.93) if low else rng.uniform(0.16, 0.45))
            first, last = int(x - radius - 5), int(x + radius + 6)
            floor = float(self.skyline[max(0, first) : last].min()) - radius * 1.15 - 2
            y = min(wanted, floor)
            if y == wanted:
                best = (x, y)
                break
            if floor > best_height:
                best_height, best = floor, (x, y)
        self.sun_x, self.sun_y = best[0], max(best[1], radius + 4)
        self.sun_radius = radius
