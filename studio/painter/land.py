"""Land seen from the side: mountains, hills, dunes, mesas, a volcano; and flat ground, paths, rivers and cliffs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from studio.painter.canvas import UNITS, Canvas, Point, colour, mix
from studio.painter.noise import Array, blurred, noise_field, noise_line, rescaled
from studio.painter.scene import LAVA
from studio.painter.stage import Stage

SAMPLES = int(UNITS)
SNOW_SHADE, SNOW = colour("b9c6e2"), colour("ffffff")
Shade = Callable[[Stage, Array, Array, tuple[slice, slice]], Array]


def _add_layer(stage: Stage, profile: Array, base: float, distance: float, shade: Shade, haze: float = 0.0) -> None:
    """Reserve the skyline and paint all below `profile` with `shade(stage, depth, slope, box)`, seen through air."""
    stage.covers_below(profile)

    def paint() -> None:
        canvas = stage.canvas
        where = (canvas.rows(float(profile.min()) - 1, base + 72), slice(0, canvas.size))
        heights = canvas.across(profile)
        depth = canvas.y[where[0]] - heights[None]  # units below the profile
        slope = blurred(np.gradient(profile).astype(np.float32), 1.2)
        colours = stage.light.air(shade(stage, depth, slope, where), distance)
        if haze:
            colours = mix(
                colours,
                stage.light.horizon,
                (np.clip(depth / haze, 0, 1) * np.float32(min(0.3, distance * 0.66)))[..., None],
            )
        canvas.blend(colours, np.clip(depth * np.float32(canvas.scale) + 0.5, 0, 1), where)

    stage.later(paint)


def _moved_columns(stage: Stage, shift: Array) -> Array:
    """Index into 256 profile samples for every pixel, moved sideways by `shift` units (h, W)."""
    columns: Array = np.clip(stage.canvas.x + shift, 0, SAMPLES - 1).astype(np.int32)
    return columns


def _cells(shape: tuple[int, int], size: int, down: float, across: float) -> tuple[float, float]:
    """Noise cells for part of a picture so that they are as big as `down`, `across` cells over the whole."""
    return down * shape[0] / size, across * shape[1] / size


def add_mountains(stage: Stage, base: float, height: float, distance: float, cells: float) -> Array:
    """A ridge of rock; with trees' green at its foot outside winter, with snow on top where the scene says so."""
    scene = stage.scene
    profile = base - height * rescaled(noise_line(stage.rng, SAMPLES, cells, 7, 0.52, sharp=True)) ** np.float32(1.15)
    white = scene.season == "winter" or (scene.snow_caps and scene.terrain == "mountains")

    def shade(stage: Stage, depth: Array, slope: Array, where: tuple[slice, slice]) -> Array:
        shape, size = depth.shape, stage.canvas.size
        texture = noise_field(stage.rng, shape, _cells(shape, size, 5, 5), 5)
        lean = np.clip(noise_field(stage.rng, shape, (1, 2), 2) * np.float32(0.6), -1, 1)
        columns = _moved_columns(stage, depth * lean * np.float32(0.34) + 3 * texture)
        rough = noise_field(stage.rng, shape, _cells(shape, size, 12, 12), 4)
        lit = np.clip(0.5 - stage.lit_from * 0.66 * slope[columns] + 0.16 * rough, 0, 1)[..., None]
        colours = mix(colour("453f52"), colour("8b7d76"), lit)
        if not white or scene.season != "winter":
            green = np.clip((depth - height * 0.42 + 10 * texture) / 12, 0, 1)[..., None] * np.float32(0.9)
            colours = mix(colours, mix(colour("24402c"), stage.light.grass, lit * np.float32(0.7)), green)
        if white:
            reach = 0.95 if scene.season == "winter" else 0.46
            altitude = (base - stage.canvas.y[where[0]]) / np.float32(height)
            cover = np.clip((altitude - (1 - reach) + 0.12 * texture + 0.1 * (lit[..., 0] - 0.5)) / 0.07, 0, 1)
            cover *= np.clip(lit[..., 0] * 1.7 + 0.25, 0, 1)
            colours = mix(colours, mix(SNOW_SHADE, SNOW, lit), cover[..., None])
        return colours

    _add_layer(stage, profile, base, distance, shade, haze=height * 0.9)
    return profile


