"""From a seed to a picture with a caption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from studio.errors import InvalidRequest
from studio.painter import captions
from studio.painter.canvas import Canvas
from studio.painter.noise import Array, blurred
from studio.painter.scene import SEASONS, STYLES, TERRAINS, TIMES, WEATHERS, Scene, decide
from studio.painter.sky import paint_sky, paint_weather
from studio.painter.space import paint_space
from studio.painter.stage import Stage
from studio.painter.styles import Motif, painted_in
from studio.painter.terrains import compose, horizon_of

CHOICES: Mapping[str, Sequence[str]] = {
    "terrain": TERRAINS,
    "time": TIMES,
    "season": SEASONS,
    "weather": WEATHERS,
    "style": STYLES,
}


@dataclass(frozen=True, eq=False)
class Painting:
    """A picture, uint8 RGB (size, size, 3), the true sentence about it, and what it shows."""

    pixels: npt.NDArray[np.uint8]
    caption: str
    scene: Scene


def paint(
    seed: int,
    size: int = 256,
    *,
    terrain: str | None = None,
    time: str | None = None,
    season: str | None = None,
    weather: str | None = None,
    style: str | None = None,
) -> Painting:
    """Paint the landscape of a seed; the same seed, size and choices give the same bytes.

    `size` is the side in pixels, 64 or more. Fields that are not chosen are drawn from the seed; a choice that
    contradicts the terrain (snow in the desert) gives way. Raises InvalidRequest for a name that does not exist.
    """
    chosen = {"terrain": terrain, "time": time, "season": season, "weather": weather, "style": style}
    for field, name in chosen.items():
        if name is not None and name not in CHOICES[field]:
            raise InvalidRequest(f"There is no {field} '{name}'. Known: {', '.join(CHOICES[field])}.", field=field)
    if size < 64:
        raise InvalidRequest(f"The side of a picture is 64 pixels or more, not {size}.", field="size")
    scene_seed, paint_seed, style_seed = np.random.SeedSequence(seed).spawn(3)
    scene = decide(np.random.default_rng(scene_seed), chosen)
    stage = painted_stage(scene, size, np.random.default_rng(paint_seed))
    cv2.setRNGSeed(int(seed) % 2**31)  # k-means draws from OpenCV's own generator

    def draw_details(canvas: Canvas) -> None:
        for detail in stage.details:
            detail(canvas)

    motif = Motif(stage.canvas.pixels, _focus_map(stage), np.random.default_rng(style_seed), draw_details)
    return Painting(painted_in(scene.style, motif), captions.caption(scene), scene)


def painted_stage(scene: Scene, size: int, rng: np.random.Generator) -> Stage:
    """The scene painted plainly, before any style; its details are still to be drawn."""
    stage = Stage(Canvas(size), scene, rng, horizon_of(scene.terrain, rng))
    if scene.terrain == "space":
        paint_space(stage)
        return stage
    compose(stage)
    stage.place_sun_or_moon()
    paint_sky(stage)
    stage.paint_steps()
    paint_weather(stage)
    return stage


def _focus_map(stage: Stage) -> Array:
    """Where a style works finely, float (size, size): 1 on small important things, fading outwards."""
    canvas = stage.canvas
    focus = np.zeros((canvas.size, canvas.size), np.float32)
    for x, y, reach_x, reach_y in stage.focus:
        focus[canvas.box(x, y, reach_x, reach_y)] = 1
    return blurred(focus, 4 * canvas.scale) if stage.focus else focus
