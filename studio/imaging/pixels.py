"""Pixels outside, uint8 (H, W, C), and inside, float (B, C, H, W) in [-1, 1]. Knows no model and no file."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from studio.errors import StudioError
from studio.imaging.geometry import Extent

Pixels: TypeAlias = "np.ndarray[Any, np.dtype[np.uint8]]"


def to_float(pixels: Pixels, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 (H, W, C) or (B, H, W, C) -> float (B, C, H, W) in [-1, 1]; 0 becomes -1, 255 becomes 1.

    Raises ValueError for another dtype or number of axes.
    """
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4):
        raise ValueError(f"Pixels are uint8 (H, W, C) or (B, H, W, C), not {pixels.dtype} {pixels.shape}.")
    batch = pixels if pixels.ndim == 4 else pixels[None]
    images = torch.from_numpy(np.array(batch)).movedim(-1, 1)  # a copy: the result never shares memory
    return images.to(torch.float32).div_(127.5).sub_(1).to(dtype).contiguous()


def to_uint8(images: Tensor) -> Pixels:
    """Float (B, C, H, W) in [-1, 1] -> uint8 (B, H, W, C).

    Values outside are clipped, the rest rounded to nearest. Undoes `to_float` exactly. Raises ValueError for
    another number of axes, StudioError for NaN.
    """
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(f"Images are float (B, C, H, W), not {images.dtype} {tuple(images.shape)}.")
    levels = images.detach().float().add(1).mul_(127.5)
    if torch.isnan(levels).any():
        raise StudioError("The model's answer holds values that are no numbers (NaN). Try other settings.")
    array = levels.round_().clamp_(0, 255).to(torch.uint8).movedim(1, -1).contiguous().cpu().numpy()
    return np.asarray(array, dtype=np.uint8)


def thumbnail(pixels: Pixels, longest: int) -> Pixels:
    """uint8 (H, W, C) -> uint8 (h, w, C), its longer side at most `longest` pixels, by exact area averages.

    Never enlarges. With an alpha channel (C = 4), colours are averaged as they are seen: weighted by their
    alpha.
    """
    height, width, channels = pixels.shape
    small = Extent(width, height).fitted(longest)
    if (small.width, small.height) == (width, height):
        return np.array(pixels)
    if channels != 4:
        return _rounded(_shrunk(pixels, small))
    alpha = pixels[..., 3:].astype(np.uint32)
    colour = _shrunk(pixels[..., :3] * alpha, small)
    mean_alpha = _shrunk(alpha, small)
    seen = colour / np.where(mean_alpha > 0, mean_alpha, 1)
    return _rounded(np.concatenate([seen, mean_alpha], axis=-1))


def _shrunk(values: np.ndarray[Any, np.dtype[Any]], small: Extent) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Whole numbers (H, W, C) -> their means over an even grid of cells, float64 (small h, small w, C)."""
    rows = _cell_means(values, small.height)
    return np.swapaxes(_cell_means(np.swapaxes(rows, 0, 1), small.width), 0, 1)


def _cell_means(values: np.ndarray[Any, np.dtype[Any]], cells: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Means over `cells` equal stretches of axis 0, the pixels at their ends counted in part."""
    length = values.shape[0]
    edges = np.linspace(0, length, cells + 1)
    whole = np.minimum(edges.astype(np.int64), length - 1)
    part = (edges - whole)[:, None, None]
    kind = np.float64 if values.dtype.kind == "f" else np.uint32  # exact: 66,000 rows of 255 * 255 fit
    totals = np.zeros((length + 1, *values.shape[1:]), dtype=kind)
    np.cumsum(values, axis=0, dtype=kind, out=totals[1:])
    at_edges = totals[whole] + part * values[whole]
    means: np.ndarray[Any, np.dtype[np.float64]] = np.diff(at_edges, axis=0) * (cells / length)
    return means


def _rounded(values: np.ndarray[Any, np.dtype[np.float64]]) -> Pixels:
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)
