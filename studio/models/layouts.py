"""Latents as the scheduler sees them, and the pixels they stand for.

How latents lie is known to `studio.diffusion.layout`; here they become pictures, (B, C, h, w) and then pixels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from studio.diffusion.layout import layout_of
from studio.errors import StudioError


def spatial(pipe: Any, latents: Tensor, width: int, height: int) -> Tensor | None:
    """The latents as (B, C, h, w), or None where they are no picture. `width` and `height` are pixels."""
    try:
        layout = layout_of(pipe, latents, height, width)
        plane = layout.to_space(latents)
    except StudioError:
        return None
    return plane if layout.axes == 2 and plane.ndim == 4 else None


@torch.inference_mode()
def decode(pipe: Any, latents: Tensor, width: int, height: int) -> Tensor | None:
    """Pixels (B, 3, H, W) in [-1, 1], float32 on the CPU, of clean latents as the scheduler saw them.

    None for pipelines whose decoding is more than scale, shift and one call of the autoencoder.
    """
    vae = getattr(pipe, "vae", None)
    plane = spatial(pipe, latents, width, height)
    if vae is None or plane is None or not hasattr(vae.config, "scaling_factor"):
        return None
    if plane.shape[1] != getattr(vae.config, "latent_channels", plane.shape[1]):
        return None  # cells of another plane than the autoencoder's
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
