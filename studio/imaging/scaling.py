"""Pixels at another size: area averages where they get fewer, Lanczos where they get more. Knows no model."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from studio.imaging.geometry import Extent
from studio.imaging.png import Pixels

_LEVELS = np.ndarray[Any, np.dtype[np.float32]]


def scaled(pixels: Pixels, size: Extent) -> Pixels:
    """uint8 (H, W), (H, W, 3) or (H, W, 4) at another size; the same array where it has that size already.

    Each direction for itself. Colours of an (H, W, 4) count as much as they are seen: weighted by their alpha.
    """
    if pixels.shape[:2] == (size.height, size.width):
        return pixels
    values = pixels.astype(np.float32)
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        values[..., :3] *= values[..., 3:] / 255
        values = _resized(values, size)
        alpha = np.clip(values[..., 3:], 0, 255)
        values[..., :3] *= np.where(alpha > 0.5, 255 / np.maximum(alpha, 0.5), 0)
    else:
        values = _resized(values, size)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _resized(values: _LEVELS, size: Extent) -> _LEVELS:
    height, width = values.shape[:2]
    if size.width != width:
        way = cv2.INTER_AREA if size.width < width else cv2.INTER_LANCZOS4
        values = cv2.resize(values, (size.width, height), interpolation=way)
    if size.height != height:
        way = cv2.INTER_AREA if size.height < height else cv2.INTER_LANCZOS4
        values = cv2.resize(values, (size.width, size.height), interpolation=way)
    return values
