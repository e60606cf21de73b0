"""A picture of the SNR-t gap: one panel per band, the steps from left to right, before and after a correction.

Plain numbers in, PNG out; drawn with Pillow alone.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

WIDTH, PANEL, TOP, BOTTOM, LEFT, RIGHT = 720, 190, 66, 46, 74, 20  # px, before enlarging
SCALE = 2
INK, FAINT, GRID = "#1d2430", "#6a7382", "#dfe3ea"
_COLOURS = ("#c2410c", "#1d6fb8")
_ERRORS = 1.96  # standard errors to either side


@dataclass(frozen=True)
class Curve:
    """Values with standard errors, one pair per position."""

    name: str
    values: Sequence[float]
    errors: Sequence[float]


@dataclass(frozen=True)
class Panel:
    """The curves of one band, at most two."""

    name: str
    curves: Sequence[Curve]


def gap_plot(title: str, positions: Sequence[float], panels: Sequence[Panel], unit: str) -> bytes:
    """PNG with all panels on one scale. `positions` are noise levels from 1 to 0; bars are 95 % intervals."""
    reach = max(
        abs(value) + _ERRORS * error
        for panel in panels
        for curve in panel.curves
        for value, error in zip(curve.values, curve.errors, strict=True)
    )
    tick = _tick(reach or 1e-6)
    reach = max(reach * 1.08, tick)
    height = TOP + len(panels) * PANEL + BOTTOM
    image = Image.new("RGB", (WIDTH * SCALE, height * SCALE), "white")
    draw = ImageDraw.Draw(image)
    small, large = (ImageFont.load_default(size * SCALE) for size in (11, 15))

    def at(x: float, y: float) -> tuple[float, float]:
        return x * SCALE, y * SCALE

    def words(x: float, y: float, text: str, colour: str = FAINT, anchor: str = "lm", big: bool = False) -> None:
        draw.text(at(x, y), text, colour, large if big else small, anchor=anchor)

    words(LEFT, 20, title, INK, big=True)
    for number, curve in enumerate(panels[0].curves):
        x = LEFT + 130 * number
        draw.line([at(x, 46), at(x + 20, 46)], _COLOURS[number], 2 * SCALE)
        words(x + 26, 46, curve.name, INK)
    words(WIDTH - RIGHT, 46, f"{unit}, with 95 % intervals", anchor="rm")
    for row, panel in enumerate(panels):
        top = TOP + row * PANEL
        middle, half = top + PANEL / 2, PANEL / 2 - 14

        def y_of(value: float, middle: float = middle, half: float = half) -> float:
            return middle - value / reach * half

        for multiple in range(-int(reach / tick), int(reach / tick) + 1):
            y = y_of(multiple * tick)
            draw.line([at(LEFT, y), at(WIDTH - RIGHT, y)], FAINT if multiple == 0 else GRID, SCALE)
            words(LEFT - 8, y, f"{multiple * tick:+.3g}" if multiple else "0", anchor="rm")
        words(LEFT + 6, top + 12, panel.name, INK)
        places = [_x_of(index, len(positions)) for index in range(len(positions))]
        for number, curve in enumerate(panel.curves):
            shift = 2.5 * number
            points = [(x + shift, y_of(value)) for x, value in zip(places, curve.values, strict=True)]
            draw.line([at(*point) for point in points], _COLOURS[number], 2 * SCALE, joint="curve")
            for (across, level), error in zip(points, curve.errors, strict=True):
                bar = _ERRORS * error / reach * half
                draw.line([at(across, level - bar), at(across, level + bar)], _COLOURS[number], SCALE)
                draw.ellipse([at(across - 2.2, level - 2.2), at(across + 2.2, level + 2.2)], _COLOURS[number])
    base = TOP + len(panels) * PANEL
    every = max(-(-len(positions) // 12), 1)
    for index in range(0, len(positions), every):
        words(_x_of(index, len(positions)), base + 6, f"{positions[index]:.2f}", anchor="mm")
    words((LEFT + WIDTH - RIGHT) / 2, base + 26, "noise level entering the step", anchor="mm")
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def _x_of(index: int, count: int) -> float:
    inner = 24
    width = WIDTH - LEFT - RIGHT - 2 * inner
    return LEFT + inner + (width * index / (count - 1) if count > 1 else width / 2)


def _tick(reach: float) -> float:
    """A round distance of which two to five fit into `reach`."""
    power: float = 10.0 ** math.floor(math.log10(reach))
    return next(power * part for part in (5, 2, 1, 0.5) if 2 * power * part <= reach)
