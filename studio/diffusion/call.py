"""What the seam knows of one call of a pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from studio.diffusion.fingerprint import as_json, fingerprint
from studio.diffusion.layout import PLANE, Layout
from studio.diffusion.levels import Ladder, read_ladder
from studio.diffusion.obstacles import TRIM, obstacle_of, way_of
from studio.diffusion.recorder import Recorder
from studio.diffusion.recording import RunFacts

_SEVERAL_PASSES = "its pipeline goes through its timesteps several times in one call, each time from new latents."
_SEVERAL_STEPS = "its loop steps its scheduler several times at one timestep, or out of order."
_LANES = "its pipeline copies its scheduler and steps the copies too (sound beside video), which are not recorded."


class Call:
    """One call of a pipeline: from preparing its latents over its steps to its end."""

    def __init__(self, first: int, config: Mapping[str, Any]) -> None:
        self.first = first  # place of its first step among all that the run has recorded
        self.config = config  # the scheduler's, as the pipeline had it: some classes rewrite it as they set timesteps
        self.ended = False
        self.passes = 0  # over the timesteps; most pipelines make one
        self.count = 0  # steps made in this pass
        self.begin = 0  # place in the list of timesteps that the pass began at
        self.total = 0  # evaluations that a whole pass makes
        self.ladder: Ladder | None = None
        self.recorder: Recorder | None = None
        self.layout: Layout = PLANE
        self.size: dict[str, int] = {}  # height, width and num_frames, where the pipeline says them
        self.generators: list[torch.Generator] = []
        self._branched = False
        self._astray = False
        self._obstacle: str | None = None
        self._scheduler: Any = None

    def begin_pass(self, scheduler: Any) -> Ladder:
        """The scheduler has set its timesteps."""
        if self.count or not self.passes:
            self.passes += 1
        self.count = 0
        self.ladder = read_ladder(scheduler)
        self.recorder = Recorder(scheduler)
        self.note_generators(getattr(scheduler, "generator", None))
        return self.ladder

    def first_step(self, pipe: Any, scheduler: Any, begin: int, passed: int, layout: Layout) -> None:
        """The loop has begun, at the place `begin` of the list of timesteps and with `passed` steps left out.

        Only now the pipeline says how it was called.
        """
        self.begin, self.layout, self._scheduler = begin, layout, scheduler
        self._obstacle = obstacle_of(pipe)
        self.total = self._count_total(pipe, passed)

    def note_generators(self, given: torch.Generator | Sequence[torch.Generator] | None) -> None:
        """Remembers the generators that the pipeline draws from, in order of appearance."""
        if given is None:
            return
        for generator in given if isinstance(given, Sequence) else (given,):
            if isinstance(generator, torch.Generator) and all(generator is not known for known in self.generators):
                self.generators.append(generator)

    def branch(self) -> None:
        """The pipeline has copied its scheduler."""
        self._branched = True

    def check_place(self, place: int, expected: int) -> None:
        """Steps are made one after the other, or else no single one of them is a place to go on from."""
        self._astray = self._astray or place != expected

    def _count_total(self, pipe: Any, passed: int) -> int:
        """How many evaluations the loop makes: some end early (`denoising_end`), which most pipelines tell."""
        assert self.ladder is not None
        whole = len(self.ladder.timesteps) - self.begin
        told = getattr(pipe, "_num_timesteps", None)
        if not isinstance(told, int) or told <= 0 or getattr(self._scheduler, "order", 1) > 1:
            return whole
        return min(whole, told + passed if way_of(pipe) == TRIM else told)

    def facts(self, pipe: Any) -> RunFacts:
        assert self.ladder is not None and self._scheduler is not None
        found = ((_LANES, self._branched), (_SEVERAL_PASSES, self.passes > 1), (_SEVERAL_STEPS, self._astray))
        obstacle = next((why for why, applies in found if applies), self._obstacle)
        return RunFacts(
            pipeline=type(pipe).__name__,
            scheduler=type(self._scheduler).__name__,
            scheduler_config=as_json(self.config),
            total=self.total,
            order=int(getattr(self._scheduler, "order", 1)),
            begin_index=self.begin,
            timesteps=self.ladder.timesteps,
            levels=self.ladder.levels[: len(self.ladder.timesteps)],
            fingerprint=fingerprint(pipe),
            layout=self.layout,
            obstacle=obstacle,
        )
