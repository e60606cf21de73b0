"""What happens in a denoising run, as frozen values.

How things are counted, here and in all that uses it:

    index    evaluations of the solver: 0 to total - 1
    number   steps of the request: 1 to count. Solvers of second order (Heun) evaluate twice in one, at the indices
             order * (number - 1) to order * number - 1
    step     the same from 0, number - 1, where a person says one: `start_at(step)`, `until`, the passes of a `Plan`
    place    in the scheduler's list of timesteps: begin_index + index, where begin_index is that of the run's first
             step (above 0 for a weakened image-to-image, which leaves out the beginning of its list)

Some loops step their scheduler more often than the list is long: their numbers go beyond `count`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import Tensor

from studio.diffusion.layout import PLANE, Layout


@dataclass(frozen=True, eq=False)
class Step:
    """One evaluation of the solver, as it happened. Tensors are latents, shaped as the pipeline's scheduler saw them.

    A sample is x = signal * clean + noise * n, in the scheduler's own representation: variance preserving (signal² +
    noise² = 1), exploding (signal 1, noise sigma) or along a flow (signal 1 - sigma, noise sigma). The four numbers
    are None where a scheduler has no such thing.
    """

    index: int  # of the evaluation, from 0; what else is counted is in the table above
    total: int  # evaluations that this run will make
    order: int  # evaluations per step of the request
    timestep: float
    sigma: float | None  # noise level entering, in the scheduler's own parametrisation; None where it has none
    x: Tensor  # entering
    denoised: Tensor | None  # the model's clean estimate at x; None for schedulers that have no such thing
    x_next: Tensor  # leaving, after every hook
    signal: float | None = None  # of x
    noise: float | None = None
    signal_next: float | None = None  # of the level that the solver steps to
    noise_next: float | None = None
    layout: Layout = field(default=PLANE)  # how x is laid out: which axes are space
    deviation: float = 1.0  # of the noise n; other than 1 only where clean latents come in a unit of their own
    final: bool = False  # whether the schedule ends with this step, so that the picture itself leaves it

    @property
    def number(self) -> int:
        """The step of the request that this evaluation belongs to, counted from 1."""
        return self.index // self.order + 1

    @property
    def count(self) -> int:
        """How many steps the request has."""
        return (self.total - 1) // self.order + 1

    @property
    def level(self) -> tuple[float, float] | None:
        """(signal, noise) of x."""
        return None if self.signal is None or self.noise is None else (self.signal, self.noise)

    @property
    def noise_level(self) -> float:
        """From 1 (pure noise) to 0 (clean): sigma along a flow, otherwise noise / sqrt(signal² + noise²).

        The same for every solver of one model at one level. A scheduler without levels counts its steps down instead.
        """
        if self.signal is None or self.noise is None:
            return 1 - self.index / max(self.total, 1)
        return level_of_noise(self.signal, self.noise)

    @property
    def n_hat(self) -> Tensor | None:
        """The noise that the model implies, (x - signal * denoised) / noise; None where that is not defined."""
        if self.denoised is None or self.signal is None or not self.noise:
            return None
        return (self.x - self.signal * self.denoised) / self.noise


def level_of_noise(signal: float, noise: float) -> float:
    """How noisy a sample is, from 1 to 0: sigma along a flow, otherwise noise / sqrt(signal² + noise²)."""
    if abs(signal + noise - 1) < 1e-5:  # a flow: elsewhere this sum is 1 at the two ends only
        return noise
    return 1.0 if math.isinf(noise) else noise / math.hypot(signal, noise)
