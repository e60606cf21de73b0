"""A linear stand-in for an autoencoder's decoder: fast enough to look at every step of a run.

One linear map takes the latent at a position to the small patch of pixels there. It is fitted by least squares to
pairs of latents and their true decodings, so it is blocky but honest, and it costs less than a millisecond.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, eq=False)
class LinearPreview:
    """Pixels from latents by one matrix: `weight` (C + 1, 3 * patch²), the last row being the constant."""

    weight: Tensor
    patch: int  # px along a side of what one latent position stands for

    def fits(self, latents: Tensor) -> bool:
        """Whether these latents (B, C, h, w) have as many channels as the map expects."""
        return latents.ndim == 4 and latents.shape[1] + 1 == len(self.weight)

    def __call__(self, latents: Tensor) -> Tensor:
        """(B, C, h, w) -> pixels (B, 3, h * patch, w * patch) in [-1, 1]."""
        columns = latents.detach().float().cpu().movedim(1, -1)
        pixels = columns @ self.weight[:-1] + self.weight[-1]
        return functional.pixel_shuffle(pixels.movedim(-1, 1), self.patch).clamp(-1, 1)


FILE = "preview.safetensors"  # beside a pipeline's model_index.json


def save_preview(preview: LinearPreview, folder: Path) -> None:
    """Keeps the map beside the pipeline that it belongs to."""
    save_file({"weight": preview.weight.half().contiguous()}, folder / FILE, metadata={"patch": str(preview.patch)})


def read_preview(folder: Path) -> LinearPreview | None:
    """The map that lies beside a pipeline; None if there is none, or none that makes sense."""
    try:
        weight = load_file(folder / FILE)["weight"].float()
    except (OSError, KeyError, SafetensorError):
        return None
    if weight.ndim != 2 or weight.shape[1] % 3 or not torch.isfinite(weight).all():
        return None
    patch = round((weight.shape[1] // 3) ** 0.5)
    return LinearPreview(weight, patch) if 3 * patch * patch == weight.shape[1] else None


def fit_linear_preview(latents: Tensor, pixels: Tensor, ridge: float = 1e-2) -> LinearPreview:
    """The best linear map from `latents` (B, C, h, w) to `pixels` (B, 3, H, W), by ridge regression.

    H / h must be a whole number, the patch. `ridge` is relative to the latents' mean square: with fewer positions than
    unknowns it keeps the map tame.
    """
    patch = pixels.shape[-1] // latents.shape[-1]
    columns = latents.detach().float().cpu().movedim(1, -1).flatten(0, 2).double()
    targets = functional.pixel_unshuffle(pixels.detach().float().cpu(), patch).movedim(1, -1).flatten(0, 2).double()
    design = torch.cat([columns, torch.ones(len(columns), 1, dtype=torch.float64)], dim=1)
    gram = design.T @ design
    penalty = torch.eye(len(gram), dtype=torch.float64) * ridge * gram.diagonal().mean()
    penalty[-1, -1] = 0.0  # the constant is free
    weight = torch.linalg.solve(gram + penalty, design.T @ targets)
    return LinearPreview(weight.float(), patch)
