"""From pixels to clean latents: the way back of `layouts.decode`, for pipelines whose autoencoder can be asked."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from studio.diffusion.layout import Layout, laid_out
from studio.errors import StudioError
from studio.imaging.geometry import Extent
from studio.models.layouts import device_of, exact, statistics, unit_of


@torch.inference_mode()
def encode(pipe: Any, pixels: Tensor, layout: Layout, like: Tensor) -> Tensor | None:
    """Clean latents, laid out as `like`, of `pixels` (B, 3, H, W) in [-1, 1].

    The mode of the autoencoder's distribution is taken, so that the same pixels always give the same latents. None for
    pipelines whose encoding is more than one call of the autoencoder, scale and shift.
    """
    plane = _plane(pipe, pixels)
    return layout.from_space(plane.to(device=like.device, dtype=like.dtype), like) if plane is not None else None


@torch.inference_mode()
def clean_latents(pipe: Any, pixels: Tensor, size: Extent) -> tuple[Tensor, Layout] | None:
    """Clean latents as the scheduler of `pipe` will see them, and how they lie, before any run has shown it.

    `pixels` (B, 3, H, W) in [-1, 1] are `size`, that of the pipeline's call. None where `encode` gives None.
    """
    plane = _plane(pipe, pixels)
    if plane is None:
        return None
    try:
        return laid_out(pipe, plane, size.height, size.width)
    except StudioError:
        return None


def _plane(pipe: Any, pixels: Tensor) -> Tensor | None:
    """Clean latents (B, C, h, w) of pixels."""
    vae = getattr(pipe, "vae", None)
    if vae is None or not hasattr(vae, "encode") or not hasattr(vae.config, "scaling_factor"):
        return None
    try:
        with exact(vae):
            found = vae.encode(pixels.to(device=device_of(pipe), dtype=vae.dtype), return_dict=False)[0]
    finally:
        if hasattr(vae, "_hf_hook"):  # makes room again for what the run needs first, also where it had too little
            pipe.maybe_free_model_hooks()
    plane: Tensor = found.mode() if hasattr(found, "mode") and not isinstance(found, Tensor) else found
    if plane.ndim != 4:
        return None
    normal = statistics(vae.config, plane)
    if normal is None:
        return None
    mean, std = normal
    normalised: Tensor = (plane - mean) / std * vae.config.scaling_factor * unit_of(pipe)
    return normalised
