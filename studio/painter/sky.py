"""Sky and weather: clouds, sun, moon, stars, northern lights, rainbow, lightning, birds, fog, rain and snow."""

from __future__ import annotations

import numpy as np

from studio.painter.canvas import UNITS, Canvas, Point, colour, mix
from studio.painter.noise import Array, blurred, noise_field, noise_line
from studio.painter.scene import (
    BIRDS,
    CRESCENT_MOON,
    FULL_MOON,
    LIGHTNING,
    NORTHERN_LIGHTS,
    RAINBOW,
    STARS,
    SUN,
)
from studio.painter.stage import Detail, Stage

CLOUD_THRESHOLD = {
    "scattered clouds": 0.72, "cloudy": 0.10, "rainy": -0.25, "stormy": -0.2, "snowy": -0.2, "foggy": 0.3,
}  # fmt: skip
RAINBOW_COLOURS = ("e03030", "f08a30", "f0e050", "40b050", "3070d0", "7040b0")
WHITE = np.ones(3, np.float32)
INK_OUTLINE, INK_TONE = (
    2.0,
    colour("2c2c34"),
)  # ink has only the white of the paper for a sun: it needs a line around it
LOW_SUN = ("sunset", "dawn", "dusk")


def paint_sky(stage: Stage) -> None:
    """Cover the canvas with sky down to a little below the horizon, and with horizon colour below that."""
    canvas, light = stage.canvas, stage.light
    rows = canvas.rows(0, float(min(UNITS, stage.horizon + 36)))
    canvas.pixels[rows.stop :] = np.clip(light.horizon * 255, 0, 255)
    shape = (rows.stop, canvas.size)
    height = np.clip(canvas.y[rows] / np.float32(stage.horizon), 0, 1)
    height = np.clip(height + np.float32(0.05) * noise_field(stage.rng, shape, (2, 1.2), 3), 0, 1)
    shades = np.linspace(0, 1, 1024)
    stops = np.stack([light.top, light.middle, light.horizon])
    table = np.stack([np.interp(shades, (0, 0.55, 1), stops[:, channel]) for channel in range(3)], 1)
    table = np.clip(table * 255 + 0.5, 0, 255).astype(np.uint8)
    canvas.pixels[rows] = table[(height * np.float32(1023)).astype(np.int16)]
    if stage.scene.has(NORTHERN_LIGHTS):
        _northern_lights(stage)
    if stage.scene.weather != "clear":
        _clouds(stage, height)
    if stage.scene.has(RAINBOW):
        _rainbow(stage)
    if stage.scene.has(STARS):
        stage.details.append(stars(stage))
    if stage.scene.has(SUN):
        _sun(stage)
    if stage.scene.has(FULL_MOON) or stage.scene.has(CRESCENT_MOON):
        _moon(stage)
    if stage.scene.has(LIGHTNING):
        _lightning(stage)
    if stage.scene.has(BIRDS):
        _birds(stage)


def _clouds(stage: Stage, height: Array) -> None:
    scene, light, canvas, rng = stage.scene, stage.light, stage.canvas, stage.rng
    field = noise_field(rng, height.shape, (2.2, 1.2), 6, 0.55)
    density = np.clip((field - CLOUD_THRESHOLD[scene.weather] + 0.25 * (1 - height)) / 0.9, 0, 1)
    if scene.weather == "scattered clouds":  # never an empty sky: the densest place becomes a cloud
        density = np.clip(
            density + max(0.0, 0.9 - float(density.max())) * np.clip(field / float(field.max()), 0, 1) ** 2, 0, 1
        )
    density = density * density * (3 - 2 * density)
    shifted = np.roll(density, round(5 * canvas.scale), 0)
    relief = blurred(shifted, 4 * canvas.scale) - density
    lit = np.clip(0.62 - 0.6 * relief + 0.18 * noise_field(rng, height.shape, (6, 6), 4), 0, 1)
    high = mix(light.sunlight, WHITE, 0.35)
    low = mix(light.shadow, light.horizon, 0.4)
    if scene.time == "night":
        high, low = mix(colour("55659a"), light.horizon, 0.3), colour("141c3c")
    if scene.weather == "stormy":
        high, low = high * 0.62, low * 0.42
    if scene.weather == "rainy":
        high, low = high * 0.85, low * 0.7
    if scene.time in LOW_SUN:
        low, high = mix(low, light.middle, 0.3), mix(high, light.sun, 0.3)
    rows = slice(0, height.shape[0])
    fade = np.clip((stage.horizon * 1.02 - canvas.y[rows]) / (stage.horizon * 0.25), 0.25, 1)
    opacity = np.clip(density * np.float32(0.95) * fade, 0, 1).astype(np.float32)
    canvas.blend(mix(low, high, lit[..., None]), opacity, (rows, slice(0, canvas.size)))
    stage.clouds = opacity


