"""Trees of all kinds, grass, fields of flowers, palms and cacti."""

from __future__ import annotations

import numpy as np

from studio.painter.canvas import UNITS, Canvas, Point, colour, mix
from studio.painter.stage import Stage

FOLIAGE = {
    "autumn": (("b8431f", "f08a2c"), ("c9791c", "ffd24a"), ("8f2d22", "e2582f")),
    "spring": (("4f8a3a", "b9e06a"),),
    "summer": (("2a5a2c", "7fb24a"),),
    "winter": (("4f8a3a", "b9e06a"),),
}
BLOSSOM = (("c96a92", "ffd3e2"),)
FLOWER_COLOURS = {
    "poppies": ("d8281e", "f0503a"),
    "lavender": ("7a58b8", "a584dc"),
    "sunflowers": ("f2b81c", "ffd84a"),
    "tulips": ("e04a6a", "f6c03a", "f08aa8", "ffffff"),
    "wildflowers": ("e8e04a", "f08ab0", "ffffff", "8a6ad0", "e8583a"),
}


def add_tree(stage: Stage, x: float, y: float, height: float, distance: float, kind: str) -> None:
    """A tree with its foot at (x, y): 'pine', 'leafy', 'birch' or 'blossom'."""
    wide = 0.2 if kind == "pine" else 0.3
    stage.covers(x - height * wide, x + height * wide, y - height * 1.02)
    if kind == "pine":
        stage.later(lambda: _pine(stage, x, y, height, distance))
    else:
        stage.later(lambda: _leafy(stage, x, y, height, distance, kind))


def add_trees(
    stage: Stage,
    rows: tuple[float, float],
    heights: tuple[float, float],
    distances: tuple[float, float],
    count: int,
    kind: str,
    gap: tuple[float, float] | None = None,
) -> None:
    """Trees from far to near between two heights of ground; `gap` (x, reach) stays free for a path."""
    for share in np.sort(stage.rng.uniform(0, 1, count)).tolist():
        x = float(stage.rng.uniform(-5, UNITS + 5))
        if gap and abs(x - gap[0]) < gap[1] * (0.3 + share):
            continue
        y = rows[0] + (rows[1] - rows[0]) * share + float(stage.rng.normal(0, 1))
        height = (heights[0] + (heights[1] - heights[0]) * share) * float(stage.rng.uniform(0.75, 1.25))
        add_tree(stage, x, y, height, distances[0] + (distances[1] - distances[0]) * share, kind)


def _pine(stage: Stage, x: float, y: float, height: float, distance: float) -> None:
    canvas, rng, light = stage.canvas, stage.rng, stage.light
    half = height * float(rng.uniform(0.17, 0.24))
    tiers = int(np.clip(height / 7, 3, 9)) if height * canvas.scale > 9 else 2
    tint = np.float32(rng.uniform(0.8, 1.2))
    dark = light.air(colour("16301f") * tint, distance)
    lit = light.air(colour("44754a") * tint, distance)
    snow = light.air(colour("eef4ff"), distance)
    shares = np.arange(1, tiers + 1) / tiers
    reach_left = half * shares * rng.uniform(0.85, 1.15, tiers)
    reach_right = half * shares * rng.uniform(0.85, 1.15, tiers)
    tips = y - height + height * 0.92 * shares
    outline: list[Point] = [(x, y - height)]
    for reach, tip in zip(reach_right.tolist(), tips.tolist(), strict=True):
        outline += [(x + reach, tip), (x + reach * 0.5, tip - height * 0.02)]
    outline += [(x + half * 0.12, y), (x - half * 0.12, y)]
    for reach, tip in zip(reach_left[::-1].tolist(), tips[::-1].tolist(), strict=True):
        outline += [(x - reach * 0.5, tip - height * 0.02), (x - reach, tip)]
    canvas.polygon(outline, dark)
    side = -stage.lit_from  # -1: the left half is lit
    reaches = (reach_left if side < 0 else reach_right).tolist()
    step = height * 0.92 / tiers
    for reach, tip in zip(reaches, tips.tolist(), strict=True):
        canvas.polygon(
            [(x, tip - step * 1.1), (x + side * reach * 0.95, tip), (x + side * reach * 0.1, tip - step * 0.2)], lit
        )
    if stage.scene.season == "winter":
        for reach, tip in zip(reach_left.tolist(), tips.tolist(), strict=True):
            canvas.polygon(
                [
                    (x, tip - step * 1.1),
                    (x + reach * 0.75, tip - step * 0.2),
                    (x, tip - step * 0.5),
                    (x - reach * 0.75, tip - step * 0.2),
                ],
                snow,
            )


