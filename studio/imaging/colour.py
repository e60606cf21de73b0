"""How different two colours look: OKLab (Ottosson 2020), in which equal distances look about equally large."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from studio.imaging.png import Pixels

Values = Any  # float32

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


def _linear_levels() -> Values:
    levels = np.arange(256) / 255
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4).astype(np.float32)


_LINEAR = _linear_levels()


def oklab(rgb: Pixels) -> Values:
    """uint8 sRGB (H, W, 3) -> float32 (H, W, 3): lightness 0 (black) to 1 (white), then green-red and blue-yellow."""
    cones = cv2.transform(_LINEAR[rgb], _TO_CONES)
    return cv2.transform(cv2.pow(np.maximum(cones, 0), 1 / 3), _TO_OKLAB)
