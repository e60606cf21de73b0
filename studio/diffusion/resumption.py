"""Carries out a resume: puts everything back as it was where a moment of a recorded run was taken.

How the pipeline's loop is brought there is in `entrance`.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from studio.diffusion.elsewhere import entry_of
from studio.diffusion.entrance import Entrance
from studio.diffusion.fingerprint import as_json, fingerprint, same_model
from studio.diffusion.levels import Ladder
from studio.diffusion.memory import restore, restore_random
from studio.diffusion.resume import ResumePoint
from studio.errors import StudioError, shown


class Resumption(Entrance):
    """One resume of one pipeline's call. Raises StudioError where the pipeline is not the one that was recorded."""

    def __init__(self, pipe: Any, point: ResumePoint) -> None:
        super().__init__(pipe)
        self._point = point
        self._x = point.moment.x
        self._begin_known = not point.another_way
        self._check_pipeline()

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

    def _entering(self, like: Tensor) -> Tensor:
        return self._x.to(like.device)

    def _find(self, scheduler: Any, ladder: Ladder, begin: int) -> None:
        facts = self._point.facts
        if self._point.another_way:
            self._place, self._x = entry_of(self._point, scheduler, ladder, begin)
            self.begin = begin
        else:
            self._check_timesteps(ladder)
            self.begin = facts.begin_index
            self._place = self.begin + self._point.index

    def _restore(self, scheduler: Any, device: torch.device) -> None:
        moment = self._point.moment
        if not self._point.another_way:
            restore(vars(scheduler), moment.memory, self._x.to(device))
        elif hasattr(scheduler, "_step_index"):
            scheduler._step_index = self._place
        self._remember_random(device)
        restore_random(moment.torch_state, moment.device_state, device)

    def _hand_on(self, arguments: dict[str, Any]) -> None:
        if not self._point.another_way:
            arguments.update(self._point.moment.arguments)

    # -- refusals ----------------------------------------------------------------------------------------------------

    def _refuse(self, obstacle: str) -> None:
        raise StudioError(f"This run cannot be resumed exactly: {obstacle}")

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
