"""What happens in a denoising run, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Step:
    """One evaluation of the solver, as it happened. Tensors are latents, shaped as the pipeline's scheduler saw them.

    Solvers of order 2 (Heun) evaluate twice per step of the request: `index` counts evaluations from 0 to `total - 1`.
    """

    index: int
    total: int  # evaluations that this run will make
    order: int  # evaluations per step of the request
    timestep: float
    sigma: float | None  # noise level entering, in the scheduler's own parametrisation; None where it has none
    x: Tensor  # entering
    denoised: Tensor | None  # the model's clean estimate at x; None for schedulers that have no such thing
    x_next: Tensor  # leaving, after every hook

    @property
    def number(self) -> int:
        """The step of the request that this evaluation belongs to, counted from 1."""
        return self.index // self.order + 1

    @property
    def count(self) -> int:
        """How many steps the request has."""
        return (self.total - 1) // self.order + 1
