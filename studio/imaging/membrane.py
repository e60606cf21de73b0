"""Smooth surfaces over holes: what is known around a hole, continued inward as a soap film would.

The solution of Laplace's equation with the known pixels as its border, found from coarse to fine. Float arrays only;
knows neither pictures nor masks.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

Field = Any  # float32 (H, W, C)
Known = Any  # bool (H, W)

_COARSEST = 4  # px; below this a mean of all that is known begins
_FINE, _ROUGH = 24, 96  # sweeps where there are many pixels, and where there are few
_FEW = 64 * 64
_AROUND = np.array([[0, 0.25, 0], [0.25, 0, 0.25], [0, 0.25, 0]], np.float32)


def stretched(values: Field, known: Known) -> Field:
    """`values` where known; elsewhere a smooth surface that meets them. float32 (H, W, C), bool (H, W) -> the same.

    The border of the array is free: nothing is drawn towards it. Where nothing is known, zeros.
    """
    field = np.ascontiguousarray(values, np.float32)
    if not known.any():
        return np.zeros_like(field)
    if known.all():
        return field.copy()
    height, width = known.shape
    if min(height, width) <= _COARSEST:
        rough = np.broadcast_to(field[known].mean(axis=0), field.shape)
    else:
        rough = _enlarged(stretched(*_halved(field, known)), height, width)
    hole = ~known
    surface = np.where(hole[..., None], rough, field).astype(np.float32)
    rows, columns = _spot(hole)  # and the line around it, which is known or the array's border
    inner, free = surface[rows, columns], hole[rows, columns][..., None]
    for _ in range(_ROUGH if inner.shape[0] * inner.shape[1] <= _FEW else _FINE):
        around = cv2.filter2D(inner, -1, _AROUND, borderType=cv2.BORDER_REPLICATE).reshape(inner.shape)
        np.copyto(inner, around, where=free)
    return surface


def _halved(field: Field, known: Known) -> tuple[Field, Known]:
    """Means of what is known in each 2 × 2 pixels; a cell is known where one of its pixels is."""
    odd = (field.shape[0] % 2, field.shape[1] % 2)
    weights = np.pad(known, ((0, odd[0]), (0, odd[1]))).astype(np.float32)[..., None]
    padded = np.pad(field, ((0, odd[0]), (0, odd[1]), (0, 0))) * weights
    count = _sums(weights)
    return _sums(padded) / np.maximum(count, 1), count[..., 0] > 0


def _sums(values: Field) -> Field:
    rows = values[0::2] + values[1::2]
    return rows[:, 0::2] + rows[:, 1::2]


def _enlarged(field: Field, height: int, width: int) -> Field:
    large = cv2.resize(field, (2 * field.shape[1], 2 * field.shape[0]), interpolation=cv2.INTER_LINEAR)
    return large.reshape(2 * field.shape[0], 2 * field.shape[1], -1)[:height, :width]


def _spot(hole: Known) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
    return (
        slice(max(int(rows[0]) - 1, 0), int(rows[-1]) + 2),
        slice(max(int(columns[0]) - 1, 0), int(columns[-1]) + 2),
    )