def stars(stage: Stage) -> Detail:
    rng, count = stage.rng, int(stage.rng.integers(45, 85))
    space = stage.scene.terrain == "space"
    xs = rng.uniform(2, UNITS - 2, count)
    ys = rng.uniform(2, UNITS if space else stage.horizon * 0.95, count)
    bright = rng.uniform(0.3, 1, count) ** 1.5
    sizes = rng.choice([0.9, 1.3, 1.9], count, p=[0.6, 0.28, 0.12])
    visible: list[tuple[float, float, float, float]] = []
    for x, y, b, size in zip(xs.tolist(), ys.tolist(), bright.tolist(), sizes.tolist(), strict=True):
        if y > stage.skyline[int(x)] - 4:
            continue
        if np.hypot(x - stage.sun_x, y - stage.sun_y) < stage.sun_radius + 5:
            continue
        if stage.clouds is not None:
            row = min(int(y * stage.canvas.scale), stage.clouds.shape[0] - 1)
            if stage.clouds[row, int(x * stage.canvas.scale)] > 0.35:
                continue
        visible.append((x, y, b, size))

    def draw(canvas: Canvas) -> None:
        tint = colour("fffbe8")
        for x, y, b, size in visible:
            column = min(int(x * canvas.scale), canvas.size - 1)
            row = min(int(y * canvas.scale), canvas.size - 1)
            behind = canvas.pixels[row, column].astype(np.float32) / 255
            if canvas.scale < 0.3:  # a coarse grid: one cell is one star
                canvas.pixels[row, column] = mix(behind, tint, 0.45 + 0.55 * b) * 255
            else:
                canvas.disc(x, y, max(size * 0.8, 0.55 / canvas.scale), mix(behind, tint, 0.35 + 0.65 * b))

    return draw


def _northern_lights(stage: Stage) -> None:
    canvas, rng, horizon = stage.canvas, stage.rng, stage.horizon
    rows = canvas.rows(0, horizon)
    for _ in range(int(rng.integers(2, 4))):
        wave = 33 * noise_line(rng, 256, 2, 3)
        lower_edge = canvas.across((horizon * float(rng.uniform(0.42, 0.72)) + wave).astype(np.float32))[None]
        curtain = canvas.across((0.55 + 0.9 * np.abs(noise_line(rng, 256, 9, 4))).astype(np.float32))[None]
        above = lower_edge - canvas.y[rows]
        reach = np.float32(horizon * rng.uniform(0.35, 0.6))
        share = np.clip(above / reach, 0, 1)
        strength = np.where(above > 0, np.exp(-share * 3.2) * (1 - np.exp(-above.clip(0) / 3)), 0) * curtain
        tint = mix(colour("3df5a0"), colour("a05cf0"), share[..., None])
        canvas.blend(tint, np.clip(strength * 0.85, 0, 0.88).astype(np.float32), (rows, slice(0, canvas.size)))


def _rainbow(stage: Stage) -> None:
    canvas, horizon = stage.canvas, stage.horizon
    rows = canvas.rows(0, horizon)
    centre = np.float32(UNITS * stage.rng.uniform(0.35, 0.65))
    distance = np.hypot(canvas.x - centre, canvas.y[rows] - np.float32(horizon * 1.08)) - np.float32(UNITS * 0.46)
    fade = np.clip((np.float32(horizon) - canvas.y[rows]) / 40, 0.15, 1)
    for index, code in enumerate(RAINBOW_COLOURS):
        band = np.clip(1.6 - np.abs(distance + np.float32(index * 3.2)) / 2, 0, 1)
        canvas.blend(colour(code), np.float32(0.55) * band * fade, (rows, slice(0, canvas.size)))


