"""A denoising run while it happens, and its record afterwards."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from studio.diffusion.call import Call
from studio.diffusion.denoised import Prediction, clean_estimate, prediction
from studio.diffusion.entrance import Entrance
from studio.diffusion.hooks import EarlyHook, Hook, in_order, is_firm
from studio.diffusion.layout import Layout, Unknown, layout_of
from studio.diffusion.levels import scalar
from studio.diffusion.parallel import make_firm
from studio.diffusion.recorder import settle
from studio.diffusion.recording import Moment, Recording, RunFacts
from studio.diffusion.resume import ResumePoint
from studio.diffusion.steps import Step
from studio.errors import StudioError

__all__ = ["Cancelled", "Hook", "Run"]


class Cancelled(Exception):
    """Raised out of the pipeline's call by the first step that ends after `Run.cancel()`, or before `until`."""


class Run:
    """A denoising run while it happens, and its record afterwards.

    `steps` holds every step if the run is recorded, otherwise only the newest. If the pipeline is called several times
    inside one `observe` block, they follow each other, and `at`, `recording` and `save` mean the last call.
    """

    def __init__(
        self,
        pipe: Any,
        hooks: Sequence[Hook],
        on_step: Callable[[Step], None] | None,
        record: bool,
        layout: Layout | None,
        resumption: Entrance | None,
        until: int | None = None,
    ) -> None:
        self.steps: list[Step] = []
        self._moments: list[Moment] = []
        self._pipe: Any = pipe
        self._hooks = in_order(hooks)
        self._early = tuple(hook.before for hook in self._hooks if isinstance(hook, EarlyHook))
        self._on_step = on_step
        self._record = record
        self._given_layout = layout
        self._resumption = resumption
        self._until = until
        self._cancelled = threading.Event()
        self._call = Call(0, pipe.scheduler.config)
        self._facts: RunFacts | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Run:
        return self  # some pipelines copy all attributes of their scheduler

    # -- for the person ----------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Ends the run at the end of the step that is being computed. May be called from any thread."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    @property
    def recording(self) -> Recording:
        """The last call of the pipeline, as far as it has come. Raises StudioError if nothing is recorded."""
        if not self._record or not self._moments[self._call.first :]:
            raise StudioError("Nothing is recorded: no step was made yet, or the run is observed with record=False.")
        first = self._call.first
        return Recording(tuple(self.steps[first:]), tuple(self._moments[first:]), self._read_facts())

    def at(self, index: int) -> ResumePoint:
        """The point where step `index` begins, to go on from: see `Recording.at`."""
        return self.recording.at(index)

    def save(self, path: Path | str) -> None:
        """Writes the recorded run to one .safetensors file: see `run_file.save_recording`."""
        from studio.diffusion import run_file

        run_file.save_recording(self.recording, Path(path))

    # -- for the observed pipeline, in the order of its call ----------------------------------------------------------

    def preparing(self, arguments: Mapping[str, Any]) -> None:
        """The pipeline is about to prepare its latents with these arguments."""
        self._begin_call_if_ended()
        self._call.note_generators(arguments.get("generator"))
        for name in ("height", "width", "num_frames"):
            if isinstance(arguments.get(name), int):
                self._call.size.setdefault(name, arguments[name])

    def prepared(self, latents: Any) -> Any:
        """What the pipeline prepared; what it shall go on with."""
        return latents if self._resumption is None else self._resumption.feed(latents)

    def begin(self, scheduler: Any) -> None:
        """The scheduler has set its timesteps: counting starts over."""
        self._begin_call_if_ended()
        ladder = self._call.begin_pass(scheduler)
        if self._resumption is not None:
            self._resumption.begin_pass(scheduler, ladder)

    def branched(self) -> None:
        """The pipeline has copied its scheduler."""
        self._call.branch()

    def arrive(self, scheduler: Any, device: torch.device) -> None:
        """The scheduler is about to be used in the loop. The first time, a resumed run gets its memory back here."""
        resumption = self._resumption
        if resumption is not None and resumption.pending:
            resumption.arrive(scheduler, device)
            resumption.set_generators(self._call.generators)

    def step(self, scheduler: Any, bound: inspect.BoundArguments, base_step: Callable[..., Any]) -> Any:
        """Makes one step with `base_step`, records it and returns what the scheduler would have, as hooks changed it.

        Raises Cancelled, after the step is recorded, if the run was cancelled.
        """
        call, arguments = self._call, bound.arguments
        self.arrive(scheduler, arguments["sample"].device)
        call.note_generators(arguments.get("generator"))
        step, moment = self._enter(scheduler, arguments)
        known = prediction(scheduler, step.level, step.timestep, arguments.get("per_token_timesteps"))
        # without signal there may be no estimate for one step; without a formula there is none for any
        if self._early and (known.depends_on_output if known is not None else step.signal != 0):
            self._ask_early(step, known, arguments)
        output = base_step(*bound.args, **bound.kwargs)
        result = output if isinstance(output, tuple) else output.to_tuple()
        denoised = clean_estimate(scheduler, step.x, arguments["model_output"], result, known)
        step = self._ask_hooks(replace(step, denoised=denoised, x_next=result[0]), scheduler)
        leaving = _leaving(result, step)
        self._keep(step, moment)
        if not isinstance(output, tuple):
            for name, value in zip(list(output.keys()), leaving, strict=False):
                output[name] = value
            return output
        return leaving

    def call_ended(self) -> None:
        self._call.ended = True

    def close(self) -> None:
        """The block is left: what the record needs of the pipeline is read, and the pipeline let go of."""
        try:
            if self._record and self._moments[self._call.first :]:
                settle(self.steps, self._moments)
                self._read_facts()
        finally:
            if self._resumption is not None:
                self._resumption.leave()
            self._pipe = self._resumption = None

    # -- one step ----------------------------------------------------------------------------------------------------

    def _enter(self, scheduler: Any, arguments: dict[str, Any]) -> tuple[Step, Moment | None]:
        """The step as it stands before it is made, and the moment where it begins if the run is recorded."""
        call, resumption, sample = self._call, self._resumption, arguments["sample"]
        if call.ladder is None or call.recorder is None:
            raise StudioError("This pipeline steps its scheduler without setting timesteps, which cannot be observed.")
        passed = resumption.index if resumption is not None else 0
        begin = resumption.begin if resumption is not None else call.begin
        place = call.ladder.place(scheduler, arguments["timestep"], begin + passed + call.count)
        if resumption is not None and resumption.first:
            resumption.set_generators(call.generators)
            resumption.check_first(call.ladder, arguments)
        if not call.count:
            call.first_step(self._pipe, scheduler, place - passed, passed, self.layout_of(sample))
        call.check_place(place, call.begin + passed + call.count)
        moment = call.recorder.enter(scheduler, sample, arguments, call.generators) if self._record else None
        x = moment.x if moment is not None else sample.clone()  # some pipelines write into what entered
        level, level_next = call.ladder.level(place), call.ladder.level(place + 1)
        known_place = place < len(call.ladder.timesteps)
        return (
            Step(
                index=passed + call.count,
                total=call.total,
                order=int(getattr(scheduler, "order", 1)),
                timestep=call.ladder.timesteps[place] if known_place else scalar(arguments["timestep"]),
                sigma=call.ladder.sigma(place),
                x=x,
                denoised=None,
                x_next=x,
                signal=level[0] if level else None,
                noise=level[1] if level else None,
                signal_next=level_next[0] if level_next else None,
                noise_next=level_next[1] if level_next else None,
                layout=call.layout,
                deviation=call.ladder.deviation,
                final=place + 1 >= len(call.ladder.timesteps),
            ),
            moment,
        )

    def _ask_early(self, step: Step, known: Prediction | None, arguments: dict[str, Any]) -> None:
        """Lets hooks change the clean estimate, and with it the model's output, before the solver uses it.

        Where no formula is known they are asked too, with no estimate, so that those which need one can say so.
        """
        model_output, given = arguments["model_output"], arguments.get("pred_original_sample")
        if known is None:
            for before in self._early:
                before(step)
            return
        # some pipelines hand the solver (EDM Euler) a clean estimate that they have made themselves
        clean = given if isinstance(given, Tensor) else known.clean(step.x, model_output)
        step = replace(step, denoised=clean)
        for before in self._early:
            changed = before(step)
            if changed is not step.denoised:
                step = replace(step, denoised=changed.to(clean.dtype))
        if step.denoised is None or step.denoised is clean:
            return
        if clean is given:
            arguments["pred_original_sample"] = step.denoised
        else:
            arguments["model_output"] = known.output_for(step.denoised - clean, model_output)

    def _ask_hooks(self, step: Step, scheduler: Any) -> Step:
        made = corrected = step.x_next
        for hook in self._hooks:
            changed = hook(step)
            if changed is not step.x_next:
                step = replace(step, x_next=changed.to(made.dtype))
            if not is_firm(hook):  # they come first
                corrected = step.x_next
        if step.x_next is not corrected:
            make_firm(scheduler, step, made, corrected)
        return step

    def _keep(self, step: Step, moment: Moment | None) -> None:
        """Records a step that is over and tells whoever listens."""
        call = self._call
        call.count += 1
        if moment is not None and call.recorder is not None:
            step = replace(step, x_next=call.recorder.leave(step.x_next))
            self._moments.append(moment)
        else:
            self.steps.clear()
        self.steps.append(step)
        if self._on_step is not None:
            self._on_step(step)
        if moment is not None and call.recorder is not None:
            call.recorder.left(call.generators, step.x.device)
        if self.cancelled or self._reached(step):
            raise Cancelled

    def _reached(self, step: Step) -> bool:
        """Whether the run was to end here."""
        return self._until is not None and step.index + 1 >= min(self._until * step.order, step.total)

    # -- the whole call ----------------------------------------------------------------------------------------------

    def _begin_call_if_ended(self) -> None:
        # a pipeline that never says when its call ends begins a new one with every schedule
        if self._call.ended or (self._call.count and not hasattr(self._pipe, "maybe_free_model_hooks")):
            self._call = Call(len(self._moments), self._call.config)
            if self._resumption is not None:
                self._resumption.start_over()

    def layout_of(self, latents: Tensor) -> Layout:
        if self._given_layout is not None:
            return self._given_layout
        try:
            return layout_of(self._pipe, latents, **self._call.size)
        except StudioError as problem:  # only who needs space has to know
            return Unknown(str(problem))

    def _read_facts(self) -> RunFacts:
        if self._facts is None or self._pipe is not None:
            self._facts = self._call.facts(self._pipe)
        return self._facts


def _leaving(result: tuple[Any, ...], step: Step) -> tuple[Any, ...]:
    """What the scheduler returned, with what leaves the step in the place of the sample.

    Some pipelines decode the second element of the last step, the clean estimate, and not the sample: what hooks
    changed of the one is then changed of the other too.
    """
    if step.x_next is result[0]:
        return result
    last = step.index == step.total - 1
    if not last or len(result) < 2 or not isinstance(result[1], Tensor) or result[1].shape != step.x_next.shape:
        return (step.x_next, *result[1:])
    clean = step.x_next if step.noise_next == 0 else result[1] + (step.x_next - result[0])
    return (step.x_next, clean.to(result[1].dtype), *result[2:])
