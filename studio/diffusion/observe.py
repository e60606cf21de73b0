"""The seam: watch, change and resume a denoising run of any diffusers pipeline, without touching the pipeline's code.

Every pipeline calls `scheduler.step(model_output, timestep, sample)` once per evaluation of its solver. `observe` puts
a scheduler there that does what the old one did, and also tells what happened:

    with observe(pipe, on_step=show) as run:
        image = pipe("a lake at dawn", num_inference_steps=20).images[0]
    run.steps[7].denoised  # the clean estimate at the eighth step
    with observe(pipe, resume=run.at(7)):
        image = pipe("a lake at dawn", num_inference_steps=20).images[0]  # the same bits, from steps 7 to 19

What is seen and done at the seam is in `run`; the scheduler that stands there is made in `observed`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from studio.diffusion.entrance import Entrance
from studio.diffusion.hooks import EarlyHook, Hook
from studio.diffusion.layout import Layout
from studio.diffusion.observed import Observed, observed_twin, watched_methods
from studio.diffusion.resume import ResumePoint
from studio.diffusion.resumption import Resumption
from studio.diffusion.run import Cancelled, Run
from studio.diffusion.start import Start
from studio.diffusion.starting import Starting
from studio.diffusion.steps import Step
from studio.errors import StudioError

__all__ = ["Cancelled", "EarlyHook", "Hook", "Observed", "Run", "observe"]


@contextlib.contextmanager
def observe(
    pipe: Any,
    hooks: Sequence[Hook] = (),
    on_step: Callable[[Step], None] | None = None,
    resume: ResumePoint | Start | None = None,
    record: bool = True,
    layout: Layout | None = None,
    until: int | None = None,
) -> Iterator[Run]:
    """Watches every step that `pipe` makes inside the `with` block, and lets `hooks` change what leaves a step.

    Hooks run in the order given, firm ones (`KeepKnown`) after all others; see `hooks.Hook`. What a point has locked
    runs after the hooks given here.

    `resume` starts the pipeline's call at a recorded step: call it with the arguments of that run, and whatever is to
    be different from there on; or in the middle of a new one (`start.start_at`). `until` ends the call before that
    step of the request, counted from 0, as `run.cancel()` does. `record=False` keeps only the newest step, and no run
    can be resumed from it. `layout` says how latents lie, for pipelines of which that is not known.

    The pipeline gets its own scheduler and methods back on leaving, also after an exception, and torch's global random
    numbers go on as they were before a resumed run set them. Raises StudioError if another run is watching this
    pipeline, or if `resume` belongs to another model, solver or pipeline.
    """
    original = _scheduler_of(pipe)
    resumption = _entrance(pipe, resume)
    locks = resume.hooks if isinstance(resume, ResumePoint) else ()
    run = Run(pipe, (*hooks, *locks), on_step, record, layout, resumption, until)
    with watched_methods(pipe, run):
        pipe.scheduler = observed_twin(original, run)
        try:
            yield run
        except BaseException:
            # the pipeline never reached its own end: give offloaded models back as it would have
            if hasattr(pipe, "maybe_free_model_hooks"):
                pipe.maybe_free_model_hooks()
            raise
        finally:
            pipe.scheduler = original
            run.close()


def _entrance(pipe: Any, resume: ResumePoint | Start | None) -> Entrance | None:
    if resume is None:
        return None
    return Starting(pipe, resume) if isinstance(resume, Start) else Resumption(pipe, resume)


def _scheduler_of(pipe: Any) -> Any:
    """The scheduler of a pipeline that can be observed. Raises StudioError for any other."""
    scheduler, name = getattr(pipe, "scheduler", None), type(pipe).__name__
    if scheduler is None or not hasattr(scheduler, "step"):
        raise StudioError(f"{name} has no scheduler that could be observed. Observe the pipelines in it.")
    inner = _inner_pipeline(pipe)
    if inner is not None:
        raise StudioError(
            f"{name} calls other pipelines. Observe the one that makes the picture: observe(pipe.{inner})."
        )
    if isinstance(scheduler, Observed):
        raise StudioError("This pipeline is already being observed. Leave the other `observe` block first.")
    return scheduler


def _inner_pipeline(pipe: Any) -> str | None:
    """The attribute of a combined pipeline that holds the one whose loop makes the picture."""
    inner = [name for name, value in vars(pipe).items() if hasattr(value, "scheduler") and callable(value)]
    return next((name for name in inner if "decoder" in name), inner[-1] if inner else None)
