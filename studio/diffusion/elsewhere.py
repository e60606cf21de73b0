"""Where and how a run goes on with another solver or another number of steps."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from studio.diffusion.levels import Ladder, Level
from studio.diffusion.resume import ResumePoint
from studio.diffusion.steps import Step, level_of_noise
from studio.errors import StudioError

# they tell by their place in the schedule how many steps they remember, and would take what is not there for zero
_ALWAYS_FROM_THE_BEGINNING = frozenset({"LMSDiscreteScheduler", "PNDMScheduler"})


def entry_of(point: ResumePoint, scheduler: Any, ladder: Ladder, begin: int) -> tuple[int, Tensor]:
    """The place in the new list of timesteps whose level is nearest, from `begin` on, and the sample to enter there.

    The sample is made of the point's clean estimate and its implied noise. Raises StudioError if either schedule has
    no known levels, or if the new solver cannot start in the middle.
    """
    step = point.step
    name = type(scheduler).__name__
    if step.denoised is None or step.signal is None or step.noise is None:
        raise StudioError("The recorded solver tells no clean estimate, so the run cannot go on with another one.")
    distances = {
        place: abs(level_of_noise(*level) - step.noise_level)
        for place in _starts(scheduler, ladder)
        if place >= begin and (level := ladder.level(place)) is not None
    }
    if not distances:
        raise StudioError(f"The noise levels of {name} are not known here. Choose another solver to go on with.")
    place = min(distances, key=lambda p: distances[p])
    level = ladder.level(place)
    assert level is not None
    return place, _renoised(point.moment.x, step, level)


def check_start(scheduler: Any, ladder: Ladder, place: int) -> None:
    """Raises StudioError unless a solver without a memory can start at this place in the list of timesteps."""
    starts = _starts(scheduler, ladder)
    if place not in starts:
        order = int(getattr(scheduler, "order", 1))
        nearby = sorted(sorted(starts, key=lambda start: abs(start - place))[:2])
        raise StudioError(
            f"{type(scheduler).__name__} cannot start at step {place // order}, in the middle of one of its cycles. "
            f"Start at step {' or '.join(str(start // order) for start in nearby)}."
        )


def _starts(scheduler: Any, ladder: Ladder) -> list[int]:
    """The places at which a solver without a memory can start."""
    name = type(scheduler).__name__
    if name in _ALWAYS_FROM_THE_BEGINNING:
        raise StudioError(f"{name} cannot start in the middle of a run. Choose another solver to go on with.")
    orders = getattr(scheduler, "order_list", None)
    if name == "DPMSolverSinglestepScheduler" and orders:
        return [place for place, order in enumerate(orders[: len(ladder.timesteps)]) if order == 1]
    return list(range(0, len(ladder.timesteps), int(getattr(scheduler, "order", 1))))


def _renoised(x: Tensor, step: Step, level: Level) -> Tensor:
    """`x` of the recorded level, at another one. An edit of x counts as an edit of the clean estimate."""
    assert step.denoised is not None and step.signal is not None and step.noise is not None
    signal, noise = level
    if (signal, noise) == (step.signal, step.noise):
        return x
    if step.noise == 0 or step.signal == 0:
        raise StudioError(f"Step {step.index} has no signal or no noise to go on from. Choose another step.")
    implied = (step.x - step.signal * step.denoised) / step.noise
    clean = step.denoised + (x - step.x) / step.signal
    return (signal * clean + noise * implied).to(x.dtype)
