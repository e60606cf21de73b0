"""Masks: where a correction or an edit counts. Numbers over space, at the size of the picture or of the latents."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor

from studio.errors import StudioError


def checked_mask(given: object) -> Tensor:
    """A mask (H, W), or (L,) for sound, in [0, 1], as float64 on the CPU. Raises StudioError for anything else."""
    try:
        mask = torch.as_tensor(given).detach()  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError) as problem:
        raise StudioError(f"A mask is a tensor or an array, not {type(given).__name__}.") from problem
    if mask.ndim not in (1, 2) or mask.numel() == 0:
        raise StudioError(f"A mask is shaped (H, W), for sound (L,), not {tuple(mask.shape)}.")
    if mask.is_complex():
        raise StudioError(f"A mask has real numbers, not {mask.dtype}.")
    mask = mask.to("cpu", torch.float64)
    low, high = float(mask.min()), float(mask.max())
    if not (low >= 0 and high <= 1):  # NaN is neither
        raise StudioError(f"A mask runs from 0 (leave alone) to 1 (change), but this one from {low:g} to {high:g}.")
    return mask


def fit_mask(mask: Tensor, size: tuple[int, ...]) -> Tensor:
    """`mask` (H, W) or (L,), in float64, at `size` latents: every latent has the mean of the cells that it covers.

    Raises StudioError unless every latent covers the same whole number of the mask's cells along all axes.
    """
    shown = " × ".join(map(str, mask.shape))
    latents = " × ".join(map(str, size))
    if mask.ndim != len(size):
        shape = "(H, W)" if len(size) == 2 else "(L,)"
        raise StudioError(f"These latents are {latents}, so a mask is shaped {shape}, not ({shown}).")
    factors = {there // here if there % here == 0 else 0 for there, here in zip(mask.shape, size, strict=True)}
    if len(factors) != 1 or 0 in factors:
        raise StudioError(
            f"A mask of {shown} does not fit latents of {latents}. Give it the size of the picture, or of the latents."
        )
    (factor,) = factors
    if factor == 1:
        return mask
    if len(size) == 1:
        return F.avg_pool1d(mask[None], factor)[0]
    return F.avg_pool2d(mask[None], factor)[0]
