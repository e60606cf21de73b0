"""Smooth random fields and lines: the raw material of clouds, rock, ripples and paper. Knows nothing of pictures."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]
SAMPLES_PER_CELL = 8


def noise_field(
    rng: np.random.Generator, shape: tuple[int, int], cells: tuple[float, float], octaves: int = 4, decay: float = 0.5
) -> Array:
    """Sum of ever finer smooth noise, about 1 in standard deviation.

    `shape` is (H, W) in pixels, `cells` how many cells the coarsest octave has down and across; `decay` is the weight
    of each octave relative to the one before. Octaves finer than the pixels are left out. Returns float32 (H, W).
    """
    height, width = shape
    total: Array | None = None
    weight, power = 1.0, 0.0
    for octave in range(octaves):
        down, across = int(cells[0] * 2**octave), int(cells[1] * 2**octave)
        if octave and (down > height or across > width):
            break
        grid = rng.standard_normal((max(2, down) + 2, max(2, across) + 2), dtype=np.float32)
        # A coarse octave is smooth: a few samples per cell hold it, and the sum grows to full size octave by octave.
        inner = (min(width, SAMPLES_PER_CELL * grid.shape[1]), min(height, SAMPLES_PER_CELL * grid.shape[0]))
        layer = cv2.resize(grid, inner, interpolation=cv2.INTER_CUBIC)
        if total is None:
            total = layer
        else:
            total = cv2.resize(total, inner, interpolation=cv2.INTER_LINEAR) if total.shape != layer.shape else total
            cv2.scaleAdd(layer, weight, total, total)
        power += weight * weight
        weight *= decay
    if total is None:
        raise ValueError(f"Noise needs one octave or more, not {octaves}.")
    if total.shape != shape:
        total = cv2.resize(total, (width, height), interpolation=cv2.INTER_LINEAR)
    total *= np.float32(1.4 / np.sqrt(power))
    return total


def noise_line(
    rng: np.random.Generator, length: int, cells: float, octaves: int = 4, decay: float = 0.5, sharp: bool = False
) -> Array:
    """Noise of `length` samples, about 0.5 in standard deviation; `sharp` joins its points by straight lines."""
    total = np.zeros(length, np.float32)
    weight, sum_of_weights = 1.0, 0.0
    for octave in range(octaves):
        count = int(cells * 2**octave) + 2
        if count > length:
            break
        points = rng.standard_normal(count).astype(np.float32)
        if sharp:
            layer = np.interp(np.linspace(0, count - 1, length), np.arange(count), points).astype(np.float32)
        else:
            layer = cv2.resize(points[None], (length, 1), interpolation=cv2.INTER_CUBIC)[0]
        total += np.float32(weight) * layer
        sum_of_weights += weight
        weight *= decay
    return total / np.float32(sum_of_weights)


def rescaled(values: Array) -> Array:
    """The same line, stretched to run from 0 to 1."""
    low, high = float(values.min()), float(values.max())
    return ((values - low) / (high - low + 1e-6)).astype(np.float32)


def blurred(values: Array, sigma: float) -> Array:
    """Gaussian blur; `sigma` in pixels. A line (W,) or a field (H, W) or (H, W, C)."""
    if values.ndim == 1:
        line: Array = cv2.GaussianBlur(values[None], (0, 0), sigma)[0]
        return line
    field: Array = cv2.GaussianBlur(values, (0, 0), sigma)
    return field
