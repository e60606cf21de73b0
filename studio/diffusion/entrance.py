"""Brings a pipeline's loop to a step with a given sample, whatever the sample comes from.

The pipeline is called as ever and runs its own code. What it prepares before the loop is drawn and encoded as in a
whole run; then its first sample is replaced, the turns before the step are passed over or cut off, and right before
the first step that is made the solver is told where it stands.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from studio.diffusion.levels import Ladder, scalar
from studio.diffusion.memory import RandomState, restore_random, same
from studio.diffusion.obstacles import SKIP, obstacle_of, way_of
from studio.diffusion.timesteps import SkippedTimesteps, TrimmedTimesteps
from studio.errors import StudioError


class Entrance(ABC):
    """One entry into one pipeline's call. Raises StudioError where the pipeline does not come to the step."""

    _x: Tensor  # the sample to enter with
    _source = "the recorded run"  # whose arguments the pipeline has to be called with
    _begin_known = True  # whether the place that the run begins at is known before the pipeline has said it

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._way = way_of(pipe)
        self._place = 0  # in the list of timesteps, of the step that is made first
        self._full: Tensor | None = None  # that list
        self.begin = 0  # place in it that the run itself began at
        self.pending = False  # between `set_timesteps` and the first step
        self.first = False  # from then until that step has been checked
        self._before: tuple[RandomState, torch.device] | None = None  # the program's own random numbers
        self.start_over()

    def start_over(self) -> None:
        """A call of the pipeline begins."""
        self._fed: Tensor | None = None  # the sample that was put into the place of the prepared one
        self._generators_set = 0

    @property
    def index(self) -> int:
        """The number of evaluations that are passed over."""
        return self._place - self.begin

    # -- the pipeline's call, in the order of what happens ---------------------------------------------------------

    def feed(self, prepared: Any) -> Any:
        """What `prepare_latents` returned, with the sample in the place of the first tensor."""
        if self._fed is not None:
            return prepared  # a second lot of latents is conditioning
        first = prepared if isinstance(prepared, Tensor) else prepared[0]
        self._fed = fit_prepared(self._pipe, first, self._entering(first))
        return self._fed if isinstance(prepared, Tensor) else (self._fed, *prepared[1:])

    def begin_pass(self, scheduler: Any, ladder: Ladder) -> None:
        """The scheduler has set its timesteps: hands the loop a list that leads to the step."""
        self._full = full = scheduler.timesteps
        self.pending = self.first = True
        self._enter_from(0, scheduler, ladder)

        def begins_at(begin: int) -> int:
            if self.pending and not self._begin_known:
                self._enter_from(begin, scheduler, ladder)
            return self._place

        if self._way == SKIP:
            scheduler.timesteps = SkippedTimesteps.of(full, self._place, self._interrupt, begins_at)
        elif self._begin_known:
            scheduler.timesteps = torch.cat([full[: self.begin], full[self._place :]])
        else:
            scheduler.timesteps = TrimmedTimesteps.of(full, self._place, begins_at)

    def _enter_from(self, begin: int, scheduler: Any, ladder: Ladder) -> None:
        """Finds the place and the sample, where the run begins at `begin`."""
        before = self._x
        self._find(scheduler, ladder, begin)
        if self._fed is not None and self._x is not before:  # some pipelines prepare their latents first
            self._fed.copy_(fit_prepared(self._pipe, self._fed, self._entering(self._fed)))

    def arrive(self, scheduler: Any, device: torch.device) -> None:
        """The first step is about to be made, or its model input to be scaled: tells the solver where it stands."""
        self.pending = False
        scheduler.timesteps = self._full
        self._restore(scheduler, device)

    def check_first(self, ladder: Ladder, arguments: dict[str, Any]) -> None:
        """Makes sure that the pipeline has come to the step with the sample; completes the step's arguments."""
        self.first = False
        name, sample = type(self._pipe).__name__, arguments["sample"]
        obstacle = obstacle_of(self._pipe)
        if obstacle is not None:
            self._refuse(obstacle)
        timestep = scalar(arguments["timestep"])
        if ladder.nearest(timestep) != ladder.timesteps[self._place]:
            raise StudioError(
                f"{name} went on at timestep {timestep:g} instead of {ladder.timesteps[self._place]:g}. Call it with "
                f"the arguments of {self._source}: the same strength, the same number of steps."
            )
        if not same(sample, self._entering(sample)):
            raise StudioError(
                f"{name} changes its latents between preparing them and its first step in a way that is not known "
                f"here, so the sample of step {self.index} could not be put in."
            )
        self._hand_on(arguments)

    @abstractmethod
    def set_generators(self, generators: Sequence[torch.Generator]) -> None:
        """Sets the generators that have come to light and were not set yet."""

    # -- what differs by where the sample comes from -----------------------------------------------------------------

    @abstractmethod
    def _entering(self, like: Tensor) -> Tensor:
        """The sample, for latents as the pipeline has them at this point."""

    @abstractmethod
    def _find(self, scheduler: Any, ladder: Ladder, begin: int) -> None:
        """Sets the place of the step in the new list of timesteps and where the run begins in it, and the sample.

        `begin` is the place that the pipeline begins at, as far as it has said so.
        """

    @abstractmethod
    def _restore(self, scheduler: Any, device: torch.device) -> None:
        """Puts the solver and the global random generators into their state."""

    def _remember_random(self, device: torch.device) -> None:
        """The global generators are about to be set: keeps them as the program has them, at the first call alone."""
        if self._before is None:
            self._before = RandomState.read((), device, None), device

    def leave(self) -> None:
        """The block is left, whatever happened in it: the program goes on with the random numbers that it had."""
        if self._before is not None:
            random, device = self._before
            restore_random(random.torch_state, random.device_state, device)
            self._before = None

    @abstractmethod
    def _refuse(self, obstacle: str) -> None:
        """Raises StudioError if the obstacle stands in the way of this entry."""

    def _hand_on(self, arguments: dict[str, Any]) -> None:  # noqa: B027 (most have nothing to hand on)
        """Sets what the loop of the whole run would have handed to this step."""

    def _interrupt(self, skip: bool) -> None:
        self._pipe._interrupt = skip


