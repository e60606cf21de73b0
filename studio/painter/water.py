"""Water that mirrors what stands above it, beaches, boats, icebergs, bridges and waterfalls."""

from __future__ import annotations

import cv2
import numpy as np

from studio.painter.canvas import UNITS, Point, colour, mix, rectangle
from studio.painter.land import SAMPLES
from studio.painter.noise import Array, blurred, noise_field, noise_line
from studio.painter.scene import CRESCENT_MOON, FULL_MOON, SUN
from studio.painter.stage import Stage


def add_water(stage: Stage, top: float, tone: Array) -> None:
    """Water from `top` to the lower edge: the mirrored picture, ripples, and a lane of light below sun or moon."""

    def paint() -> None:
        canvas, light, rng, scale = stage.canvas, stage.light, stage.rng, stage.canvas.scale
        where = (canvas.rows(top), slice(0, canvas.size))
        first = where[0].start
        if first < 2:
            return
        shape = (canvas.size - first, canvas.size)
        depth = ((canvas.y[where[0]] - np.float32(top)) / np.float32(UNITS - top)).clip(0, 1)  # 0 far, 1 at our feet
        depth = np.repeat(depth, canvas.size, 1)
        swell = noise_field(rng, shape, (5, 2.2), 4)
        rows = np.arange(first, canvas.size, dtype=np.float32)[:, None]
        source_y = np.clip(first - 1 - (rows - first) * 0.92 + swell * depth * np.float32(7 * scale), 0, first - 1)
        source_x = np.arange(canvas.size, dtype=np.float32)[None] + swell * (1 + 6 * depth) * np.float32(scale)
        above = canvas.pixels[:first].copy()
        mirrored = cv2.remap(
            above, source_x, source_y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        mirror = blurred(mirrored.astype(np.float32) * np.float32(1 / 255), max(0.6, 1.1 * scale))
        own = mix(light.air(tone, 0.0), light.horizon, 0.25 * (1 - depth[..., None]))
        colours = mix(mirror, own, (1 - stage.calm) * (0.55 + 0.45 * depth[..., None]))
        ripples = noise_field(rng, shape, (13, 3.4), 3)
        colours *= (1 + np.float32(0.10) * ripples * (np.float32(0.4) + depth))[..., None]
        sparkle = np.clip((ripples - 1.5) * 0.6, 0, 0.5) * (0.12 if stage.scene.time == "night" else 0.35)
        colours = mix(colours, light.sunlight, sparkle[..., None])
        canvas.place(colours, where)
        if stage.sun_radius:
            _light_lane(stage, where, depth, ripples)

    stage.covers_below(np.full(SAMPLES, top, np.float32))
    stage.later(paint)


def _light_lane(stage: Stage, where: tuple[slice, slice], depth: Array, ripples: Array) -> None:
    """The broken reflection of sun or moon."""
    scene, canvas = stage.scene, stage.canvas
    if not any(scene.has(thing) for thing in (SUN, FULL_MOON, CRESCENT_MOON)):
        return
    lane = np.exp(-(((canvas.x - np.float32(stage.sun_x)) / (5 + 26 * depth)) ** 2))
    lane = lane * np.clip(ripples * 0.9 + 0.35, 0, 1) * np.clip(1.1 - depth * 0.7, 0, 1)
    strength = 0.85 if scene.time in ("sunset", "dawn", "dusk", "night") else 0.45
    tone = stage.light.sun if scene.has(SUN) else colour("e9edff")
    canvas.blend(tone, np.clip(lane * strength, 0, 0.95).astype(np.float32), where)


def add_waves(stage: Stage, top: float) -> None:
    """White crests of a stormy sea."""
    crests = stage.rng.uniform((0, 0), (1, UNITS), (46, 2)).tolist()

    def paint() -> None:
        tone = stage.light.air(colour("e8f2f6"), 0.1)
        for share, x in sorted(crests):
            y, reach = top + 3 + share * (UNITS - top), 5 + 22 * share
            arc = np.linspace(0, np.pi, 9)
            points = np.stack([x - np.cos(arc) * reach, y - np.sin(arc) * (1.5 + 3 * share)], 1)
            stage.canvas.line(points.astype(np.float32), tone, 1.0 + 1.4 * share)

    stage.later(paint)


def add_beach(stage: Stage) -> None:
    """Sand along the lower edge, with foam and wet sand where the water ends."""
    rng = stage.rng
    slant = (np.arange(SAMPLES, dtype=np.float32) - 128) * np.float32(rng.uniform(-0.12, 0.12))
    edge = (UNITS * float(rng.uniform(0.77, 0.86)) + 7 * noise_line(rng, SAMPLES, 2, 3) + slant).astype(np.float32)

    def paint() -> None:
        canvas, light = stage.canvas, stage.light
        where = (canvas.rows(float(edge.min()) - 6), slice(0, canvas.size))
        inland = canvas.y[where[0]] - canvas.across(edge)[None]
        grain = 1 + np.float32(0.03) * noise_field(stage.rng, inland.shape, (14, 40), 2)
        sand = light.air(colour("eedaa8") if not stage.scene.snowy_ground else colour("f2f4fa"), 0.04)
        canvas.blend(sand * grain[..., None], np.clip(inland * np.float32(canvas.scale) + 0.5, 0, 1), where)
        canvas.blend(
            light.air(colour("8a7a5a"), 0), np.clip(1 - np.abs(inland - 2.5) / 4, 0, 1) * np.float32(0.25), where
        )
        wobble = noise_field(stage.rng, inland.shape, (3, 12), 2)
        foam = np.clip(1 - np.abs(inland + 2 + 1.5 * wobble) / 2.6, 0, 1) * np.float32(0.9)
        canvas.blend(light.air(colour("ffffff"), 0.1), foam, where)

    stage.later(paint)


def add_boat(stage: Stage, x: float, y: float, width: float) -> None:
    """A sailboat whose waterline is at y."""
    rng = stage.rng
    hull = colour(str(rng.choice(["7a3b2c", "2f4a6a", "8a2f2a"])))
    sail = colour(str(rng.choice(["f8f4e8", "f8f4e8", "d8483c", "e8b84a"])))
    stage.covers(x - width * 0.5, x + width * 0.5, y - width * 1.2)
    stage.attend(x, y - width * 0.5, width * 0.7, width * 0.9)

    def paint() -> None:
        canvas, light, w = stage.canvas, stage.light, width
        deep = [(x + w * 0.12, y + w * 0.6), (x - w * 0.15, y + w * 0.5)]
        canvas.polygon([(x - w * 0.4, y + 1), (x + w * 0.4, y + 1), *deep], light.air(colour("27303e"), 0.1), 0.4)
        keel = [(x + w * 0.38, y + w * 0.08), (x - w * 0.38, y + w * 0.08)]
        canvas.polygon([(x - w * 0.5, y - w * 0.14), (x + w * 0.55, y - w * 0.16), *keel], light.air(hull, 0.03))
        canvas.line([(x, y - w * 0.1), (x, y - w * 1.15)], light.air(colour("4a3a2c"), 0), 1.4)
        glow = np.float32(0.72) * light.ambient + np.float32(0.28)  # sails stay readable in the dark
        mast = x + w * 0.05
        canvas.polygon([(mast, y - w * 1.12), (mast, y - w * 0.2), (x + w * 0.54, y - w * 0.22)], sail * glow)
        jib = mix(sail, colour("e6dfce"), 0.6) * np.float32(0.9) * glow
        stay = x - w * 0.06
        canvas.polygon([(stay, y - w * 1.02), (stay, y - w * 0.2), (x - w * 0.42, y - w * 0.22)], jib)

    stage.later(paint)


def add_icebergs(stage: Stage, top: float) -> None:
    """Floating ice from far to near, each with its reflection; one is always big."""
    rng = stage.rng
    shares = np.sort(rng.uniform(0.08, 1, 9))
    shares[4] = 0.5
    for index, share in enumerate(shares.tolist()):
        x, y = float(rng.uniform(0, UNITS)), top + share * (UNITS - top)
        width = 16 + 50 * share * float(rng.uniform(0.5, 1))
        height = width * float(rng.uniform(0.15, 0.5))
        if index == 4:
            x, width, height = float(rng.uniform(70, 186)), 78.0, float(rng.uniform(46, 66))
        _iceberg(stage, x, y, width, height, share)


def _iceberg(stage: Stage, x: float, y: float, w: float, h: float, share: float) -> None:
    peak: list[Point] = [
        (x - w * 0.5, y), (x - w * 0.36, y - h * 0.6), (x - w * 0.1, y - h), (x + w * 0.12, y - h * 0.7),
        (x + w * 0.3, y - h * 0.8), (x + w * 0.5, y),
    ]  # fmt: skip
    stage.covers(x - w * 0.45, x + w * 0.45, y - h)
    if h > 30:
        stage.attend(x, y - h * 0.4, w * 0.5, h * 0.6)

    def paint() -> None:
        canvas, light = stage.canvas, stage.light
        canvas.polygon([(a, 2 * y - b + 1) for a, b in peak], light.air(colour("7fb8d0"), 0.2), 0.45)
        canvas.polygon(peak, light.air(colour("f4faff"), 0.15 * (1 - share)))
        shaded = peak[2:] if stage.lit_from > 0 else peak[:3]
        canvas.polygon([*shaded, (x, y)], light.air(colour("8fc0dc"), 0.15 * (1 - share)), 0.85)

    stage.later(paint)


def add_bridge(stage: Stage, y: float, grand: bool) -> None:
    """A bridge across the picture: a suspension bridge when `grand`, else a stone bridge with three arches."""
    x = float(UNITS * stage.rng.uniform(0.42, 0.58))

    def suspension() -> None:
        canvas, steel = stage.canvas, stage.light.air(colour("b8452f"), 0.06)
        towers = (x - 62, x + 62)
        for tower in towers:
            for leg in (tower - 3.2, tower + 3.2):
                canvas.polygon(rectangle(leg - 1.5, y - 46, leg + 1.5, y + 10), steel)
            canvas.polygon(rectangle(tower - 5, y - 46, tower + 5, y - 42), steel)
        along = np.linspace(0, 1, 21)
        for left in (towers[0], towers[0] - 124, towers[1]):
            cable = np.stack([left + 124 * along, y - 6 - 38 * (2 * along - 1) ** 2], 1).astype(np.float32)
            canvas.line(cable, steel, 1.6)
            for point in cable[::2].tolist():
                canvas.line([(point[0], point[1]), (point[0], y)], steel * np.float32(0.9), 0.8)
        canvas.polygon(rectangle(-2, y - 2, 258, y + 3), steel * np.float32(0.85))

    def stone() -> None:
        canvas, light = stage.canvas, stage.light
        rock, dark = light.air(colour("a89a8a"), 0.06), light.air(colour("4a4a58"), 0.06)
        along = np.linspace(-1, 1, 17)
        upper = [(x + 56 * t, y - 16 + 8 * t * t) for t in along.tolist()]
        canvas.polygon([*upper, (x + 60, y + 10), (x - 60, y + 10)], rock)
        canvas.line(upper, mix(rock, np.ones(3, np.float32), 0.25), 2.2)
        for centre, radius in ((x - 34, 10.0), (x, 14.0), (x + 34, 10.0)):
            arc = np.linspace(0, np.pi, 11)
            arch = np.stack([centre - np.cos(arc) * radius, y + 10 - np.sin(arc) * radius * 1.25], 1)
            canvas.polygon(arch.astype(np.float32), dark)

    stage.attend(x, y - 16, 80, 34)
    stage.later(suspension if grand else stone)


def add_waterfall(stage: Stage, x: float, top: float, bottom: float) -> None:
    """A white fall from `top` to `bottom` with spray at its foot."""
    stage.attend(x, (top + bottom) / 2, 12, (bottom - top) / 2 + 8)

    def paint() -> None:
        canvas, light, rng = stage.canvas, stage.light, stage.rng
        white = mix(light.air(colour("f4fbff"), 0.1), np.ones(3, np.float32), 0.15)
        cliff = light.air(colour("4a4450"), 0.15)
        reach = 7.0
        head, foot = reach * 0.75, reach * 1.1
        canvas.polygon([(x - 14, bottom), (x - 9, top - 3), (x + 10, top - 3), (x + 15, bottom)], cliff)
        canvas.polygon([(x - head, top), (x + head, top), (x + foot, bottom), (x - foot, bottom)], white)
        for offset in rng.uniform(-0.8, 0.8, 5).tolist():
            strand = [(x + offset * reach * 0.8, top + 2), (x + offset * reach, bottom)]
            canvas.line(strand, mix(white, light.air(colour("7fb0d0"), 0.1), 0.6), 1.0)
        canvas.glow(x, bottom, 7, white, 0.9)

    stage.later(paint)
