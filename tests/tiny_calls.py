"""What every tiny pipeline is called with: the same random prompts and pictures each time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Generators = torch.Generator | list[torch.Generator]
Call = Callable[[Any, Generators | None, int], Tensor]
"""Runs a pipeline with a generator and a number of steps, and returns what it makes."""
Build = Callable[[], Any]
"""Makes a pipeline."""


def fixed(*shape: int, seed: int = 7) -> Tensor:
    """Random numbers that are the same in every call: prompts and pictures are no part of what is tried."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def picture(side: int, seed: int = 3) -> Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(seed))


def half_mask(side: int) -> Tensor:
    mask = torch.zeros(1, 1, side, side)
    mask[:, :, : side // 2] = 1
    return mask


def result(pipe: Any, field: str = "images", /, **arguments: Any) -> Tensor:
    """What the pipeline makes of these arguments, which are handed to it in its own precision."""
    made: Tensor = pipe(**{name: _as(pipe.dtype, value) for name, value in arguments.items()})[field]
    return made


def call_with(field: str = "images", /, **arguments: Any) -> Call:
    """A call with these arguments, for latents where they say nothing else."""

    def call(pipe: Any, generator: Generators | None, steps: int) -> Tensor:
        return result(
            pipe, field, generator=generator, **{"output_type": "latent", "num_inference_steps": steps} | arguments
        )

    return call


def _as(dtype: torch.dtype, value: Any) -> Any:
    if isinstance(value, list):
        return [_as(dtype, item) for item in value]
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value