def add_mesas(stage: Stage, base: float, height: float, distance: float, cells: float) -> Array:
    """Table mountains of layered red rock."""
    rng = stage.rng
    rise = rescaled(noise_line(rng, SAMPLES, cells * 1.2, 3))
    steps = blurred(np.where(rise > 0.62, 1, np.where(rise > 0.45, 0.42, 0)).astype(np.float32), 1.6)
    profile = (base - height * (steps * 0.85 + 0.08 * rise) + 1.2 * noise_line(rng, SAMPLES, 30, 3)).astype(np.float32)

    def shade(stage: Stage, depth: Array, slope: Array, where: tuple[slice, slice]) -> Array:
        shape, size = depth.shape, stage.canvas.size
        texture = noise_field(stage.rng, shape, _cells(shape, size, 5, 5), 5)
        columns = _moved_columns(stage, 3 * texture)
        rough = noise_field(stage.rng, shape, _cells(shape, size, 12, 12), 4)
        lit = np.clip(0.5 - stage.lit_from * 0.66 * slope[columns] + 0.16 * rough, 0, 1)
        bands = np.float32(0.88) + np.float32(0.16) * np.sin(depth * np.float32(0.55) + 2 * texture)
        return mix(colour("8a4030"), colour("d98a55"), lit[..., None]) * bands[..., None]

    _add_layer(stage, profile, base, distance, shade, haze=height * 0.9)
    return profile


def add_hills(stage: Stage, base: float, height: float, distance: float, cells: float) -> Array:
    """A soft hill of grass, or of snow in winter."""
    profile = base - height * rescaled(noise_line(stage.rng, SAMPLES, cells, 3, 0.35))

    def shade(stage: Stage, depth: Array, slope: Array, where: tuple[slice, slice]) -> Array:
        shape, size = depth.shape, stage.canvas.size
        texture = noise_field(stage.rng, shape, _cells(shape, size, 4, 1.4), 4)
        fine = noise_field(stage.rng, shape, _cells(shape, size, 22, 11), 3)
        lit = np.clip(0.62 - depth / (height * 2.6 + 30) + 0.16 * texture + 0.07 * fine, 0, 1)[..., None]
        if stage.scene.season == "winter":
            return mix(colour("a9b9d8"), colour("fafcff"), lit)
        return mix(stage.light.grass * np.float32(0.55), stage.light.grass, lit)

    _add_layer(stage, profile, base, distance, shade)
    return profile


def add_dunes(stage: Stage, base: float, height: float, distance: float, cells: float) -> Array:
    """A dune with a bright and a shaded side and wind ripples."""
    profile = base - height * rescaled(noise_line(stage.rng, SAMPLES, cells, 2))

    def shade(stage: Stage, depth: Array, slope: Array, where: tuple[slice, slice]) -> Array:
        shape, size = depth.shape, stage.canvas.size
        texture = noise_field(stage.rng, shape, _cells(shape, size, 4, 1.4), 4)
        columns = _moved_columns(stage, depth * np.float32(0.55 * stage.lit_from) + 3 * texture)
        lit = 0.5 - stage.lit_from * 1.1 * blurred(slope, 2)[columns]
        ripples = np.sin(depth * np.float32(0.8) + stage.canvas.x * np.float32(0.12) + 3 * texture)
        return mix(colour("a8653c"), colour("f2c98a"), np.clip(lit + 0.06 * ripples, 0, 1)[..., None])

    _add_layer(stage, profile, base, distance, shade)
    return profile


