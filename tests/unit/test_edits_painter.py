"""Keep the composition, redo the texture: locked bands on the bundled painter, with another prompt and other noise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from studio.diffusion.edits import BandLock, renoised
from studio.diffusion.observe import Run, observe
from studio.diffusion.wavelets import split_bands

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # the schedulers' own, on numpy 2

PAINTER = Path(__file__).resolve().parents[2] / "assets" / "models" / "painter"
LAKE, FOREST = "an oil painting of a mountain lake at dawn", "a woodblock print of a forest at night"
STEPS = 10


@pytest.fixture(scope="module")
def painter() -> Iterator[Any]:
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(PAINTER, dtype=torch.float32, local_files_only=True)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def paint(pipe: Any, prompt: str, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return pipe(prompt, num_inference_steps=STEPS, generator=generator, output_type="latent").images


@pytest.fixture(scope="module")
def lake(painter: Any) -> Run:
    with observe(painter) as run:
        paint(painter, LAKE, seed=1)
    return run


def correlations(a: Tensor, b: Tensor, levels: int = 3) -> list[float]:
    """Of every band, coarse to fine."""
    pairs = zip(list(split_bands(a, "db2", levels)), list(split_bands(b, "db2", levels)), strict=True)
    return [float(torch.corrcoef(torch.stack([x.flatten(), y.flatten()]))[0, 1]) for x, y in pairs]


def brightness(pipe: Any, latents: Tensor) -> Tensor:
    with torch.no_grad():
        return pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample.mean(1)


def test_locked_bands_stay_and_the_finest_comes_anew(painter: Any, lake: Run) -> None:
    end = lake.steps[-1].x_next
    fresh = torch.randn(end.shape, generator=torch.Generator().manual_seed(9))
    point = renoised(lake.at(2), fresh)
    with observe(painter, resume=point.lock([0, 1, 2], reference=lake.steps, wavelet="db2", levels=3)):
        held = paint(painter, FOREST, seed=1)
    with observe(painter, resume=point):
        free = paint(painter, FOREST, seed=1)
    locked, unlocked = correlations(held, end), correlations(free, end)
    assert min(locked[:3]) > 0.999
    assert max(unlocked[:3]) < 0.9  # without the lock, they go
    assert locked[3] < 0.5
    # and in the picture: what is coarser than 32 pixels is that of the lake, what is finer than 2 is not
    painted, wanted, other = (brightness(painter, latents) for latents in (held, end, free))
    assert correlations(painted, wanted, levels=5)[0] > 0.98
    assert correlations(other, wanted, levels=5)[0] < 0.5
    assert correlations(painted, wanted, levels=5)[5] < 0.6


def test_lock_lends_a_composition_to_a_run_with_another_seed(painter: Any, lake: Run) -> None:
    end = lake.steps[-1].x_next
    with observe(painter, hooks=[BandLock([0], lake.steps, wavelet="db2", levels=3)]):
        lent = paint(painter, FOREST, seed=2)
    locked = correlations(lent, end)
    assert locked[0] > 0.999
    assert locked[3] < 0.3


def test_lock_that_lets_go_half_way_leaves_room(painter: Any, lake: Run) -> None:
    end = lake.steps[-1].x_next
    ends = {}
    for release in (0.0, 0.8):
        point = lake.at(2).lock([0], reference=lake.steps, wavelet="db2", levels=3, release=release)
        with observe(painter, resume=point):
            ends[release] = correlations(paint(painter, FOREST, seed=1), end)[0]
    with observe(painter, resume=lake.at(2)):
        ends[1.0] = correlations(paint(painter, FOREST, seed=1), end)[0]
    assert ends[0.0] > ends[0.8] > ends[1.0]