def _sun(stage: Stage) -> None:
    canvas, light = stage.canvas, stage.light
    x, y, radius = stage.sun_x, stage.sun_y, stage.sun_radius
    rows = canvas.rows(0, min(UNITS, stage.horizon + 36))
    distance = np.hypot(canvas.x - np.float32(x), canvas.y[rows] - np.float32(y))
    halo = np.clip(0.58 * np.exp(-distance / 34) + 0.3 * np.exp(-distance / 110), 0, 0.9)
    canvas.blend(light.sun, halo, (rows, slice(0, canvas.size)))
    tint = colour("fffdf0") if stage.scene.time not in LOW_SUN else colour("fffae0")
    outlined = stage.scene.style == "ink"

    def draw(later: Canvas) -> None:
        if outlined:
            later.disc(x, y, radius + INK_OUTLINE, INK_TONE)
        later.disc(x, y, radius, tint)

    draw(canvas)
    stage.details.append(draw)
    stage.attend(x, y, radius + 4, radius + 4)


def _moon(stage: Stage) -> None:
    x, y, radius = stage.sun_x, stage.sun_y, stage.sun_radius
    crescent = stage.scene.has(CRESCENT_MOON)
    outlined = stage.scene.style == "ink" and stage.scene.time != "night"
    side = 1 if stage.rng.random() < 0.5 else -1
    spots = [
        (float(a), float(d), float(s)) for a, d, s in stage.rng.uniform((0, 0.15, 0.12), (6.28, 0.6, 0.3), (4, 3))
    ]
    stage.canvas.glow(x, y, radius * 1.6, colour("dfe6ff"), 0.6)

    def draw(canvas: Canvas) -> None:
        where = canvas.box(x, y, radius + 3, radius + 3)
        if outlined and not crescent:
            canvas.disc(x, y, radius + INK_OUTLINE, INK_TONE)
        disc = canvas.discs_mask([(x, y, radius)], where)
        if crescent:
            disc = disc * (1 - canvas.discs_mask([(x + side * radius * 0.5, y - radius * 0.2, radius * 0.95)], where))
        canvas.blend(colour("f9f5e2"), disc, where)
        if not crescent and canvas.scale > 0.3:
            seas = [(x + np.cos(a) * d * radius, y + np.sin(a) * d * radius, s * radius) for a, d, s in spots]
            canvas.blend(colour("cfcbb8"), canvas.discs_mask(seas, where) * disc * np.float32(0.55), where)

    draw(stage.canvas)
    stage.details.append(draw)
    stage.attend(x, y, radius + 4, radius + 4)


def _lightning(stage: Stage) -> None:
    rng, canvas = stage.rng, stage.canvas
    xs = rng.uniform(0.15, 0.85, 16) * UNITS  # strike where the sky is deepest
    x = float(xs[int(np.argmax([stage.skyline[int(v)] for v in xs]))])
    bolts: list[tuple[list[Point], float]] = []
    trunk: list[Point] = [(x, 0.0)]
    y, floor = 0.0, min(float(stage.skyline[int(x)]) + 6, stage.horizon)
    while y < floor:
        x, y = x + float(rng.normal(0, 7)), y + float(rng.uniform(5, 12))
        trunk.append((x, y))
        if rng.random() < 0.18:
            lean = 6 * float(np.sign(rng.normal()))
            branch = [(x, y)]
            for _ in range(4):
                branch.append((branch[-1][0] + float(rng.normal(lean, 3)), branch[-1][1] + float(rng.uniform(4, 9))))
            bolts.append((branch, 1.2))
    bolts.append((trunk, 2.4))
    rows = canvas.rows(0, min(UNITS, y + 16))
    where = (rows, slice(0, canvas.size))
    mask = canvas.lines_mask(bolts, where)
    canvas.blend(colour("cfd4ff"), np.clip(2.2 * blurred(mask, 7 * canvas.scale), 0, 0.8), where)

    def draw(later: Canvas) -> None:
        for points, width in bolts:
            later.line(points, colour("f6f6ff"), width)

    draw(canvas)
    stage.details.append(draw)


