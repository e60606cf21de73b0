"""Pixels outside, uint8 (H, W, C), and inside, float (B, C, H, W) in [-1, 1]. Knows no model and no file."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from studio.errors import StudioError

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
