"""How different two colours look: OKLab (Ottosson 2020), in which equal distances look about equally large.

`oklab` is for what only the server computes. `oklab_levels` is the same in whole numbers, as `assets/canvas_colour.js`
has it too, so that both tell the same pixels apart (`tests/data/wand.json`).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from studio.imaging.png import Pixels

Values = Any  # float32
Levels = Any  # int32

WHITE = 8192  # the lightness of white in levels

_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    np.float32,
)
_TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ],
    np.float32,
)


def _linear_levels(kind: Any) -> Values:
    levels = np.arange(256) / 255
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4).astype(kind)


_LINEAR = _linear_levels(np.float32)


def oklab(rgb: Pixels) -> Values:
    """uint8 sRGB (H, W, 3) -> float32 (H, W, 3): lightness 0 (black) to 1 (white), then green-red and blue-yellow."""
    cones = cv2.transform(_LINEAR[rgb], _TO_CONES)
    return cv2.transform(cv2.pow(np.maximum(cones, 0), 1 / 3), _TO_OKLAB)


# light 0 to 65535, with coefficients in 32768ths (each row adds up to 1); then roots 0 to WHITE, with 4096ths
_LIGHT = np.floor(_linear_levels(np.float64) * 65535 + 0.5).astype(np.int32)
_LEVELS_TO_CONES = np.array([[13508, 17574, 1686], [6944, 22305, 3519], [2894, 9231, 20643]], np.int32)
_ROOTS = np.floor(WHITE * np.cbrt(np.arange(65536) / 65535) + 0.5).astype(np.int32)
_ROOTS_TO_LEVELS = np.array([[862, 3251, -17], [8102, -9948, 1846], [106, 3206, -3312]], np.int32)


def oklab_levels(rgb: Pixels) -> Levels:
    """uint8 sRGB (H, W, 3) -> int32 (H, W, 3): OKLab in whole numbers, lightness 0 (black) to WHITE."""
    light = _LIGHT[rgb]
    cones = [(_mixed(light, row) + (1 << 14)) >> 15 for row in _LEVELS_TO_CONES]
    roots = _ROOTS[np.stack(cones, axis=2)]
    return np.stack([(_mixed(roots, row) + (1 << 11)) >> 12 for row in _ROOTS_TO_LEVELS], axis=2)


def _mixed(planes: Levels, shares: Levels) -> Levels:
    return planes[..., 0] * shares[0] + planes[..., 1] * shares[1] + planes[..., 2] * shares[2]
