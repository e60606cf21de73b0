"""Hooks: what may change a step of a run while it is made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from torch import Tensor

from studio.diffusion.steps import Step


class Hook(Protocol):
    """Takes the step as it stands and returns the sample that should leave it (`step.x_next` to change nothing).

    Any function of a step is one. Two things it may have beside:

    - a method `before(step)`, see `EarlyHook`, to change the clean estimate that the solver uses.
    - a true attribute `firm`: what it does stays. A solver that corrects its last step in the next one (UniPC) takes
      back a part of what other hooks have done to the sample.

    Hooks run in the order given, firm ones after all others.
    """

    def __call__(self, step: Step, /) -> Tensor: ...


@runtime_checkable
class EarlyHook(Hook, Protocol):
    """A hook that is also asked before the solver steps, with `step.x_next` still `step.x`.

    `before` returns the clean estimate that the solver shall use (`step.denoised` itself to change nothing). The seam
    turns the change into one of the model's output, so that it holds for every solver.
    """

    def before(self, step: Step, /) -> Tensor: ...


def is_firm(hook: Hook) -> bool:
    """Whether no solver may take back what the hook does."""
    return bool(getattr(hook, "firm", False))


def in_order(hooks: Iterable[Hook]) -> tuple[Hook, ...]:
    """The hooks as they run: in the order given, firm ones after all others."""
    return tuple(sorted(hooks, key=is_firm))
