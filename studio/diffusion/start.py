"""Starting in the middle of a schedule without a recorded run: any text-to-image pipeline goes on from given latents.

    clean = ...  # latents of a picture, laid out as the sample
    with observe(pipe, resume=start_at(12, clean, seeded_noise(clean, seed=7))):
        image = pipe("a lake at dawn", num_inference_steps=20).images[0]  # makes steps 12 to 19 only

The sample enters as the forward process has it, signal * clean + noise * n, at the level of that step of the schedule
that the pipeline sets. Late steps keep what is there, early ones take it as a hint. How the loop is brought there is
in `entrance`; the run is recorded, resumed and saved as any other.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from studio.diffusion.layout import PLANE, Layout
from studio.errors import StudioError

SEED_LIMIT = 2**63


@dataclass(frozen=True, eq=False)
class Start:
    """A place to begin at: `with observe(pipe, resume=start_at(12, clean, noise)): pipe(...)`.

    `reseed` says what the generators that the loop draws from are seeded with there; None leaves them as the pipeline
    has them. Solvers begin without a memory, as at the beginning of any run.
    """

    step: int  # of the request, counted from 0, that is made first
    clean: Tensor  # latents laid out as the sample, in the units of the run's clean estimates
    noise: Tensor  # standard normal, shaped as `clean`
    reseed: int | None = None


def start_at(step: int, clean: Tensor, noise: Tensor, reseed: int | None = None) -> Start:
    """The start of a run at `step` of the request, counted from 0, from clean latents and noise of their shape.

    Step 0 is no exception: a schedule that begins with a little signal left gets it, as a model is trained on it, and
    as image-to-image pipelines do at full strength. For a run that shall know nothing of a picture, start none.

    Raises StudioError, in words, for what cannot be; that the step and the shape fit the pipeline's call is checked
    when it is made.
    """
    if type(step) is not int or step < 0:
        raise StudioError(f"A run starts at one of its steps, counted from 0, not at {step!r:.40}.")
    for name, tensor in (("The clean latents", clean), ("The noise", noise)):
        check_latents(name, tensor)
    if clean.shape != noise.shape:
        raise StudioError(f"The clean latents are shaped {tuple(clean.shape)}, the noise {tuple(noise.shape)}.")
    if reseed is not None:
        check_seed(reseed)
    return Start(step, clean, noise, reseed)


def seeded_noise(like: Tensor, seed: int, layout: Layout = PLANE) -> Tensor:
    """Standard normal noise shaped and placed as `like`, in float32, drawn on the CPU: the same on every device.

    It is drawn in space, whatever the layout. So, with the seed of the generator that a pipeline is given, it is the
    noise that most text-to-image pipelines begin with themselves.
    """
    check_seed(seed)
    shape = layout.to_space(like).shape if layout.axes else like.shape
    noise = torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed), dtype=torch.float32)
    return (layout.from_space(noise, like) if layout.axes else noise).to(like.device)


def noised(clean: Tensor, noise: Tensor, signal: float, amount: float) -> Tensor:
    """The forward process: signal * clean + amount * noise. Here and nowhere else, so that all agree to the bit."""
    return torch.add(signal * clean, noise, alpha=amount)


def check_latents(name: str, latents: object) -> None:
    """Raises StudioError unless `latents` is a tensor of finite floating-point numbers."""
    if not isinstance(latents, Tensor):
        raise StudioError(f"{name} should be a tensor of latents, not {type(latents).__name__}.")
    if not latents.is_floating_point() or not latents.numel():
        raise StudioError(
            f"{name} should be floating-point latents, not {latents.dtype} shaped {tuple(latents.shape)}."
        )
    if not bool(latents.isfinite().all()):
        raise StudioError(f"{name} hold numbers that are infinite or none at all (NaN).")


def check_seed(seed: object) -> None:
    """Raises StudioError unless `seed` is one that a generator takes."""
    if type(seed) is not int or not 0 <= seed < SEED_LIMIT:
        raise StudioError(f"A seed is a whole number from 0 to {SEED_LIMIT - 1}, not {seed!r:.40}.")
