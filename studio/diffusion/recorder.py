"""Takes the moments of a run while it happens, with no tensor kept twice."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from studio.diffusion.memory import RandomState, Reference, equal_for_free, same, share
from studio.diffusion.recording import Moment
from studio.diffusion.steps import Step

# what the loops of CogVideoX hand from one step to the next beside the sample
_HANDED_ON = ("old_pred_original_sample", "timestep_back")
_DREW_BETWEEN = (
    "before this step the pipeline drew noise of its own, between two steps of its loop. That noise cannot be drawn "
    "again. Resume at another step, or run anew."
)


class Recorder:
    """The moments of one pass over the timesteps.

    What enters a step is copied, because some pipelines write into it later; where it is what left the step before,
    to the bit, the two share one copy. Solvers that remember a sample are given that same copy in their memory.
    """

    def __init__(self, scheduler: Any) -> None:
        self._reference = Reference(vars(scheduler))
        self._random: RandomState | None = None  # after the newest step
        self._left: Tensor | None = None  # what left the newest step, as the pipeline has it
        self._left_version: int | None = None
        self._left_twin: Tensor | None = None  # and our copy of it
        # originals with our copies: Runge-Kutta steps remember a sample over four evaluations
        self._twins: deque[tuple[Tensor, Tensor]] = deque(maxlen=8)

    def enter(
        self,
        scheduler: Any,
        sample: Tensor,
        arguments: Mapping[str, Any],
        generators: Iterable[torch.Generator],
    ) -> Moment:
        """The moment where a step begins. `arguments` are those that the pipeline calls `step` with."""
        x = self._copy(sample)
        self._twins.append((sample, x))
        random = RandomState.read(generators, sample.device, self._random)
        drew = self._random is not None and not random.equals(self._random)
        return Moment(
            x=x,
            memory=share(dict(self._reference.changed(vars(scheduler))), self._twins),
            torch_state=random.torch_state,
            generator_states=random.generator_states,
            device_state=random.device_state,
            arguments={name: arguments[name] for name in _HANDED_ON if arguments.get(name) is not None},
            obstacle=_DREW_BETWEEN if drew else None,
        )

    def leave(self, x_next: Tensor) -> Tensor:
        """A copy of what leaves the step, which the next step will share."""
        twin = x_next.clone()
        self._left, self._left_twin, self._left_version = x_next, twin, _version(x_next)
        self._twins.append((x_next, twin))
        return twin

    def left(self, generators: Iterable[torch.Generator], device: torch.device) -> None:
        """The step is over, with everything that watches it."""
        self._random = RandomState.read(generators, device, self._random)

    def _copy(self, sample: Tensor) -> Tensor:
        twin = self._left_twin
        if twin is None:
            return sample.clone()
        untouched = sample is self._left and self._left_version is not None and self._left_version == _version(sample)
        return twin if untouched or equal_for_free(sample, twin) else sample.clone()


def settle(steps: list[Step], moments: list[Moment]) -> None:
    """Lets neighbouring steps share the samples that are equal, where a device could not be asked during the run."""
    for place in range(1, len(steps)):
        before, step = steps[place - 1], steps[place]
        if step.x is not before.x_next and step.x.device.type != "cpu" and same(step.x, before.x_next):
            steps[place] = replace(step, x=before.x_next)
            moments[place] = replace(moments[place], x=before.x_next)


def _version(tensor: Tensor) -> int | None:
    """How often a tensor was written into; None for tensors that do not count it."""
    return None if tensor.is_inference() else tensor._version
