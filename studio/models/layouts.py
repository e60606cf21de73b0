"""Latents as the scheduler sees them, and the pixels they stand for.

Families pack their latents differently; here they become (B, C, h, w), the layout in which space is the last two axes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def spatial(pipe: Any, latents: Tensor, width: int, height: int) -> Tensor | None:
    """The latents as (B, C, h, w), or None for layouts that are not pictures. `width` and `height` are pixels."""
    if latents.ndim == 4:
        return latents
    if latents.ndim == 3 and hasattr(pipe, "_unpack_latents"):
        unpacked: Tensor = pipe._unpack_latents(latents, height, width, pipe.vae_scale_factor)
        return unpacked[:, :, 0] if unpacked.ndim == 5 else unpacked
    return None


@torch.inference_mode()
def decode(pipe: Any, latents: Tensor, width: int, height: int) -> Tensor | None:
    """Pixels (B, 3, H, W) in [-1, 1], float32 on the CPU, of clean latents as the scheduler saw them.

    None for pipelines whose decoding is more than scale, shift and one call of the autoencoder.
    """
    vae = getattr(pipe, "vae", None)
    plane = spatial(pipe, latents, width, height)
    if vae is None or plane is None or not hasattr(vae.config, "scaling_factor"):
        return None
    if getattr(vae.config, "latents_mean", None) is not None:
        mean = torch.tensor(vae.config.latents_mean).view(1, -1, 1, 1).to(plane)
        std = torch.tensor(vae.config.latents_std).view(1, -1, 1, 1).to(plane)
        if mean.shape[1] != plane.shape[1]:
            return None
        plane = plane * std / vae.config.scaling_factor + mean
    else:
        plane = plane / vae.config.scaling_factor + (getattr(vae.config, "shift_factor", None) or 0.0)
    pixels = vae.decode(plane.to(device=vae.device, dtype=vae.dtype), return_dict=False)[0]
    return pixels.float().cpu() if pixels.ndim == 4 else None