def _leafy(stage: Stage, x: float, y: float, height: float, distance: float, kind: str) -> None:
    canvas, rng, light, scene = stage.canvas, stage.rng, stage.light, stage.scene
    bark = light.air(colour("e8e4dc" if kind == "birch" else "4a3528"), distance)
    bare = scene.season == "winter" and kind != "blossom"
    half = max(1.0, height * (0.03 if bare else 0.055))
    canvas.polygon(
        [(x - half, y), (x - half * 0.5, y - height * 0.6), (x + half * 0.5, y - height * 0.6), (x + half, y)], bark
    )
    large = height * canvas.scale > 14
    if large:
        for lean in (-0.5, 0.45, -0.2):
            canvas.line([(x, y - height * 0.4), (x + height * 0.48 * lean, y - height * 0.72)], bark, half * 0.7)
        if kind == "birch":
            for share in rng.uniform(0.05, 0.55, 6).tolist():
                canvas.line(
                    [(x - half * 0.7, y - height * share), (x + half * 0.3, y - height * share)],
                    light.air(colour("3a3634"), distance),
                    1.0,
                )
    if bare:
        depth = 5 if height * canvas.scale > 40 else 4 if height * canvas.scale > 20 else 2
        _bare_branches(canvas, rng, (x, y - height * 0.45), float(rng.normal(0, 0.1)), height * 0.2, depth, bark)
        return
    palette = BLOSSOM if kind == "blossom" else FOLIAGE[scene.season]
    dark, bright = (colour(code) for code in palette[int(rng.integers(len(palette)))])
    crown = height * 0.33
    blobs = np.stack(
        [
            rng.normal(x, crown * 0.55, 22),
            rng.normal(y - height * 0.68, crown * 0.42, 22),
            crown * rng.uniform(0.28, 0.52, 22),
        ],
        1,
    )
    if not large:
        for share in (0.0, 0.6):
            tone = light.air(mix(dark * np.float32(0.75), bright, share), distance)
            for bx, by, radius in blobs[: 10 if share else 16].tolist():
                lift = share * radius * 0.5
                canvas.disc(bx - stage.lit_from * lift, by - lift, radius * (1 - 0.45 * share), tone)
        return
    where = canvas.box(x, y - height * 0.68, crown * 2.4, crown * 2.2)
    texture = stage.leaf_texture[where]
    for share in (0.0, 0.35, 0.7, 1.0):
        lift = share * 0.5
        discs = [
            (bx - stage.lit_from * lift * radius, by - lift * radius, radius * (1 - 0.55 * share))
            for bx, by, radius in blobs.tolist()
        ]
        opacity = canvas.discs_mask(discs, where) * np.clip(0.85 + texture * (0.35 + 0.5 * share), 0, 1)
        canvas.blend(light.air(mix(dark * np.float32(0.75), bright, share), distance), opacity, where)


def _bare_branches(
    canvas: Canvas, rng: np.random.Generator, foot: Point, angle: float, length: float, depth: int, tone: np.ndarray
) -> None:
    tip = (foot[0] + float(np.sin(angle)) * length, foot[1] - float(np.cos(angle)) * length)
    canvas.line([foot, tip], tone, max(1.0, (depth - 2) * 1.0))
    if depth > 0 and length > 2.2:
        for side in (-1, 1):
            turned = angle + side * float(rng.uniform(0.25, 0.6))
            _bare_branches(canvas, rng, tip, turned, length * float(rng.uniform(0.66, 0.8)), depth - 1, tone)


def add_grass(stage: Stage, top: float, count: int) -> None:
    """Blades of grass from `top` down, or tufts of snow in winter."""

    def paint() -> None:
        rng, canvas, light = stage.rng, stage.canvas, stage.light
        amount = int(count * min(1.0, canvas.scale + 0.2))
        tone = colour("e8eefa") if stage.scene.snowy_ground else light.grass
        shares = np.sort(rng.uniform(0, 1, amount))
        xs, leans, tints = rng.uniform(0, UNITS, amount), rng.normal(0, 2, amount), rng.uniform(0.55, 1.15, amount)
        for share, x, lean, tint in zip(shares.tolist(), xs.tolist(), leans.tolist(), tints.tolist(), strict=True):
            y = top + share * (UNITS - top) + 3
            canvas.line([(x, y), (x + lean, y - 2 - 9 * share)], light.air(tone * np.float32(tint), 0.2 * (1 - share)))

    stage.later(paint)


