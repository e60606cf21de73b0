"""Writes the cases in tests/data that both sides of the wire are tested with: `python tests/slow_vectors.py`.

By other means than the code that is tested: pixel by pixel, in exact fractions, comparing with every pixel.
"""

from __future__ import annotations

import json
import math
import operator
import random
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"
Box = list[int]  # x, y, width, height


def half_up(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


# ---- layers over layers ----


def over(bottom: list[int], top: list[int], opacity: int) -> list[int]:
    alpha = (top[3] * half_up(Fraction(opacity * 255, 100)) + 127) // 255
    weight = alpha * 255 + bottom[3] * (255 - alpha)
    if weight == 0:
        return [0, 0, 0, 0]
    colour = [(top[c] * alpha * 255 + bottom[c] * bottom[3] * (255 - alpha) + weight // 2) // weight for c in range(3)]
    return [*colour, (weight + 127) // 255]


def any_pixel() -> list[int]:
    return [random.randrange(256) for _ in range(4)]


def flat(pixels: list[list[int]]) -> list[int]:
    return [value for pixel in pixels for value in pixel]


def pairs() -> list[Any]:
    special = [[0] * 4, [255] * 4, [12, 200, 77, 0], [12, 200, 77, 1], [250, 3, 128, 2], [10, 20, 30, 127]]
    special += [[10, 20, 30, 128], [255, 0, 1, 254], [90, 91, 92, 255]]
    rows = []
    for opacity in (0, 1, 10, 30, 50, 70, 90, 99, 100):
        if opacity in (50, 100):
            chosen = [(bottom, top) for bottom in special for top in special]
        else:
            chosen = [(random.choice(special), random.choice(special)) for _ in range(12)]
        chosen += [(any_pixel(), any_pixel()) for _ in range(10)]
        rows += [[opacity, bottom, top, over(bottom, top, opacity)] for bottom, top in chosen]
    return rows


def stack(width: int, height: int, count: int) -> dict[str, Any]:
    layers = []
    canvas = [[0, 0, 0, 0] for _ in range(width * height)]
    for number in range(count):
        wide, high = random.randint(1, width), random.randint(1, height)
        x, y = random.randint(-3, width - 1), random.randint(-3, height - 1)
        opacity, visible = random.choice([0, 33, 50, 75, 100, 100]), number != 1
        pixels = [
            random.choice([any_pixel(), [*any_pixel()[:3], 255], [*any_pixel()[:3], 0]]) for _ in range(wide * high)
        ]
        layers.append(
            {"x": x, "y": y, "width": wide, "height": high, "opacity": opacity, "visible": visible}
            | {"pixels": flat(pixels)}
        )
        for place, pixel in enumerate(pixels):
            column, row = x + place % wide, y + place // wide
            if visible and 0 <= column < width and 0 <= row < height:
                canvas[row * width + column] = over(canvas[row * width + column], pixel, opacity)
    return {"width": width, "height": height, "layers": layers, "flat": flat(canvas)}


# ---- masks ----


def nearest(places: list[tuple[int, int]], x: int, y: int) -> int | None:
    return min(((x - a) ** 2 + (y - b) ** 2 for a, b in places), default=None)


def grown(mask: list[int], width: int, grow: int) -> list[int]:
    if grow == 0:
        return mask
    looked_for = [(i % width, i // width) for i, value in enumerate(mask) if (value >= 128) == (grow > 0)]
    result = []
    for i in range(len(mask)):
        square = nearest(looked_for, i % width, i // width)
        near = square is not None and square <= grow * grow
        result.append(255 if near == (grow > 0) else 0)
    return result


def feathered(mask: list[int], width: int, feather: int) -> list[int]:
    if feather == 0:
        return mask
    zeros = [(i % width, i // width) for i, value in enumerate(mask) if value == 0]
    result = []
    for i, value in enumerate(mask):
        square = nearest(zeros, i % width, i // width)
        t = 1.0 if square is None else min(math.sqrt(square) / feather, 1.0)
        result.append(math.floor(value * (t * t * (3 - 2 * t)) + 0.5))
    return result


MASKS = {
    "empty": (4, 3, lambda x, y: 0),
    "full": (5, 4, lambda x, y: 255),
    "dot": (15, 13, lambda x, y: 255 * (x == 7 and y == 6)),
    "corner": (12, 10, lambda x, y: 255 * (x < 6 and y < 5)),
    "half plane": (14, 6, lambda x, y: 255 * (x >= 4)),
    "hole": (11, 9, lambda x, y: 255 * (x != 3 or y != 4)),
    "soft": (16, 14, lambda x, y: min(255, max(0, int(300 - 40 * math.hypot(x - 6.4, y - 7))))),
    "faint": (9, 7, lambda x, y: random.choice([0, 1, 2, 127, 128])),
    "noise": (13, 11, lambda x, y: random.choice([0, 0, 0, 90, 255])),
    "one pixel": (1, 1, lambda x, y: 255),
    "one row": (17, 1, lambda x, y: 255 * (x >= 5)),
}
CHANGES = [(0, 0), (0, 1), (0, 4), (1, 0), (3, 0), (5, 3), (-1, 0), (-2, 2), (0, 7), (2, 256), (-256, 0)]


def mask_cases() -> list[Any]:
    cases = []
    for kind, (width, height, level) in MASKS.items():
        mask = [level(i % width, i // width) for i in range(width * height)]
        for grow, feather in CHANGES:
            result = feathered(grown(mask, width, grow), width, feather)
            inside = [(i % width, i // width) for i, value in enumerate(result) if value]
            columns, rows = [x for x, _ in inside], [y for _, y in inside]
            bounds = None
            if inside:
                bounds = [min(columns), min(rows), max(columns) - min(columns) + 1, max(rows) - min(rows) + 1]
            cases.append(
                {"kind": kind, "width": width, "height": height, "mask": mask, "grow": grow, "feather": feather}
                | {"effective": result, "bounds": named(bounds), "area": len(inside)}
            )
    return cases


# ---- contexts ----


def spread(start: int, length: int, wanted: int, limit: int) -> tuple[int, int]:
    longer = min(max(wanted, length), limit)
    start -= (longer - length) // 2
    if start + longer > limit:
        start = limit - longer
    return max(start, 0), longer


def working(width: int, height: int, best: tuple[int, int]) -> list[int]:
    scale = math.sqrt((best[0] * best[1]) / (width * height))
    if scale < 64 / min(width, height):
        scale = 64 / min(width, height)
    if scale > 2048 / max(width, height):
        scale = 2048 / max(width, height)
    return [min(2048, max(64, 16 * math.floor(side * scale / 16 + 0.5))) for side in (width, height)]


def context(
    mask: Box, picture: tuple[int, int], best: tuple[int, int], margin: int | None, chosen: Box | None
) -> tuple[Box, list[int]]:
    across, down = picture
    right, bottom = mask[0] + mask[2], mask[1] + mask[3]
    if chosen is not None:
        edges = [max(0, chosen[0]), max(0, chosen[1])]
        edges += [min(across, chosen[0] + chosen[2]), min(down, chosen[1] + chosen[3])]
        if edges[2] <= edges[0] or edges[3] <= edges[1]:
            edges = [mask[0], mask[1], right, bottom]
        x, y = min(edges[0], mask[0]), min(edges[1], mask[1])
        wide, high = max(edges[2], right) - x, max(edges[3], bottom) - y
        return [x, y, wide, high], working(wide, high, best)
    if margin is None and max(picture) <= 2 * min(picture) and 4 * across * down <= 9 * best[0] * best[1]:
        return [0, 0, across, down], working(across, down, best)
    room = margin if margin is not None else max(32, -(-max(mask[2], mask[3]) // 4))
    x, y = max(0, mask[0] - room), max(0, mask[1] - room)
    frame = [x, y, min(across, right + room) - x, min(down, bottom + room) - y]

    def widened(frame: Box, wide: int, high: int) -> Box:
        x, wide = spread(frame[0], frame[2], wide, across)
        y, high = spread(frame[1], frame[3], high, down)
        return [x, y, wide, high]

    if margin is None:
        frame = widened(frame, best[0] // 2, best[1] // 2)
    frame = widened(frame, -(-frame[3] // 2), -(-frame[2] // 2))
    size = working(frame[2], frame[3], best)
    return widened(frame, -(-frame[3] * size[0] // size[1]), -(-frame[2] * size[1] // size[0])), size


def context_cases() -> list[Any]:
    chosen: list[Any] = [
        ([0, 0, 128, 128], (128, 128), (128, 128), None, None),
        ([60, 60, 1, 1], (128, 128), (128, 128), None, None),
        ([0, 0, 1, 1], (1, 1), (512, 512), None, None),
        ([5, 5, 9, 9], (192, 192), (128, 128), None, None),
        ([5, 5, 9, 9], (192, 193), (128, 128), None, None),
        ([5, 5, 9, 9], (128, 256), (128, 128), None, None),
        ([5, 5, 9, 9], (100, 201), (128, 128), None, None),
        ([5, 5, 9, 9], (192, 192), (128, 128), 32, None),
        ([100, 900, 24, 24], (1024, 1024), (1024, 1024), None, None),
        ([100, 900, 24, 24], (2000, 1800), (1024, 1024), None, None),
        ([0, 500, 4096, 8], (4096, 1024), (1024, 1024), None, None),
        ([0, 0, 4096, 64], (4096, 64), (512, 512), None, None),
        ([3, 3, 4, 4090], (10, 4096), (512, 512), None, None),
        ([512, 0, 256, 768], (768, 768), (512, 512), None, None),
        ([700, 10, 60, 61], (768, 512), (512, 512), 0, None),
        ([700, 10, 60, 61], (768, 512), (512, 512), 17, None),
        ([700, 10, 60, 61], (768, 512), (512, 512), 4096, None),
        ([10, 10, 50, 50], (300, 200), (128, 128), None, [5, 5, 100, 90]),
        ([10, 10, 50, 50], (300, 200), (128, 128), None, [30, 30, 100, 90]),
        ([10, 10, 50, 50], (300, 200), (128, 128), None, [-30, -30, 900, 900]),
        ([10, 10, 50, 50], (300, 200), (128, 128), None, [400, 30, 9, 9]),
        ([1000, 1000, 300, 200], (4096, 4096), (1024, 1024), None, None),
        ([0, 0, 4096, 4096], (4096, 4096), (1024, 1024), None, None),
        ([30, 20, 30, 30], (64, 64), (1024, 1024), None, None),
        ([5, 6, 100, 200], (500, 400), (832, 1216), None, None),
    ]
    for number in range(60):
        limit = 4096 if number % 2 else 600
        picture = (random.randint(1, limit), random.randint(1, limit))
        part = random.choice([1, 8])
        wide, high = (random.randint(1, max(1, side // part)) for side in picture)
        mask = [random.randint(0, picture[0] - wide), random.randint(0, picture[1] - high), wide, high]
        best = random.choice([(128, 128), (512, 512), (1024, 1024), (768, 1344)])
        chosen.append((mask, picture, best, random.choice([None, None, None, 0, random.randint(0, 200)]), None))
    cases = []
    for mask, picture, best, margin, frame in chosen:
        found, size = context(mask, picture, best, margin, frame)
        cases.append(
            {"mask": named(mask), "picture": sized(picture), "best": sized(best), "margin": margin}
            | {"chosen": named(frame), "frame": named(found), "working": sized(size)}
        )
    return cases


# ---- pixels that look alike ----

WHITE = 8192
CONES = [[13508, 17574, 1686], [6944, 22305, 3519], [2894, 9231, 20643]]
LEVELS = [[862, 3251, -17], [8102, -9948, 1846], [106, 3206, -3312]]


def light(level: int) -> int:
    share = Decimal(level) / 255
    curve = (
        share / Decimal("12.92") if share <= Decimal("0.04045") else ((share + Decimal("0.055")) / Decimal("1.055"))
    )
    return math.floor((curve if share <= Decimal("0.04045") else curve ** Decimal("2.4")) * 65535 + Decimal("0.5"))


def root(cone: int) -> int:
    """WHITE times the cube root of cone / 65535, half up: the largest whole number whose lower edge is not above."""
    found = 0
    while (2 * found + 1) ** 3 * 65535 <= cone * (2 * WHITE) ** 3:
        found += 1
    return found


def levels(colour: list[int]) -> list[int]:
    lights = [light(level) for level in colour]
    cones = [half_up(Fraction(sum(map(operator.mul, row, lights)), 32768)) for row in CONES]
    roots = [root(cone) for cone in cones]
    return [half_up(Fraction(sum(map(operator.mul, row, roots)), 4096)) for row in LEVELS]


def point(pixel: tuple[int, ...]) -> list[int]:
    veiled = [(level * pixel[3] + 127) // 255 for level in levels(list(pixel[:3]))]
    return [*veiled, (WHITE * pixel[3] + 127) // 255]


def wand(pixels: list[tuple[int, ...]], width: int, at: int, tolerance: int, contiguous: bool) -> list[int]:
    points = {pixel: point(pixel) for pixel in set(pixels)}
    aim = pixels[at]

    def alike(pixel: tuple[int, ...]) -> bool:
        if tolerance == 255:
            return True
        if tolerance == 0:
            return pixel == aim or pixel[3] == aim[3] == 0
        square = sum((a - b) ** 2 for a, b in zip(points[pixel], points[aim], strict=True))
        return square * 255**2 <= (tolerance * WHITE) ** 2

    taken = {at} if contiguous else {k for k, pixel in enumerate(pixels) if alike(pixel)}
    waiting = sorted(taken) if contiguous else []
    while waiting:
        here = waiting.pop()
        x = here % width
        beside = [here - width, here + width, *([here - 1] if x else []), *([here + 1] if x + 1 < width else [])]
        for next_ in beside:
            if 0 <= next_ < len(pixels) and next_ not in taken and alike(pixels[next_]):
                taken.add(next_)
                waiting.append(next_)
    return [255 if k in taken else 0 for k in range(len(pixels))]


def wand_cases() -> list[Any]:
    cases = []
    for number, tolerance in enumerate([0, 1, 3, 8, 16, 32, 32, 64, 100, 128, 200, 254, 255, 0, 12, 40]):
        width, height = random.choice([(12, 9), (9, 7), (15, 6)])
        base = [random.randrange(256) for _ in range(3)]
        spread = random.choice([4, 20, 60, 255])
        alphas = [255] if number % 3 else [255, 255, 200, 128, 1, 0]
        pixels = [
            (*(min(255, max(0, level + random.randint(-spread, spread))) for level in base), random.choice(alphas))
            for _ in range(width * height)
        ]
        for k in range(0, len(pixels) - 1, 2):  # runs of one colour, so that something hangs together
            pixels[k + 1] = pixels[k]
        at = random.randrange(len(pixels))
        for contiguous in (True, False):
            mask = wand(pixels, width, at, tolerance, contiguous)
            cases.append(
                {"width": width, "height": height, "pixels": [value for pixel in pixels for value in pixel]}
                | {"x": at % width, "y": at // width, "tolerance": tolerance, "contiguous": contiguous, "mask": mask}
            )
    return cases


def colours() -> list[Any]:
    chosen = [[level] * 3 for level in (0, 1, 2, 10, 11, 100, 127, 128, 254, 255)]
    chosen += [[random.randrange(256) for _ in range(3)] for _ in range(120)]
    return [[*colour, *levels(colour)] for colour in chosen]


def named(box: Box | None) -> dict[str, int] | None:
    return dict(zip(("x", "y", "width", "height"), box, strict=True)) if box is not None else None


def sized(sides: Any) -> dict[str, int]:
    return {"width": sides[0], "height": sides[1]}


def write(name: str, about: str, **lists: list[Any]) -> None:
    """One case a line, so that a change of one shows as such."""
    parts = [f'"about": {json.dumps(about)}']
    for key, cases in lists.items():
        parts.append(f'"{key}": [\n' + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]")
    (DATA / name).write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    random.seed(20261121)
    write(
        "compositing.json",
        "Layers over layers. over: [opacity in percent, bottom RGBA, top RGBA, result RGBA]. flatten: layers from "
        "bottom to top, pixels row by row, RGBA.",
        over=pairs(),
        flatten=[stack(5, 4, 3), stack(7, 3, 5), stack(1, 1, 4), stack(4, 4, 0)],
    )
    write(
        "masks.json",
        "Masks row by row, grown, then feathered inward; bounds and area are of the effective mask.",
        cases=mask_cases(),
    )
    write("context.json", "What a model sees around the bounds of an effective mask.", cases=context_cases())
    write(
        "wand.json",
        "Which pixels look alike. colours: sRGB and its OKLab levels. cases: RGBA row by row, and the mask of a wand.",
        colours=colours(),
        cases=wand_cases(),
    )
