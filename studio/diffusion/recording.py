"""A recorded run: its steps, and at each of them everything that going on from there depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from studio.diffusion.layout import PLANE, Layout
from studio.diffusion.steps import Step
from studio.errors import StudioError, shown

if TYPE_CHECKING:
    from studio.diffusion.resume import ResumePoint

OBSTACLE_SHOWN = 300  # characters of an obstacle: it may come from a stranger's file


@dataclass(frozen=True, eq=False)
class Moment:
    """The state of a run where one of its steps begins. Tensors are shared with the steps wherever they are equal."""

    x: Tensor  # the sample entering the step
    # the solver's attributes that differ from right after `set_timesteps`: tensors, numbers, strings, None, lists and
    # tuples of those (and, for solvers that draw along a Brownian path, the path's object)
    memory: Mapping[str, Any]
    torch_state: Tensor  # of torch's global random generator on the CPU
    generator_states: tuple[Tensor, ...] = ()  # of the generators that the pipeline was given, in order of appearance
    device_state: Tensor | None = None  # of the global random generator of the device that x lies on, if not the CPU
    arguments: Mapping[str, Any] = field(default_factory=dict)  # what else the loop hands from one step to the next
    obstacle: str | None = None  # why a run cannot go on from here exactly; None if it can


@dataclass(frozen=True)
class RunFacts:
    """What a run was made with. A run can only go on where these are the same."""

    pipeline: str  # class name
    scheduler: str  # class name
    scheduler_config: Mapping[str, Any]  # values as JSON has them
    total: int  # evaluations of a whole run
    order: int  # evaluations per step of the request
    begin_index: int  # place in the list of timesteps that the run began at: above 0 for a weakened image-to-image
    timesteps: tuple[float, ...]  # the full list, as the scheduler set it
    levels: tuple[tuple[float, float] | None, ...]  # (signal, noise) at each of them
    fingerprint: str  # of the model: class, configuration, names and shapes of its weights, a digest of some of them
    layout: Layout = PLANE
    obstacle: str | None = None  # why this pipeline's runs cannot be resumed exactly; None if they can


@dataclass(frozen=True, eq=False)
class Recording:
    """A run that was recorded, whole or up to where it was cancelled: one moment for every step."""

    steps: tuple[Step, ...]
    moments: tuple[Moment, ...]
    facts: RunFacts

    def at(self, index: int) -> ResumePoint:
        """The point where step `index` begins, to go on from: `observe(pipe, resume=recording.at(7))`.

        `index` counts evaluations of the solver. Raises StudioError if that step is not recorded, if it is the second
        half of a step of a second-order solver, or if the run cannot go on from there exactly.
        """
        from studio.diffusion.resume import ResumePoint

        if not self.steps:
            raise StudioError("Nothing is recorded yet: no step was made, or the run was observed with record=False.")
        last = self.steps[-1].index
        if type(index) is not int or not self.steps[0].index <= index <= last:
            raise StudioError(
                f"Step {index!r} is not recorded: this run has steps {self.steps[0].index} to {last}, counted from 0."
            )
        if self.facts.obstacle is not None:
            raise StudioError(f"This run cannot be resumed exactly: {shown(self.facts.obstacle, OBSTACLE_SHOWN)}")
        place = index - self.steps[0].index
        step, moment = self.steps[place], self.moments[place]
        if step.index % step.order:
            raise StudioError(
                f"Step {index} is the second half of a step: this solver looks at the model {step.order} times per "
                f"step. Resume at {index - index % step.order} or {index + step.order - index % step.order}."
            )
        if moment.obstacle is not None:
            raise StudioError(f"This run cannot be resumed exactly: {shown(moment.obstacle, OBSTACLE_SHOWN)}")
        return ResumePoint(index, moment, self.facts, step)
