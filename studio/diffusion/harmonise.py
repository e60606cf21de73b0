"""Harmonising a fill: parts of the run are made several times, each time from noise that knows what came before.

A model that meets a held surrounding continues it, but what it has begun it does not take back. Going back a few
levels, by the forward process, and making the same steps again lets the unknown area adapt to the known one. The loop
of a pipeline cannot go back, so it is called several times, each time for a stretch of its steps:

    rewind = Rewind(harmonising(20, jump=4, rounds=3), seed=7)
    image = rewind.paint(pipe, lambda: pipe("a lighthouse", num_inference_steps=20), hooks=[keep]).images[0]
    rewind.recording  # the last pass of every step, to look at and to go on from

What `Rewind.paint` does is this, for who wants to do something else between the calls:

    for turn in rewind:
        hooks = turn.renewed([keep])
        with turn, observe(pipe, hooks=hooks, resume=turn.resume, until=turn.until) as turn.run:
            image = pipe("a lighthouse", num_inference_steps=20).images[0]

Source: Lugmayr et al. 2022, RePaint (arXiv:2201.09865), Algorithm 1 and Sec. 4.2, for every level and any solver.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, TypeVar

import torch

from studio.diffusion.hooks import Hook
from studio.diffusion.known import KeepKnown
from studio.diffusion.observe import observe
from studio.diffusion.recording import Recording
from studio.diffusion.resume import ResumePoint
from studio.diffusion.run import Cancelled, Run
from studio.diffusion.start import Start, check_seed, seeded_noise
from studio.diffusion.steps import Step
from studio.errors import StudioError

ROUNDS_LIMIT = 100

Made = TypeVar("Made")


@dataclass(frozen=True)
class Pass:
    """Steps `begin` to `end` - 1 of the request, made in one call of the pipeline."""

    number: int  # in the whole plan, counted from 0
    begin: int
    end: int


@dataclass(frozen=True)
class Plan:
    """Which steps of a request are made, and in which order."""

    total: int  # steps of the request
    passes: tuple[Pass, ...]

    @property
    def evaluated(self) -> int:
        """How many steps are made in all."""
        return sum(part.end - part.begin for part in self.passes)

    def after(self, step: int) -> Plan:
        """What is left of the plan where the last pass of `step` begins: to go on from a recorded step as it went."""
        last = max((i for i, part in enumerate(self.passes) if part.begin <= step < part.end), default=None)
        if last is None:
            raise StudioError(
                f"Step {step!r:.40} is not made in this run, which makes {self.passes[0].begin} to {self.total - 1}."
            )
        return Plan(self.total, (replace(self.passes[last], begin=step), *self.passes[last + 1 :]))


def harmonising(total: int, jump: int, rounds: int, start: int = 0) -> Plan:
    """The plan for a run of `total` steps that makes every stretch of `jump` steps `rounds` times and once more.

    `rounds` = 0 is an ordinary run. `start` is the first step that is made at all; stretches are counted from there.
    The passes overlap: from the last pass over a stretch, the call goes on into the first pass over the next.

    A run from the beginning makes step 0 once, and counts its stretches from step 1: where step 0 begins there is
    (nearly) no signal, along a flow none at all, so that whoever goes back there has forgotten everything.
    """
    for name, value, low, high in (
        ("steps", total, 1, 10_000),
        ("steps in a jump", jump, 1, 10_000),
        ("rounds", rounds, 0, ROUNDS_LIMIT),
        ("steps left out", start, 0, total - 1 if type(total) is int else 0),
    ):
        if type(value) is not int or not low <= value <= high:
            raise StudioError(f"The number of {name} runs from {low} to {high}, not {value!r:.40}.")
    if not rounds:
        return Plan(total, (Pass(0, start, total),))
    first = max(start, 1)
    ends = [(begin, min(begin + jump, total)) for begin in range(first, total, jump) for _ in range(rounds)]
    begins = [start, *(begin for begin, _ in ends)]
    passes = zip(begins, [*(end for _, end in ends), total], strict=True)
    return Plan(total, tuple(Pass(number, begin, end) for number, (begin, end) in enumerate(passes)))


class Turn:
    """One call of the pipeline: `with turn, observe(pipe, resume=turn.resume, until=turn.until) as turn.run: ...`.

    Where the call was to end before the pipeline's own end, the `with` block ends quietly; Cancelled passes through
    if a person cancelled the run.
    """

    def __init__(self, rewind: Rewind, part: Pass, resume: ResumePoint | Start | None, last: bool) -> None:
        self.part = part
        self.resume = resume
        self.until = None if last else part.end
        self._seed = rewind.seed_of(part, "held")
        self._locks = () if isinstance(resume, ResumePoint) else rewind.locks  # that the point brings by itself
        self.run: Run | None = None
        self._rewind = rewind

    @property
    def last(self) -> bool:
        """Whether this call comes to the pipeline's own end, and returns what it makes."""
        return self.until is None

    def renewed(self, hooks: Sequence[Hook]) -> tuple[Hook, ...]:
        """The hooks for this turn: those that hold something in noise of their own get new noise at every return.

        What is known is then seen through other noise each time, and more of it comes through. What a point to go on
        from has locked stays locked in all turns.
        """
        if not self.part.number:
            return (*hooks, *self._locks)
        renewed = (hook.reseeded(self._seed) if isinstance(hook, KeepKnown) else hook for hook in hooks)
        return (*renewed, *self._locks)

    def __enter__(self) -> Turn:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, at: TracebackType | None
    ) -> bool:
        run = self.run
        if run is None or not (kind is None or issubclass(kind, Cancelled)):
            return False
        self._rewind.keep(run.recording)
        return kind is not None and not self.last and not run.cancelled


