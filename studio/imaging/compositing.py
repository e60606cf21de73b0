"""Layers over layers, exactly: the same integers here and in the page's own script (`assets/canvas_*.js`).

Pixels are uint8 RGBA (H, W, 4), alpha not premultiplied. Everything is whole numbers, so that a document that the page
shows and the file that this side writes agree in every byte. `tests/data/compositing.json` holds cases that both sides
are tested with.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from studio.imaging.geometry import Bounds, Extent
from studio.imaging.png import Pixels

OPACITY_RANGE = (0, 100)  # percent
_STRIP = 1 << 18  # pixels worked on at a time: what is in between stays in the processor's cache


@dataclass(frozen=True, eq=False)
class Layer:
    """Pixels at a place of a document, which they may reach out of on any side."""

    pixels: Pixels  # (H, W, 4)
    x: int = 0
    y: int = 0
    opacity: int = 100  # percent
    visible: bool = True
    name: str = ""

    @property
    def bounds(self) -> Bounds:
        return Bounds(self.x, self.y, self.pixels.shape[1], self.pixels.shape[0])


def over(bottom: Pixels, top: Pixels, opacity: int = 100) -> Pixels:
    """`top`, at `opacity` percent, over `bottom`: uint8 (..., 4) and (..., 4) of one shape -> the same shape, new.

    With O = round(opacity * 255 / 100), halves up, for every pixel

        a     = (A_top * O + 127) // 255
        W     = a * 255 + A_bottom * (255 - a)
        A_out = (W + 127) // 255
        C_out = (C_top * a * 255 + C_bottom * A_bottom * (255 - a) + W // 2) // W, and 0 where W is 0.

    So an opaque pixel replaces what is below, a transparent one leaves it, and what is transparent altogether has no
    colour. Raises ValueError for other arrays or an opacity outside of 0 to 100.
    """
    _check(bottom)
    _check(top)
    if bottom.shape != top.shape:
        raise ValueError(f"Pixels of shape {top.shape} do not lie over {bottom.shape}.")
    result = np.array(bottom, order="C")
    flat, source = result.reshape(-1, 4), np.ascontiguousarray(top).reshape(-1, 4)
    strength = _strength(opacity)
    for start in range(0, flat.shape[0], _STRIP):
        part = slice(start, start + _STRIP)
        _mix(flat[part], source[part], strength)
    return result


def flatten(layers: Iterable[Layer], extent: Extent) -> Pixels:
    """The visible layers from bottom to top, as one picture (extent.height, extent.width, 4) on nothing."""
    canvas = np.zeros((extent.height, extent.width, 4), np.uint8)
    for layer in layers:
        if layer.visible:
            _check(layer.pixels)
            _lay(canvas, layer.pixels, layer.x, layer.y, layer.opacity)
    return canvas


def paste(picture: Pixels, piece: Pixels, x: int, y: int, opacity: int = 100) -> Pixels:
    """A copy of `picture`, (H, W, 3) or (H, W, 4), with `piece`, (h, w, 4), over it from column `x` and row `y` on.

    What of the piece lies outside is left out. Wherever the piece is transparent or absent, every byte stays, even
    the colours of pixels that nobody sees. Raises ValueError for other arrays.
    """
    _check(piece)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] not in (3, 4):
        raise ValueError(f"A picture is uint8 (H, W, 3) or (H, W, 4), not {picture.dtype} {picture.shape}.")
    result = np.array(picture, order="C")
    spot = _meeting(result, piece, x, y)
    if spot is None:
        return result
    place, source = spot
    below = result[place.slices]
    if below.shape[2] == 3:
        below = np.concatenate([below, np.full((*below.shape[:2], 1), 255, np.uint8)], axis=2)
    mixed = over(below, source, opacity)
    acts = (source[..., 3:].astype(np.uint32) * _strength(opacity) + 127) // 255 > 0
    result[place.slices] = np.where(acts, mixed, below)[..., : result.shape[2]]
    return result


def _lay(canvas: Pixels, pixels: Pixels, x: int, y: int, opacity: int) -> None:
    spot = _meeting(canvas, pixels, x, y)
    if spot is None:
        return
    place, source = spot
    strength = _strength(opacity)
    rows = max(_STRIP // place.width, 1)
    target = canvas[place.slices]
    for start in range(0, place.height, rows):
        part = slice(start, start + rows)
        _mix(target[part], source[part], strength)


def _meeting(canvas: Pixels, piece: Pixels, x: int, y: int) -> tuple[Bounds, Pixels] | None:
    """Where the piece meets the canvas, and its pixels there."""
    whole = Bounds(0, 0, canvas.shape[1], canvas.shape[0])
    place = whole.intersection(Bounds(x, y, piece.shape[1], piece.shape[0]))
    if place is None:
        return None
    return place, piece[Bounds(place.x - x, place.y - y, place.width, place.height).slices]


def _mix(target: np.ndarray[Any, Any], source: np.ndarray[Any, Any], strength: int) -> None:
    """In place: the formula of `over` on uint8 (..., 4). The largest number is 255 ** 3 * 1.5, well below 2 ** 32."""
    alpha = source[..., 3].astype(np.uint32)
    alpha *= strength
    alpha += 127
    alpha //= 255
    weight = target[..., 3] * (255 - alpha)  # of what is below
    alpha *= 255  # now of what is above
    total = alpha + weight
    divisor = np.maximum(total, 1)
    half = total // 2
    for channel in range(3):
        colour = source[..., channel] * alpha
        colour += target[..., channel] * weight
        colour += half
        colour //= divisor
        target[..., channel] = colour
    target[..., 3] = (total + 127) // 255


def _strength(opacity: int) -> int:
    """Percent -> 0 to 255, halves up: 10 % is 26, 30 % is 77."""
    low, high = OPACITY_RANGE
    if not low <= opacity <= high:
        raise ValueError(f"An opacity is {low} to {high} percent, not {opacity}.")
    return (opacity * 255 + 50) // 100


def _check(pixels: Pixels) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim < 1 or pixels.shape[-1] != 4:
        raise ValueError(f"Pixels to lay over each other are uint8 (..., 4), not {pixels.dtype} {pixels.shape}.")
