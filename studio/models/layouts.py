"""Latents as the scheduler sees them, and the pixels they stand for.

How latents lie is known to `studio.diffusion.layout`; here they become pictures, (B, C, h, w) and then pixels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from studio.diffusion.layout import layout_of
from studio.diffusion.levels import deviation_of
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
    found = statistics(vae.config, plane)
    if found is None:
        return None
    mean, std = found
    plane = plane / unit_of(pipe) * std / vae.config.scaling_factor + mean
    with exact(vae):
        pixels = vae.decode(plane.to(device=device_of(pipe), dtype=vae.dtype), return_dict=False)[0]
    return pixels.float().cpu() if pixels.ndim == 4 else None


def upcasts(vae: Any) -> bool:
    """Whether an autoencoder overflows in the precision that it is kept in: that of XL does in float16."""
    return vae.dtype == torch.float16 and bool(getattr(vae.config, "force_upcast", False))


@contextlib.contextmanager
def exact(vae: Any) -> Iterator[None]:
    """An autoencoder in a precision that it can work in, as its own pipeline brings it there; then back again."""
    if not upcasts(vae):
        yield
        return
    vae.to(dtype=torch.float32)
    try:
        yield
    finally:
        vae.to(dtype=torch.float16)


def device_of(pipe: Any) -> torch.device:
    """Where the pipeline's autoencoder works, also while it waits elsewhere: one that is offloaded lies on the CPU."""
    device: torch.device = pipe._execution_device if hasattr(pipe.vae, "_hf_hook") else pipe.vae.device
    return device


def unit_of(pipe: Any) -> float:
    """How large the scheduler of a pipeline has its clean latents beside those of the autoencoder, scaled."""
    return deviation_of(type(pipe.scheduler).__name__, pipe.scheduler.config)


def statistics(config: Any, plane: Tensor) -> tuple[Tensor | float, Tensor | float] | None:
    """Mean and standard deviation, per channel or for all, of what an autoencoder makes: its latents (B, C, h, w) are
    normalised by them, then scaled. None where they are those of other latents.
    """
    if getattr(config, "latents_mean", None) is None:
        return getattr(config, "shift_factor", None) or 0.0, 1.0
    if len(config.latents_mean) != plane.shape[1]:
        return None
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (config.latents_mean, config.latents_std))
    return mean.to(plane), std.to(plane)
