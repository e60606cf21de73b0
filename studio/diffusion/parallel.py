"""What a solver would remember of a run beside the recorded one: the same at every step, but for a constant change.

Solvers of more than one step calculate with earlier model outputs, some also with earlier samples. Whoever changes the
clean estimate at step k and nothing else makes them see a jump between the remembered estimate and the new one, and
they continue it: DPM++ 2M overshoots an edit by half in its first step, and the corrector of UniPC takes the sample
back to where it was. So the past is changed along with the present, as if the clean estimates had always been what
they are now: a sample of a level moves by signal * clean + noise * n, a remembered clean estimate by `clean`,
remembered noise by `n`. Linear multistep solvers then carry the change on exactly, to their rounding.

Knows where the classes of diffusers 0.42 keep what; memory of other classes stays as it was recorded. PNDM with
v-prediction adds up v of different levels, so that there the change is carried on only nearly (to a tenth).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from studio.diffusion.denoised import IN_HISTORY, remembers_clean
from studio.diffusion.recording import Moment, RunFacts
from studio.diffusion.steps import Step

Level = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Change:
    """How a parallel run differs at every step: its clean estimates by `clean`, its noise by `noise` (None: not)."""

    clean: Tensor | None = None
    noise: Tensor | None = None

    def of_sample(self, level: Level) -> Tensor | None:
        return _sum(self.clean, level[0], self.noise, level[1])

    def of_velocity(self, level: Level) -> Tensor | None:
        """v = signal * n - noise * clean."""
        return _sum(self.clean, -level[1], self.noise, level[0])


def moved(moment: Moment, index: int, facts: RunFacts, change: Change) -> Moment:
    """The moment at the beginning of step `index` in the run that differs by `change`.

    Its sample is moved at the level of the step, which must be known; the solver's memory as far as it is understood.
    """
    now = _level(facts, index)
    if now is None:
        raise ValueError(f"The level of step {index} is not known.")
    x = _add(moment.x, change.of_sample(now))
    memory = dict(moment.memory)
    for name, changed in _changes(index, facts, change).items():
        value = memory.get(name)
        if isinstance(value, Tensor):
            memory[name] = _add(value, changed[-1])
        elif isinstance(value, list):
            by = [*[None] * len(value), *changed][len(changed) :]  # the newest stand last
            memory[name] = [
                _add(item, b) if isinstance(item, Tensor) else item for item, b in zip(value, by, strict=True)
            ]
    arguments = dict(moment.arguments)
    if isinstance(old := arguments.get("old_pred_original_sample"), Tensor):
        arguments["old_pred_original_sample"] = _add(old, change.clean)
    return replace(moment, x=x, memory=memory, arguments=arguments)


def make_firm(scheduler: Any, step: Step, made: Tensor, corrected: Tensor) -> None:
    """Lets a solver that corrects its last step in the next one find `step.x_next` there, where firm hooks changed it.

    `made` is what the solver itself made of the step, `corrected` what other hooks made of that. Cells that firm
    hooks left alone are left to the solver, with whatever it takes back of the correction.

    UniPC starts its correction from the sample that entered the step, by a formula that is linear in it: that sample
    is moved by as much as leads from `made` to the change. What was remembered of it is left as it is; the solver gets
    another.
    """
    if type(scheduler).__name__ != "UniPCMultistepScheduler" or step.final or step.level is None:
        return
    last: Tensor | None = scheduler.last_sample
    signal, noise = step.level
    clean = remembers_clean("UniPCMultistepScheduler", scheduler.config)
    now, after = (noise, step.noise_next) if clean else (signal, step.signal_next)
    if last is None or not after:
        return
    exact = torch.promote_types(last.dtype, torch.float32)
    change = torch.where(step.x_next != corrected, step.x_next.to(exact) - made.to(exact), 0)
    scheduler.last_sample = _add(last, change * (now / after))


def _changes(index: int, facts: RunFacts, change: Change) -> dict[str, list[Tensor | None]]:
    """By how much each attribute changes. Lists belong to the last entries of a list, one each."""
    name, config = facts.scheduler, facts.scheduler_config
    before = _level(facts, index - 1) if index else None
    last_sample = None if before is None else change.of_sample(before)
    many = len(facts.timesteps)
    if name in IN_HISTORY:
        outputs = [change.clean if remembers_clean(name, config) else change.noise] * many
        if name != "DPMSolverSinglestepScheduler":
            return {"model_outputs": outputs, "last_sample": [last_sample]}
        start = _level(facts, _cycle_start(index, facts))
        return {"model_outputs": outputs, "sample": [None if start is None else change.of_sample(start)]}
    if name in ("LMSDiscreteScheduler", "IPNDMScheduler"):
        return {"derivatives": [change.noise] * many, "ets": [change.noise] * many}
    if name == "PNDMScheduler" and config.get("skip_prk_steps") is True:
        return {"ets": _pndm_history(index, facts, change), "cur_sample": [last_sample]}
    return {}


def _cycle_start(index: int, facts: RunFacts) -> int:
    """The step at which a singlestep solver took the sample that it starts from until the cycle is over."""
    place = facts.begin_index + index
    order = int(facts.scheduler_config.get("solver_order", 2))
    return max(place - place % order - facts.begin_index, 0)


def _pndm_history(index: int, facts: RunFacts, change: Change) -> list[Tensor | None]:
    """PNDM remembers the model's outputs as they are, but not that of its second evaluation."""
    if facts.scheduler_config.get("prediction_type", "epsilon") != "v_prediction":
        return [change.noise] * len(facts.timesteps)
    remembered = [_level(facts, step) for step in range(index) if step != 1]
    return [None if level is None else change.of_velocity(level) for level in remembered[-4:]]


def _level(facts: RunFacts, index: int) -> Level | None:
    place = facts.begin_index + index
    return facts.levels[place] if 0 <= place < len(facts.levels) else None


def _add(value: Tensor, change: Tensor | None) -> Tensor:
    """A new tensor of the kind of `value`, added in at least float32; `value` itself if nothing changes."""
    if change is None:
        return value
    exact = torch.promote_types(torch.promote_types(value.dtype, change.dtype), torch.float32)
    return (value.to(exact) + change.to(value.device, exact)).to(value.dtype)


def _sum(clean: Tensor | None, of_clean: float, noise: Tensor | None, of_noise: float) -> Tensor | None:
    if clean is None or of_clean == 0:
        return None if noise is None or of_noise == 0 else noise * of_noise
    return clean * of_clean if noise is None or of_noise == 0 else clean * of_clean + noise * of_noise