def add_flower_field(stage: Stage, top: float, kind: str) -> None:
    """A field of flowers that grow bigger towards us; lavender and tulips stand in rows."""

    def paint() -> None:
        rng, canvas, light = stage.rng, stage.canvas, stage.light
        palette = [colour(code) for code in FLOWER_COLOURS[kind]]
        in_rows = kind in ("lavender", "tulips")
        vanishing = UNITS * float(rng.uniform(0.3, 0.7))
        count = int(850 * min(1.0, canvas.scale + 0.25))
        shares = np.sort(rng.uniform(0, 1, count) ** 1.4)
        xs, jitter = rng.uniform(-10, UNITS + 10, count), rng.normal(0, 1, count)
        picks, tints = rng.integers(len(palette), size=count), rng.uniform(0.8, 1.08, count)
        stem = light.air(light.grass * np.float32(0.6), 0)
        grow = 1.0 if canvas.scale > 0.7 else 1.25
        for share, x, offset, pick, tint in zip(
            shares.tolist(), xs.tolist(), jitter.tolist(), picks.tolist(), tints.tolist(), strict=True
        ):
            y, radius = top + 3 + share * (UNITS - top), (0.9 + 2.6 * share**1.2) * grow
            if in_rows:
                spacing = 5 + 38 * share
                lane = round((x - vanishing) / spacing)
                x = vanishing + lane * spacing + offset * (1.2 + 5 * share) * 0.8
                if kind == "tulips":
                    pick = lane % len(palette)
            tone = light.air(palette[pick] * np.float32(tint), 0.25 * (1 - share))
            if share > 0.3:
                canvas.line([(x, y), (x, y + 4 + 6 * share)], stem)
            canvas.ellipse(x, y, radius, radius * (1.7 if kind == "lavender" else 0.8), tone)
            if kind == "sunflowers" and radius > 1.8:
                canvas.disc(x, y, radius * 0.4, light.air(colour("5a3214"), 0))

    stage.later(paint)


def add_palm(stage: Stage, x: float, y: float, height: float) -> None:
    """A palm tree with its foot at (x, y)."""
    rng = stage.rng
    lean = float(rng.choice([-1, 1])) * height * 0.16
    top = (x + lean, y - height)
    stage.covers(min(x, top[0]) - height * 0.3, max(x, top[0]) + height * 0.3, y - height * 1.2)
    stage.attend(top[0], top[1], height * 0.35, height * 0.3)

    def paint() -> None:
        canvas, light = stage.canvas, stage.light
        along = np.linspace(0, 1, 12)
        trunk = np.stack([x + lean * along**2, y - height * along], 1).astype(np.float32)
        canvas.line(trunk, light.air(colour("6a5038"), 0), 4.0)
        for angle in (np.linspace(0, 2 * np.pi, 11, endpoint=False) + rng.uniform(-0.2, 0.2, 11)).tolist():
            reach = height * 0.38
            share = np.linspace(0, 1, 8)
            spine_x = top[0] + np.cos(angle) * reach * share
            spine_y = top[1] + np.sin(angle) * reach * share * 0.55 + reach * 0.5 * share**2 - reach * 0.12 * share
            under = spine_y + reach * 0.15 * np.sin(np.pi * share)
            leaf = np.concatenate([np.stack([spine_x, spine_y], 1), np.stack([spine_x, under], 1)[::-1]])
            canvas.polygon(
                leaf.astype(np.float32), light.air(colour("2f6a34") * np.float32(rng.uniform(0.6, 1.35)), 0)
            )

    stage.later(paint)


def add_cactus(stage: Stage, x: float, y: float, height: float) -> None:
    """A tall cactus with two arms."""
    stage.covers(x - height * 0.3, x + height * 0.3, y - height)
    stage.attend(x, y - height / 2, height * 0.35, height * 0.55)
    arms = [(side, float(stage.rng.uniform(0.3, 0.55))) for side in (-1, 1)]

    def paint() -> None:
        canvas, light = stage.canvas, stage.light
        body, lit = light.air(colour("3f7040"), 0.02), light.air(colour("7aa864"), 0.02)
        width = height * 0.16
        limbs: list[tuple[list[Point], float]] = [([(x, y), (x, y - height + width / 2)], width)]
        for side, share in arms:
            elbow = y - height * share
            limbs.append(
                (
                    [(x, elbow), (x + side * height * 0.26, elbow), (x + side * height * 0.26, elbow - height * 0.3)],
                    width * 0.72,
                )
            )
        for points, thick in limbs:
            canvas.line(points, body, thick)
        for points, thick in limbs:
            shift = -stage.lit_from * thick * 0.2
            canvas.line([(px + shift, py) for px, py in points[-2:]], lit, thick * 0.3)

    stage.later(paint)