def _birds(stage: Stage) -> None:
    rng = stage.rng
    best, place = -1e9, (UNITS / 2, stage.horizon * 0.3)
    for _ in range(16):
        x = float(rng.uniform(0.2, 0.8) * UNITS)
        y = min(
            stage.horizon * float(rng.uniform(0.2, 0.6)), float(stage.skyline[int(x - 30) : int(x + 31)].min()) - 20
        )
        away = (
            min(40.0, float(np.hypot(x - stage.sun_x, y - stage.sun_y)) - stage.sun_radius)
            if stage.sun_radius
            else 40.0
        )
        if min(y, 45.0) + away > best:
            best, place = min(y, 45.0) + away, (x, y)
    tint = mix(colour("1c1c26"), stage.light.top, 0.12)
    flock: list[list[Point]] = []
    for _ in range(int(rng.integers(4, 9))):
        x, y = place[0] + float(rng.normal(0, 27)), max(8.0, place[1] + float(rng.normal(0, 11)))
        span = float(rng.uniform(6.0, 9.5))
        y = min(y, float(stage.skyline[int(np.clip(x, 0, 255))]) - 6)
        flock.append(
            [
                (x - span, y - span * 0.4),
                (x - span * 0.45, y - span * 0.6),
                (x, y),
                (x + span * 0.45, y - span * 0.6),
                (x + span, y - span * 0.4),
            ]
        )

    def draw(canvas: Canvas) -> None:
        for wings in flock:
            canvas.line(wings, tint, 2.0)

    stage.details.append(draw)


def paint_weather(stage: Stage) -> None:
    """What lies between the eye and the land: fog now; rain and snow after the style."""
    canvas, light, rng = stage.canvas, stage.light, stage.rng
    everywhere = (slice(0, canvas.size), slice(0, canvas.size))
    shape = (canvas.size, canvas.size)
    match stage.scene.weather:
        case "foggy":
            thick = 0.45 if stage.scene.terrain in ("city", "village", "castle") or stage.scene.dark else 0.55
            bank = np.exp(-(((canvas.y - np.float32(stage.horizon * 1.02)) / np.float32(UNITS * 0.17)) ** 2))
            bank = bank * np.clip(0.85 + 0.3 * noise_field(rng, shape, (2, 0.8), 4), 0, 1.1)
            opacity = np.clip(bank * np.float32(thick) + np.float32(0.08), 0, 0.9)
            canvas.blend(mix(light.horizon, light.sunlight, 0.35), opacity, everywhere)
        case "rainy":
            canvas.blend(light.horizon, np.full(shape, 0.12, np.float32), everywhere)
            stage.details.append(_rain(rng))
        case "snowy":
            canvas.blend(light.horizon, np.full(shape, 0.10, np.float32), everywhere)
            stage.details.append(_snowfall(rng))
    if stage.scene.has(SUN) and stage.scene.time in LOW_SUN:
        distance = np.hypot(canvas.x - np.float32(stage.sun_x), (canvas.y - np.float32(stage.sun_y)) * np.float32(1.3))
        canvas.blend(light.sun, np.clip(0.42 * np.exp(-distance / 60), 0, 0.5), everywhere)


def _rain(rng: np.random.Generator) -> Detail:
    drops = rng.uniform((0, -10, 9), (UNITS + 6, UNITS, 20), (120, 3))

    def draw(canvas: Canvas) -> None:
        where = (slice(0, canvas.size), slice(0, canvas.size))
        streaks = [([(x, y), (x - length * 0.22, y + length)], 1.0) for x, y, length in drops.tolist()]
        shown = streaks if canvas.scale > 0.7 else streaks[::2] if canvas.scale > 0.3 else streaks[::5]
        canvas.blend(colour("e6eef6"), canvas.lines_mask(shown) * np.float32(0.42), where)

    return draw


def _snowfall(rng: np.random.Generator) -> Detail:
    flakes = rng.uniform((0, 0), (UNITS, UNITS), (110, 2))
    radii = rng.choice([0.8, 1.1, 1.5, 2.0], 110, p=[0.35, 0.35, 0.22, 0.08])

    def draw(canvas: Canvas) -> None:
        where = (slice(0, canvas.size), slice(0, canvas.size))
        discs = [(x, y, r) for (x, y), r in zip(flakes.tolist(), radii.tolist(), strict=True)]
        shown = discs if canvas.scale > 0.3 else discs[::2]  # a coarse grid has bigger flakes
        canvas.blend(WHITE, canvas.discs_mask(shown, where) * np.float32(0.8), where)

    return draw