def add_volcano(stage: Stage, base: float, height: float, distance: float) -> Array:
    """A cone with a crater, smoke, and lava where the scene says so."""
    rng, scene = stage.rng, stage.scene
    centre = float(UNITS * rng.uniform(0.36, 0.64))
    away = np.abs(np.arange(SAMPLES, dtype=np.float32) - np.float32(centre))
    cone = np.clip(np.exp(-away / 62) * 1.25 - 0.12, 0, 0.86)
    profile: Array = (base - height * cone + 2 * noise_line(rng, SAMPLES, 14, 4)).astype(np.float32)
    crater = float(np.median(profile[int(centre) - 6 : int(centre) + 7]))

    def shade(stage: Stage, depth: Array, slope: Array, where: tuple[slice, slice]) -> Array:
        shape, size = depth.shape, stage.canvas.size
        texture = noise_field(stage.rng, shape, _cells(shape, size, 5, 5), 5)
        columns = _moved_columns(stage, 3 * texture)
        rough = noise_field(stage.rng, shape, _cells(shape, size, 12, 12), 4)
        lit = np.clip(0.5 - stage.lit_from * 0.5 * slope[columns] + 0.16 * rough, 0, 1)[..., None]
        colours = mix(colour("352c38"), colour("7a6a68"), lit)
        if scene.season == "winter" and not scene.has(LAVA):
            cover = np.clip((40 - depth + 8 * texture) / 10, 0, 1)[..., None]
            colours = mix(colours, mix(SNOW_SHADE, SNOW, lit), cover * np.clip(lit * 1.5 + 0.1, 0, 1))
        return colours

    _add_layer(stage, profile, base, distance, shade, haze=height * 0.9)
    stage.covers(centre - 34, centre + 34, crater - 70)
    lean = float(rng.uniform(-0.4, 0.4))

    def smoke_and_lava() -> None:
        canvas = stage.canvas
        where = (canvas.rows(0, crater + 10), slice(0, canvas.size))
        above = np.float32(crater) - canvas.y[where[0]]
        billows = noise_field(stage.rng, (where[0].stop, canvas.size), (5, 5), 5)
        plume = (
            billows * 0.5
            + 0.9
            - np.abs(canvas.x - np.float32(centre) - above * np.float32(lean)) / (10 + 0.42 * above.clip(0))
        )
        plume = np.clip(plume, 0, 1) * np.clip((above + 6) / 10, 0, 1) * np.clip(1 - above / 105, 0, 1)
        tone = mix(colour("5a5058") * stage.light.ambient, stage.light.horizon, 0.3)
        canvas.blend(tone + np.float32(0.05) * billows[..., None], plume * np.float32(0.88), where)
        if scene.has(LAVA):
            _lava(stage, centre, crater, base)

    stage.later(smoke_and_lava)
    return profile


def _lava(stage: Stage, centre: float, crater: float, base: float) -> None:
    """Three glowing streams from the crater."""
    canvas, rng = stage.canvas, stage.rng
    streams: list[tuple[list[Point], float]] = []
    for index in range(3):
        x, y = centre + (index - 1) * 4 + float(rng.normal(0, 1.5)), crater + 1
        heading = float(rng.normal((index - 1) * 0.8, 0.3))
        stream = [(x, y)]
        while y < base - 16 and len(stream) < 30:
            x, y = x + heading + float(rng.normal(0, 1.2)), y + float(rng.uniform(1.5, 4))
            stream.append((x, y))
        streams.append((stream, 4.0 - 0.8 * abs(index - 1)))
    where = canvas.rows(crater - 16, base), canvas.columns(centre - 70, centre + 70)
    mask = canvas.lines_mask(streams, where)
    canvas.glow(centre, crater, 18, colour("ff8030"), 0.8)
    canvas.blend(colour("ff6a1a"), np.clip(mask + blurred(mask, 4 * canvas.scale), 0, 1), where)
    canvas.blend(colour("ffd860"), blurred(mask, 0.6) * np.float32(0.75), where)
    stage.attend(centre, crater + 25, 26, 40)


def add_ground(stage: Stage, top: float, tone: Array, roughness: float = 0.1, waviness: float = 0.0) -> None:
    """Flat ground from `top` down to the lower edge."""
    profile = (top + waviness * noise_line(stage.rng, SAMPLES, 4, 4)).astype(np.float32)
    stage.covers_below(profile)

    def paint() -> None:
        canvas = stage.canvas
        where = (canvas.rows(float(profile.min())), slice(0, canvas.size))
        depth = canvas.y[where[0]] - canvas.across(profile)[None]
        grain = noise_field(stage.rng, depth.shape, _cells(depth.shape, canvas.size, 30, 24), 2)
        colours = stage.light.air(tone, 0.05) * (1 + np.float32(roughness) * grain)[..., None]
        canvas.blend(colours, np.clip(depth * np.float32(canvas.scale) + 0.5, 0, 1), where)

    stage.later(paint)