class Rewind:
    """Goes through a plan, a turn for every call of the pipeline, and keeps the last pass of every step.

    `resume` is where the first call begins: None, a Start at the plan's first step, or a point of a recorded run, for
    which the plan is `plan.after(step)`. With the same seed, a plan goes on from a recorded step to the very bits of
    the whole run. At every return the solver forgets what it remembers, and the generators are seeded anew.

    Unless `whole`, only the newest turn stays recorded, for runs of which nobody wants to see the steps.
    """

    def __init__(
        self, plan: Plan, seed: int = 0, resume: ResumePoint | Start | None = None, whole: bool = True
    ) -> None:
        check_seed(seed)
        self.plan = plan
        self.locks: tuple[Hook, ...] = resume.hooks if isinstance(resume, ResumePoint) else ()
        self._whole = whole
        self._seed = seed
        self._resume = resume
        self._recording: Recording | None = None

    @property
    def recording(self) -> Recording:
        """The last pass of every step so far, as one recorded run. Raises StudioError before the first."""
        if self._recording is None:
            raise StudioError("Nothing is recorded: no turn was made yet.")
        return self._recording

    def paint(
        self,
        pipe: Any,
        call: Callable[[], Made],
        hooks: Sequence[Hook] = (),
        on_step: Callable[[Step, Run], None] = lambda step, run: None,
    ) -> Made:
        """What `call`, which calls `pipe`, makes at the end of the plan: it is called once for every turn.

        Give every call the same arguments; a generator may be shared or made anew. `on_step` is told every step, and
        the run of its turn, by which the whole can be cancelled. Raises Cancelled then.
        """
        for turn in self:

            def tell(step: Step, turn: Turn = turn) -> None:
                assert turn.run is not None
                on_step(step, turn.run)

            renewed = turn.renewed(hooks)
            with turn, observe(pipe, renewed, tell, resume=turn.resume, until=turn.until) as turn.run:
                made = call()
                if turn.last:
                    return made
        raise AssertionError("the last turn of a plan comes to the pipeline's own end")

    def __iter__(self) -> Iterator[Turn]:
        resume = self._resume
        for place, part in enumerate(self.plan.passes):
            yield Turn(self, part, resume, last=place + 1 == len(self.plan.passes))
            if place + 1 < len(self.plan.passes):
                resume = self._return_to(self.plan.passes[place + 1])

    def keep(self, recording: Recording) -> None:
        """Takes a turn's recording: its steps replace those that were made before from its first step on."""
        before, first = self._recording if self._whole else None, recording.steps[0].index
        if before is not None:
            many = sum(step.index < first for step in before.steps)
            recording = replace(
                recording,
                steps=(*before.steps[:many], *recording.steps),
                moments=(*before.moments[:many], *recording.moments),
            )
        self._recording = recording

    def seed_of(self, part: Pass, purpose: str) -> int:
        """A seed that belongs to one pass of the plan and to one purpose."""
        words = f"{self._seed} {part.number} {purpose}".encode()
        return int.from_bytes(hashlib.blake2b(words, digest_size=7).digest(), "big")

    def _return_to(self, part: Pass) -> Start:
        """The start of a pass: what left the step before, noised to the level at which the pass begins."""
        recording = self.recording
        step, facts = recording.steps[-1], recording.facts
        level = facts.levels[facts.begin_index + part.begin * facts.order]
        if level is None or step.signal_next is None or step.noise_next is None:
            raise StudioError(
                f"The noise levels of {facts.scheduler} are not known here, so that a run cannot go back to one. "
                "Choose another solver, or no harmonising."
            )
        signal, noise = level
        kept = signal / step.signal_next  # x = kept * x_next + added * z has the level to return to
        added = math.sqrt(max(noise**2 - (kept * step.noise_next) ** 2, 0.0))
        x = step.x_next.to(torch.promote_types(step.x_next.dtype, torch.float32))
        drawn = seeded_noise(x, self.seed_of(part, "return"), step.layout)
        return Start(
            part.begin, x / step.signal_next, drawn.to(x.dtype) * (added / noise), self.seed_of(part, "solver")
        )
