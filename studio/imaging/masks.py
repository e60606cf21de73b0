"""Masks: which pixels may change, and how much. Grown, shrunk, feathered, measured; the same numbers as on the page.

A mask is uint8 (H, W): 0 stays, 255 is new, between is a mixture. Distances are exact Euclidean ones between the
centres of pixels, kept as whole squares. `tests/data/masks.json` holds cases that both sides of the wire are tested
with.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import cv2
import numpy as np

from studio.imaging.geometry import Bounds
from studio.imaging.png import Pixels

Mask: TypeAlias = "np.ndarray[Any, np.dtype[np.uint8]]"  # (H, W)

REACH = 256  # px: the farthest that a mask is grown, shrunk or feathered
HALF = 128  # from here on a pixel counts as selected where only yes or no is asked
_TILE = 1024  # px; with REACH on both sides still short enough for exact squares, see `squared_distances`


def effective(mask: Mask, grow: int = 0, feather: int = 0) -> Mask:
    """The mask that acts: `grow` pixels larger (smaller if negative), then softened over `feather` pixels inward.

    Nothing outside of the grown mask is ever in it.
    """
    return feathered(grown(mask, grow), feather)


def grown(mask: Mask, pixels: int) -> Mask:
    """The mask with its border moved by `pixels`: outward, or inward if negative.

    0 leaves it as it is, with its soft values. Otherwise the result is 0 or 255: all pixels at most `pixels` from one
    of at least 128; or, inward, those of at least 128 that are farther than that from any below. The picture's own
    border is none: a mask that touches it does not shrink there.

    Raises ValueError beyond REACH and for what is no mask.
    """
    _check(mask, pixels)
    if pixels == 0:
        return np.array(mask)
    selected = mask >= HALF
    result = np.zeros_like(mask)
    place = _around(selected, max(pixels, 1))
    if place is None:
        return result
    inside = selected[place]
    if pixels > 0:
        near = squared_distances(inside, pixels) <= pixels * pixels
        result[place] = near * np.uint8(255)
    else:
        deep = squared_distances(~inside, -pixels) > pixels * pixels
        result[place] = deep * np.uint8(255)
    return result


def feathered(mask: Mask, pixels: int) -> Mask:
    """The mask fading to nothing over its outermost `pixels`, inward only; 0 leaves it as it is.

    With d the distance to the nearest pixel that is 0, and t = min(d / pixels, 1), a value v becomes
    floor(v * (t * t * (3 - 2 * t)) + 0.5), computed in double precision in this order. Beyond the picture nothing
    counts as 0: a mask that touches the picture's border stays full there.

    Raises ValueError for less than 0 or more than REACH, and for what is no mask.
    """
    if pixels < 0:
        raise ValueError(f"A mask is feathered over 0 to {REACH} pixels, not {pixels}.")
    _check(mask, pixels)
    result = np.array(mask)
    place = _around(mask, 1)
    if pixels == 0 or place is None:
        return result
    inside = mask[place]
    t = np.sqrt(np.arange(pixels * pixels + 1, dtype=np.float64)) / pixels
    fade = t * t * (3 - 2 * t)  # by squared distance
    squares = squared_distances(inside == 0, pixels)
    result[place] = np.floor(inside * fade[np.minimum(squares, pixels * pixels)] + 0.5)
    return result


def bounds(mask: np.ndarray[Any, Any]) -> Bounds | None:
    """The smallest rectangle that holds all pixels above 0, or None for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    x, y = int(columns[0]), int(rows[0])
    return Bounds(x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1)


def area(mask: Mask) -> int:
    """How many pixels are above 0: those that may change."""
    return int(np.count_nonzero(mask))


def squared_distances(targets: np.ndarray[Any, np.dtype[np.bool_]], reach: int = REACH) -> Any:
    """Bool (H, W) -> int32 (H, W): the squared distance to the nearest target, exact up to `reach`.

    Beyond it, and where there is none, some number above reach * reach. Raises ValueError for a reach beyond REACH.
    """
    if not 1 <= reach <= REACH:
        raise ValueError(f"Distances are measured over 1 to {REACH} pixels, not {reach}.")
    height, width = targets.shape
    result = np.empty((height, width), np.int32)
    # OpenCV's exact transform intersects parabolas in float32. In pieces of at most 1024 + 2 * 256 pixels, all whole
    # numbers that it meets are below 2 ** 24, and two crossings, where they are not the same, differ by more than it
    # rounds: whoever is nearest is found, and the square of the root that it returns rounds back to the whole number.
    for top in range(0, height, _TILE):
        for left in range(0, width, _TILE):
            inner = (slice(top, min(top + _TILE, height)), slice(left, min(left + _TILE, width)))
            above, beside = min(top, reach), min(left, reach)
            piece = targets[top - above : inner[0].stop + reach, left - beside : inner[1].stop + reach]
            result[inner] = _squares(piece, reach)[
                above : above + inner[0].stop - top, beside : beside + inner[1].stop - left
            ]
    return result


def mask_of(pixels: Pixels) -> Mask:
    """A picture as a mask: its transparency if that varies, else how bright it is.

    uint8 (H, W, 3) or (H, W, 4) -> (H, W). Brightness is (54 R + 183 G + 19 B + 128) // 256, which keeps greys as they
    are; pixels of a uniform, partly transparent picture are read as if they were opaque.
    """
    if pixels.shape[2] == 4 and pixels[..., 3].min() != pixels[..., 3].max():
        return np.array(pixels[..., 3])
    weighed = pixels[..., :3].astype(np.uint32) @ np.array([54, 183, 19], np.uint32)
    return ((weighed + 128) >> 8).astype(np.uint8)


def _squares(piece: Any, reach: int) -> Any:
    beyond = reach * reach + 1
    if not piece.any():
        return np.full(piece.shape, beyond, np.int32)
    distances = cv2.distanceTransform((~piece).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    np.minimum(distances, reach + 1, out=distances)
    return np.rint(distances.astype(np.float64) ** 2).astype(np.int32)


def _around(mask: np.ndarray[Any, Any], room: int) -> tuple[slice, slice] | None:
    """Rows and columns of everything in the mask, with `room` on each side where the picture has it.

    A single line of zeros around a mask is all that distances inside of it depend on.
    """
    found = bounds(mask)
    if found is None:
        return None
    top, left = max(found.y - room, 0), max(found.x - room, 0)
    return slice(top, found.bottom + room), slice(left, found.right + room)


def _check(mask: Mask, pixels: int) -> None:
    if mask.dtype != np.uint8 or mask.ndim != 2:
        raise ValueError(f"A mask is uint8 (H, W), not {mask.dtype} {mask.shape}.")
    if abs(pixels) > REACH:
        raise ValueError(f"A mask is moved or feathered by at most {REACH} pixels, not {pixels}.")