def add_path(stage: Stage, top: float, water: bool = False, foot: float | None = None) -> float:
    """A winding path, or a stream when `water`, from `top` down; returns where it starts, for trees to keep away."""
    rng = stage.rng
    start = float(UNITS * rng.uniform(0.35, 0.65)) if foot is None else foot
    turns, phase, drift = float(rng.uniform(3, 6)), float(rng.uniform(0, 6)), float(rng.uniform(-36, 36))

    def paint() -> None:
        canvas, light = stage.canvas, stage.light
        where = (canvas.rows(top), slice(0, canvas.size))
        along = ((canvas.y[where[0]] - np.float32(top)) / np.float32(UNITS - top)).clip(0, 1)
        centre = start + np.sin(along * turns + phase) * 26 * along * (1.2 - along * 0.4) + drift * along**2
        shape = (where[0].stop - where[0].start, canvas.size)
        width = 1.6 + (30 if water else 20) * along**1.5 + 1.2 * noise_field(stage.rng, shape, (4, 10), 3) * along
        opacity = np.clip((width - np.abs(canvas.x - centre)) * canvas.scale + 0.5, 0, 1).astype(np.float32)
        if water:
            gleam = np.float32(0.35) + np.float32(0.25) * np.clip(noise_field(stage.rng, shape, (10, 4), 3), -1, 1)
            canvas.blend(mix(light.air(colour("3f7fa8"), 0.1), light.horizon, gleam[..., None]), opacity, where)
        else:
            tone = colour("b9c2d6") if stage.scene.snowy_ground else colour("cfae7c")
            grain = np.float32(0.95) + np.float32(0.06) * noise_field(stage.rng, shape, (14, 30), 2)
            canvas.blend(light.air(tone, 0.08) * grain[..., None], opacity * np.float32(0.94), where)

    stage.later(paint)
    return start


def add_cliff(stage: Stage, shore: float) -> tuple[float, float, int]:
    """A rocky headland beside the sea; returns the place (x, y) for a building, and its side (-1 left, 1 right)."""
    rng = stage.rng
    side = 1 if rng.random() < 0.5 else -1
    edge = UNITS / 2 + side * UNITS * float(rng.uniform(0.02, 0.15))
    xs = np.arange(SAMPLES, dtype=np.float32) + np.float32(0.5)
    inland = np.clip(side * (xs - edge) / (UNITS * 0.35), 0, 1)
    rise = float(rng.uniform(0.18, 0.28)) * UNITS
    bumps = noise_line(rng, SAMPLES, 5, 6)
    profile = np.where(inland > 0, shore + 2 - inland**0.6 * rise - 6 * bumps * inland, 1e4).astype(np.float32)
    stage.covers_below(profile)
    place = float(np.clip(edge + side * UNITS * 0.26, 26, UNITS - 26))

    def paint() -> None:
        canvas = stage.canvas
        where = (canvas.rows(float(profile.min()) - 1, shore + 3), slice(0, canvas.size))
        depth = canvas.y[where[0]] - canvas.across(np.minimum(profile, 400))[None]
        texture = noise_field(stage.rng, depth.shape, (5, 12), 5)
        lit = np.clip(0.55 + 0.3 * texture + 0.2 * side * stage.lit_from * -1, 0, 1)[..., None]
        colours = mix(colour("5a4a44"), colour("c0aa90"), lit)
        turf = np.clip((8 + 5 * texture - depth) / 3, 0, 1)[..., None]
        colours = mix(colours, stage.light.grass, turf)
        canvas.blend(stage.light.air(colours, 0.12), np.clip(depth * np.float32(canvas.scale) + 0.5, 0, 1), where)

    stage.later(paint)
    return place, float(profile[int(place)]) + 3, side


def draw_planet_horizon(canvas: Canvas, rng: np.random.Generator, tone: Array) -> None:
    """The dark rocky ground of a moon, from which a planet is seen."""
    profile = (UNITS * 0.89 - 24 * noise_line(rng, SAMPLES, 4, 6, 0.5, sharp=True)).astype(np.float32)
    where = (canvas.rows(float(profile.min()) - 1), slice(0, canvas.size))
    depth = canvas.y[where[0]] - canvas.across(profile)[None]
    grain = 1 + 0.25 * noise_field(rng, depth.shape, (3, 12), 4)
    canvas.blend(
        tone * grain[..., None].astype(np.float32), np.clip(depth * np.float32(canvas.scale) + 0.5, 0, 1), where
    )