def fit_prepared(pipe: Any, prepared: Tensor, x: Tensor) -> Tensor:
    """What the pipeline has to prepare so that its scheduler sees `x`. A new tensor.

    Some pipelines hide a part of their latents from the scheduler: the first frame, which is given, or channels that
    condition. That part stays as it was prepared. Raises StudioError where the shapes do not fit.
    """
    if type(pipe).__name__ == "SanaSprintPipeline":  # which scales what it has prepared; from a picture, it does not
        x = x / pipe.scheduler.config.sigma_data
    if prepared.shape == x.shape:
        return x.clone()
    fitted = None
    if prepared.ndim == x.ndim == 5:
        fitted = _with_part(prepared, x)
    elif prepared.ndim == 3 and x.ndim == 5 and hasattr(pipe, "_pack_latents"):
        fitted = _repacked(pipe, prepared, x)
    if fitted is None:
        raise StudioError(
            f"The latents to go on with are shaped {tuple(x.shape)}, but the pipeline prepares "
            f"{tuple(prepared.shape)}. Call it with the size and the number of pictures that they are of."
        )
    return fitted


def _with_part(prepared: Tensor, x: Tensor) -> Tensor | None:
    """Video latents with all frames but the first replaced, or all channels but those that only condition."""
    part = prepared.clone()
    window = part
    for axis, (whole, seen) in enumerate(zip(prepared.shape, x.shape, strict=True)):
        if whole == seen:
            continue
        if axis in (1, 2) and whole == seen + 1:
            window = window.narrow(axis, 1, seen)
        elif axis == x.ndim - 1 and whole > seen:
            window = window.narrow(axis, 0, seen)
        else:
            return None
    window.copy_(x)
    return part


def _repacked(pipe: Any, prepared: Tensor, x: Tensor) -> Tensor:
    """Packed video latents (B, N, C) whose frames after the first are `x` (B, C, F - 1, H, W)."""
    patches = (pipe.transformer_spatial_patch_size, pipe.transformer_temporal_patch_size)
    frames, height, width = x.shape[2] + 1, x.shape[3], x.shape[4]
    whole = pipe._unpack_latents(prepared, frames, height, width, *patches)
    packed: Tensor = pipe._pack_latents(torch.cat([whole[:, :, :1], x], dim=2), *patches)
    return packed
