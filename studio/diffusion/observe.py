"""The seam: watch and change a denoising run of any diffusers pipeline, without touching the pipeline's code.

Every pipeline calls `scheduler.step(model_output, timestep, sample)` once per evaluation of its solver. `observe` puts
a scheduler there that does what the old one did, and also tells what happened:

    with observe(pipe, on_step=show) as run:
        image = pipe("a lake at dawn", num_inference_steps=20).images[0]
    run.steps[7].denoised  # the clean estimate at the eighth step

The observed scheduler is an instance of a class made from `(Observed, type(scheduler))`, so that everything a pipeline
inspects (isinstance, signatures, the configuration, the name on saving) is as before.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor

from studio.diffusion.denoised import clean_estimate, sigma_of_last_step, sigma_of_timestep
from studio.diffusion.steps import Step
from studio.errors import StudioError

Hook = Callable[[Step], Tensor]
"""Takes the step as it stands and returns the sample that should leave it. Hooks run in the order given."""

_RUN = "_wavebrush_run"  # the attribute of an observed scheduler that holds its Run


class Cancelled(Exception):
    """Raised out of the pipeline's call by the first step that ends after `Run.cancel()`."""


class Run:
    """A denoising run while it happens, and its record afterwards.

    `steps` holds every step if the run is recorded, otherwise only the newest.
    """

    def __init__(self, hooks: Sequence[Hook], on_step: Callable[[Step], None] | None, record: bool) -> None:
        self.steps: list[Step] = []
        self._hooks = tuple(hooks)
        self._on_step = on_step
        self._record = record
        self._cancelled = threading.Event()
        self._index = 0

    def cancel(self) -> None:
        """Ends the run at the end of the step that is being computed. May be called from any thread."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def begin(self) -> None:
        """The scheduler has set its timesteps: counting starts over."""
        self._index = 0

    def take(self, scheduler: Any, x: Tensor, model_output: Tensor, timestep: Any, result: tuple[Any, ...]) -> Tensor:
        """Records one step that the scheduler has made and returns the sample that should leave it.

        Raises Cancelled, after the step is recorded, if the run was cancelled.
        """
        sigma = sigma_of_last_step(scheduler)
        if sigma is None:
            sigma = sigma_of_timestep(scheduler, timestep)
        step = Step(
            index=self._index,
            total=len(scheduler.timesteps),
            order=int(getattr(scheduler, "order", 1)),
            timestep=float(timestep.flatten()[0]) if isinstance(timestep, Tensor) else float(timestep),
            sigma=sigma,
            x=x,
            denoised=clean_estimate(scheduler, x, model_output, timestep, result),
            x_next=result[0],
        )
        for hook in self._hooks:
            changed = hook(step)
            if changed is not step.x_next:
                step = Step(**{**vars(step), "x_next": changed.to(step.x_next.dtype)})
        self._index += 1
        if not self._record:
            self.steps.clear()
        self.steps.append(step)
        if self._on_step is not None:
            self._on_step(step)
        if self.cancelled:
            raise Cancelled
        return step.x_next


class Observed:
    """Marks a scheduler that a run is watching."""


@contextlib.contextmanager
def observe(
    pipe: Any,
    hooks: Sequence[Hook] = (),
    on_step: Callable[[Step], None] | None = None,
    record: bool = True,
) -> Iterator[Run]:
    """Watches every step that `pipe` makes inside the `with` block, and lets `hooks` change what leaves a step.

    The pipeline gets its own scheduler back on leaving, also after an exception. `record=False` keeps only the newest
    step. Raises StudioError if another run is watching this pipeline.
    """
    original = pipe.scheduler
    if isinstance(original, Observed):
        raise StudioError("This pipeline is already being observed. Leave the other `observe` block first.")
    run = Run(hooks, on_step, record)
    pipe.scheduler = _observed(original, run)
    try:
        yield run
    except Cancelled:
        # the pipeline never reached its own end: give offloaded models back as it would have
        if hasattr(pipe, "maybe_free_model_hooks"):
            pipe.maybe_free_model_hooks()
        raise
    finally:
        pipe.scheduler = original


def _observed(scheduler: Any, run: Run | None) -> Any:
    """A scheduler in the same state as `scheduler` whose steps are told to `run` (to nobody if None)."""
    plain_class: Any = type(scheduler)
    observed_class = _observed_class(plain_class)
    twin = observed_class.__new__(observed_class)
    twin.__dict__.update(scheduler.__dict__)
    twin.__dict__[_RUN] = run
    return twin


@functools.cache
def _observed_class(base: Any) -> Any:
    """The observed twin of a scheduler class, under the same name and module, with the same signatures."""
    base_step: Any = base.step
    base_set_timesteps: Any = base.set_timesteps
    signature = inspect.signature(base_step)

    @functools.wraps(base_step)
    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        run: Run | None = self.__dict__[_RUN]
        if run is None:
            return base_step(self, *args, **kwargs)
        given = signature.bind(self, *args, **kwargs).arguments
        # some pipelines write the leaving sample into the storage of the entering one
        x = given["sample"].clone()
        output = base_step(self, *args, **kwargs)
        if isinstance(output, tuple):
            leaving = run.take(self, x, given["model_output"], given["timestep"], output)
            return (leaving, *output[1:])
        output.prev_sample = run.take(self, x, given["model_output"], given["timestep"], output.to_tuple())
        return output

    @functools.wraps(base_set_timesteps)
    def set_timesteps(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = base_set_timesteps(self, *args, **kwargs)
        run: Run | None = self.__dict__[_RUN]
        if run is not None:
            run.begin()
        return result

    def deepcopy(self: Any, memo: dict[int, Any]) -> Any:
        # pipelines with several lanes copy their scheduler; the copy steps for itself, unobserved
        state = {name: value for name, value in self.__dict__.items() if name != _RUN}
        plain = base.__new__(base)
        plain.__dict__.update(copy.deepcopy(state, memo))
        return plain

    namespace = {
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
        "__deepcopy__": deepcopy,
        "step": step,
        "set_timesteps": set_timesteps,
    }
    return type(base.__name__, (Observed, base), namespace)
