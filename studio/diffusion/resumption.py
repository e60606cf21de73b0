"""Carries out a resume: brings a pipeline's loop to the recorded step, and puts everything back as it was there.

The pipeline is called as ever and runs its own code. What it prepares before the loop is drawn and encoded as in the
whole run; then its first sample is replaced by the recorded one, the turns that are done are passed over or cut off,
and right before the first step that is made anew the solver's memory and the random generators are put back.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from studio.diffusion.elsewhere import entry_of
from studio.diffusion.fingerprint import as_json, fingerprint, same_model
from studio.diffusion.levels import Ladder, scalar
from studio.diffusion.memory import restore, restore_random, same
from studio.diffusion.obstacles import SKIP, obstacle_of, way_of
from studio.diffusion.resume import ResumePoint
from studio.diffusion.timesteps import SkippedTimesteps
from studio.errors import StudioError, shown


class Resumption:
    """One resume of one pipeline's call. Raises StudioError where the pipeline is not the one that was recorded."""

    def __init__(self, pipe: Any, point: ResumePoint) -> None:
        self._pipe = pipe
        self._point = point
        self._way = way_of(pipe)
        self._x = point.moment.x
        self._place = 0  # in the list of timesteps, of the step that is made first
        self._full: Tensor | None = None  # that list
        self.begin = 0  # place in it that the run itself began at
        self.pending = False  # between `set_timesteps` and the first step
        self.first = False  # from then until that step has been checked
        self._check_pipeline()
        self.start_over()

    def start_over(self) -> None:
        """A call of the pipeline begins."""
        self._fed: Tensor | None = None  # the sample that was put into the place of the prepared one
        self._generators_set = 0

    @property
    def index(self) -> int:
        """The number of steps that are passed over."""
        return self._place - self.begin

    # -- the pipeline's call, in the order of what happens ---------------------------------------------------------

    def feed(self, prepared: Any) -> Any:
        """What `prepare_latents` returned, with the recorded sample in the place of the first tensor."""
        if self._fed is not None:
            return prepared  # a second lot of latents is conditioning
        first = prepared if isinstance(prepared, Tensor) else prepared[0]
        self._fed = _fit(self._pipe, first, self._x.to(first.device))
        return self._fed if isinstance(prepared, Tensor) else (self._fed, *prepared[1:])

    def begin_pass(self, scheduler: Any, ladder: Ladder) -> None:
        """The scheduler has set its timesteps: hands the loop a list that leads to the step."""
        self._full = scheduler.timesteps
        if self._point.another_way:
            self._place, self._x = entry_of(self._point, scheduler, ladder)
            self.begin = self._point.facts.begin_index if ladder.timesteps == self._point.facts.timesteps else 0
            if self._fed is not None:  # some pipelines prepare their latents first
                self._fed.copy_(_fit(self._pipe, self._fed, self._x.to(self._fed.device)))
        else:
            self._check_timesteps(ladder)
            self.begin = self._point.facts.begin_index
            self._place = self.begin + self._point.index
        if self._way == SKIP:
            scheduler.timesteps = SkippedTimesteps.of(self._full, self._place, self._interrupt)
        else:
            scheduler.timesteps = torch.cat([self._full[: self.begin], self._full[self._place :]])
        self.pending = self.first = True

    def arrive(self, scheduler: Any, device: torch.device) -> None:
        """The first step is about to be made, or its model input to be scaled: puts back what the solver remembers."""
        self.pending = False
        scheduler.timesteps = self._full
        moment = self._point.moment
        if not self._point.another_way:
            restore(vars(scheduler), moment.memory, self._x.to(device))
        elif hasattr(scheduler, "_step_index"):
            scheduler._step_index = self._place
        restore_random(moment.torch_state, moment.device_state, device)

    def set_generators(self, generators: Sequence[torch.Generator]) -> None:
        """Puts back the generators that have come to light and were not put back yet."""
        states = self._point.moment.generator_states
        for place in range(self._generators_set, min(len(generators), len(states))):
            try:
                generators[place].set_state(states[place].cpu())
            except (RuntimeError, TypeError) as problem:
                raise StudioError(
                    f"The recorded state of the random generator does not fit the one that was given, which draws on "
                    f"{generators[place].device}. Pass a generator of the recorded run's device."
                ) from problem
        self._generators_set = max(self._generators_set, len(generators))

    def check_first(self, ladder: Ladder, arguments: dict[str, Any]) -> None:
        """Makes sure that the pipeline has come to the recorded step with the recorded sample."""
        self.first = False
        name, sample = type(self._pipe).__name__, arguments["sample"]
        obstacle = obstacle_of(self._pipe)
        if obstacle is not None:
            raise StudioError(f"This run cannot be resumed exactly: {obstacle}")
        timestep = scalar(arguments["timestep"])
        if ladder.nearest(timestep) != ladder.timesteps[self._place]:
            raise StudioError(
                f"{name} went on at timestep {timestep:g} instead of {ladder.timesteps[self._place]:g}. Call it with "
                "the arguments of the recorded run: the same strength, the same number of steps."
            )
        if not same(sample, self._x.to(sample.device)):
            raise StudioError(
                f"{name} changes its latents between preparing them and its first step in a way that is not known "
                f"here, so the sample of step {self._point.index} could not be put back."
            )
        if not self._point.another_way:
            arguments.update(self._point.moment.arguments)

    # -- refusals ----------------------------------------------------------------------------------------------------

    def _check_pipeline(self) -> None:
        facts, pipe = self._point.facts, self._pipe
        if type(pipe).__name__ != facts.pipeline:
            raise StudioError(f"This run was made with a {facts.pipeline}, not with a {type(pipe).__name__}.")
        if not same_model(fingerprint(pipe), facts.fingerprint):
            raise StudioError(
                f"This run was made with another model: the weights of this {facts.pipeline} are not those of the "
                "recorded run (or a LoRA was added or taken away since)."
            )
        if not self._point.another_way:
            self._check_scheduler()

    def _check_scheduler(self) -> None:
        facts, scheduler = self._point.facts, self._pipe.scheduler
        advice = "Take that one, or go on with another by .elsewhere()."
        if type(scheduler).__name__ != facts.scheduler:
            raise StudioError(
                f"This run was made with a {facts.scheduler}, the pipeline has a {type(scheduler).__name__}. {advice}"
            )
        now = as_json(scheduler.config)
        differing = sorted(
            key for key in {*now, *facts.scheduler_config} if now.get(key) != facts.scheduler_config.get(key)
        )
        if differing:
            key = differing[0]
            raise StudioError(
                f"The {facts.scheduler} of this run was set up with {key}={facts.scheduler_config.get(key)!r:.80}, "
                f"the pipeline's has {now.get(key)!r:.80}. {advice}"
            )
        self._check_memory(scheduler)

    def _check_memory(self, scheduler: Any) -> None:
        """A file from elsewhere may name what no solver remembers: its methods and properties stay out of reach."""
        for name in self._point.moment.memory:
            known = inspect.getattr_static(type(scheduler), name, None)
            if callable(known) or isinstance(known, (property, classmethod, staticmethod)):
                raise StudioError(
                    f"The recorded memory names `{shown(name)}`, which is a part of {self._point.facts.scheduler} and "
                    "nothing that it remembers. Do not use this file."
                )

    def _check_timesteps(self, ladder: Ladder) -> None:
        facts = self._point.facts
        if len(ladder.timesteps) != len(facts.timesteps):
            steps = (len(facts.timesteps) - 1) // facts.order + 1
            raise StudioError(
                f"This run had {steps} steps, not {(len(ladder.timesteps) - 1) // facts.order + 1}. "
                f"Call the pipeline with num_inference_steps={steps}, or go on with another number by .elsewhere()."
            )
        if ladder.timesteps != facts.timesteps:
            raise StudioError(
                "The timesteps are not those of the recorded run. Call the pipeline with the same size, timesteps and "
                "sigmas, or go on with others by .elsewhere()."
            )

    def _interrupt(self, skip: bool) -> None:
        self._pipe._interrupt = skip


def _fit(pipe: Any, prepared: Tensor, x: Tensor) -> Tensor:
    """What the pipeline has to prepare so that its scheduler sees `x`. A new tensor.

    Some pipelines hide a part of their latents from the scheduler: the first frame, which is given, or channels that
    condition. That part stays as it was prepared. Raises StudioError where the shapes do not fit.
    """
    if "SanaSprint" in type(pipe).__name__:
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
            f"The recorded latents are shaped {tuple(x.shape)}, but the pipeline prepares {tuple(prepared.shape)}. "
            "Call it with the size and the number of pictures of the recorded run."
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
