"""A square of paint: shapes, blends and brush lines in units, whatever the size in pixels.

The picture is always 256 units wide and high, y downwards; 0 is the left or the top edge. Colours are float RGB from
0 to 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from studio.painter.noise import Array

UNITS = 256.0
SUBPIXEL_BITS = 4
Point = tuple[float, float]


def colour(code: str) -> Array:
    """Float RGB of a six-digit hex colour."""
    return np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)], np.float32) / np.float32(255)


def mix(a: Array, b: Array, amount: float | Array) -> Array:
    """`a` at 0, `b` at 1. Colours are (3,) or (h, w, 3); the amount is one number or (h, w, 1)."""
    if isinstance(amount, np.ndarray) and amount.ndim == 3:  # NumPy is slow where the innermost axis is short
        share = np.ascontiguousarray(amount[..., 0], np.float32)
        if a.ndim == 1 and b.ndim == 1:
            ramp: Array = cv2.transform(share, np.stack([b - a, a], 1).astype(np.float32))
            return ramp
        shares = cv2.cvtColor(share, cv2.COLOR_GRAY2RGB)
        if b.ndim == 1 and a.shape == shares.shape:
            return _toward(a, b, share, shares)
        if a.ndim == 1 and b.shape == shares.shape:
            return _toward(b, a, 1 - share, 1 - shares)
        if a.shape == b.shape == shares.shape:
            gap: Array = cv2.subtract(b, a)
            cv2.multiply(gap, shares, gap)
            cv2.add(gap, a, gap)
            return gap
    mixed: Array = a + (b - a) * amount
    return mixed


def _toward(colours: Array, tone: Array, share: Array, shares: Array) -> Array:
    """Colours (h, w, 3) moved towards one tone (3,) by `share` (h, w), given also as three equal channels."""
    moved: Array = cv2.multiply(colours, 1 - shares)
    cv2.add(moved, cv2.transform(share, tone[:, None]), moved)
    return moved


def rectangle(left: float, top: float, right: float, bottom: float) -> list[Point]:
    """The four corners of an upright rectangle."""
    return [(left, bottom), (left, top), (right, top), (right, bottom)]


def paint_tuple(tone: Array) -> tuple[int, int, int]:
    """A colour as OpenCV wants it."""
    r, g, b = tone.tolist()
    return (
        int(min(max(r, 0.0), 1.0) * 255 + 0.5),
        int(min(max(g, 0.0), 1.0) * 255 + 0.5),
        int(min(max(b, 0.0), 1.0) * 255 + 0.5),
    )


class Canvas:
    """Pixels uint8 (size, size, 3) and the ways to put paint on them."""

    def __init__(self, size: int, pixels: npt.NDArray[np.uint8] | None = None) -> None:
        self.size = size
        self.scale = size / UNITS
        self.pixels = np.zeros((size, size, 3), np.uint8) if pixels is None else pixels
        centres = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(self.scale)
        self.x: Array = centres[None, :]  # (1, W) in units
        self.y: Array = centres[:, None]  # (H, 1) in units

    def rows(self, top: float, bottom: float = UNITS) -> slice:
        """Pixel rows between two heights in units, at least one row."""
        first = min(max(int(np.floor(top * self.scale)), 0), self.size - 1)
        last = min(max(int(np.ceil(bottom * self.scale)), first + 1), self.size)
        return slice(first, last)

    def columns(self, left: float, right: float) -> slice:
        """Pixel columns between two places in units, at least one column."""
        return self.rows(left, right)

    def box(self, x: float, y: float, reach_x: float, reach_y: float) -> tuple[slice, slice]:
        """Rows and columns of the box around (x, y)."""
        return self.rows(y - reach_y, y + reach_y), self.columns(x - reach_x, x + reach_x)

    def across(self, profile: Array) -> Array:
        """A profile of 256 heights as one height per pixel column, still in units."""
        if self.size == len(profile):
            return profile
        heights: Array = np.interp(self.x[0], np.arange(len(profile)) + 0.5, profile).astype(np.float32)
        return heights

    def blend(self, tone: Array, opacity: Array, where: tuple[slice, slice]) -> None:
        """Mix a colour (3,) or colours (h, w, 3) into the box `where` by opacity (h, w) from 0 to 1."""
        region = self.pixels[where]
        share = np.ascontiguousarray(opacity, np.float32)
        shares = cv2.cvtColor(share, cv2.COLOR_GRAY2RGB)
        target = tone * np.float32(255)
        fresh = cv2.transform(share, target[:, None]) if tone.ndim == 1 else cv2.multiply(target, shares)
        kept = cv2.multiply(region.astype(np.float32), np.float32(1) - shares)
        region[...] = cv2.add(kept, fresh, dtype=cv2.CV_8U)

    def place(self, colours: Array, where: tuple[slice, slice]) -> None:
        """Cover the box `where` with colours (h, w, 3)."""
        self.pixels[where] = np.clip(colours, 0, 1) * np.float32(255) + np.float32(0.5)

    def polygon(self, points: Sequence[Point] | Array, tone: Array, opacity: float = 1.0) -> None:
        """Fill a closed shape with smooth edges."""
        corners = self._fixed(points)
        if opacity >= 1:
            cv2.fillPoly(self.pixels, [corners], paint_tuple(tone), cv2.LINE_AA, SUBPIXEL_BITS)
            return
        low, high = corners.min(0) // 16 - 1, corners.max(0) // 16 + 2
        x0, y0 = max(0, int(low[0])), max(0, int(low[1]))
        x1, y1 = min(self.size, int(high[0])), min(self.size, int(high[1]))
        if x1 <= x0 or y1 <= y0:
            return
        region = self.pixels[y0:y1, x0:x1]
        covered = region.copy()
        cv2.fillPoly(covered, [corners - np.array([x0 * 16, y0 * 16])], paint_tuple(tone), cv2.LINE_AA, SUBPIXEL_BITS)
        region[...] = cv2.addWeighted(covered, opacity, region, 1 - opacity, 0)

    def line(self, points: Sequence[Point] | Array, tone: Array, width: float = 1.0) -> None:
        """Draw an open line; `width` in units, never thinner than one pixel."""
        thickness = max(1, round(width * self.scale))
        cv2.polylines(
            self.pixels, [self._fixed(points)], False, paint_tuple(tone), thickness, cv2.LINE_AA, SUBPIXEL_BITS
        )

    def ellipse(self, x: float, y: float, radius_x: float, radius_y: float, tone: Array) -> None:
        """Fill an ellipse."""
        centre = self._fixed([(x, y)])[0]
        axes = (max(6, int(radius_x * self.scale * 16)), max(6, int(radius_y * self.scale * 16)))
        spot = (int(centre[0]), int(centre[1]))
        cv2.ellipse(self.pixels, spot, axes, 0, 0, 360, paint_tuple(tone), -1, cv2.LINE_AA, SUBPIXEL_BITS)

    def disc(self, x: float, y: float, radius: float, tone: Array) -> None:
        """Fill a circle."""
        centre = self._fixed([(x, y)])[0]
        reach = max(6, int(radius * self.scale * 16))
        cv2.circle(
            self.pixels, (int(centre[0]), int(centre[1])), reach, paint_tuple(tone), -1, cv2.LINE_AA, SUBPIXEL_BITS
        )

    def glow(self, x: float, y: float, reach: float, tone: Array, strength: float) -> None:
        """A soft light that falls off as exp(-distance / reach)."""
        where = self.box(x, y, reach * 4, reach * 4)
        distance = np.hypot(self.x[:, where[1]] - np.float32(x), self.y[where[0]] - np.float32(y))
        self.blend(tone, np.float32(strength) * np.exp(-distance / np.float32(reach)), where)

    def discs_mask(self, discs: Iterable[tuple[float, float, float]], where: tuple[slice, slice]) -> Array:
        """Opacity (h, w) of many circles (x, y, radius) inside the box `where`."""
        top, left = where[0].start, where[1].start
        mask = np.zeros((where[0].stop - top, where[1].stop - left), np.uint8)
        to_fixed = self.scale * 16
        for x, y, radius in discs:
            centre = (int(x * to_fixed - 8 - left * 16), int(y * to_fixed - 8 - top * 16))
            cv2.circle(mask, centre, max(6, int(radius * to_fixed)), 255, -1, cv2.LINE_AA, SUBPIXEL_BITS)
        opacity: Array = mask.astype(np.float32) * np.float32(1 / 255)
        return opacity

    def lines_mask(
        self, lines: Iterable[tuple[Sequence[Point], float]], where: tuple[slice, slice] | None = None
    ) -> Array:
        """Opacity of many open lines (points, width in units) inside the box `where` (default: everywhere)."""
        box = where or (slice(0, self.size), slice(0, self.size))
        top, left = box[0].start, box[1].start
        mask = np.zeros((box[0].stop - top, box[1].stop - left), np.uint8)
        offset = np.array([left * 16, top * 16], np.int32)
        for points, width in lines:
            thickness = max(1, round(width * self.scale))
            cv2.polylines(mask, [self._fixed(points) - offset], False, 255, thickness, cv2.LINE_AA, SUBPIXEL_BITS)
        opacity: Array = mask.astype(np.float32) * np.float32(1 / 255)
        return opacity

    def _fixed(self, points: Sequence[Point] | Array) -> npt.NDArray[np.int32]:
        """Units to OpenCV's fixed-point pixel coordinates (N, 2); pixel centres lie at whole numbers there."""
        return np.rint(np.asarray(points, np.float64) * (self.scale * 16) - 8).astype(np.int32)
