"""The scheduler that stands at the seam, and the methods of a pipeline that lead there.

An observed scheduler is an instance of a class made from `(Observed, type(scheduler))`, so that everything a pipeline
inspects (isinstance, signatures, the configuration, the name on saving) is as before.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from studio.diffusion.run import Run

_RUN = "_wavebrush_run"  # the attribute of an observed scheduler that holds its Run
_PREPARING = ("prepare_latents", "prepare_intermediate_images")
_ENDING = "maybe_free_model_hooks"


class Observed:
    """Marks a scheduler that a run is watching."""


def observed_twin(scheduler: Any, run: Run) -> Any:
    """A scheduler in the same state as `scheduler` whose steps are made by `run`."""
    plain_class: Any = type(scheduler)
    observed_class = _observed_class(plain_class)
    twin = observed_class.__new__(observed_class)
    twin.__dict__.update(scheduler.__dict__)
    twin.__dict__[_RUN] = run
    return twin


@contextlib.contextmanager
def watched_methods(pipe: Any, run: Run) -> Iterator[None]:
    """Tells `run` when the pipeline prepares its latents and when its call ends. Restores the pipeline on leaving."""
    attributes = vars(pipe)
    own = {name: attributes[name] for name in (*_PREPARING, _ENDING) if name in attributes}
    for name in _PREPARING:
        if hasattr(pipe, name):
            attributes[name] = _preparing(getattr(pipe, name), run)
    if hasattr(pipe, _ENDING):
        attributes[_ENDING] = _ending(getattr(pipe, _ENDING), run)
    try:
        yield
    finally:
        for name in (*_PREPARING, _ENDING):
            attributes.pop(name, None)
        attributes.update(own)


def _preparing(method: Any, run: Run) -> Any:
    signature = inspect.signature(method)

    @functools.wraps(method)
    def prepare(*args: Any, **kwargs: Any) -> Any:
        run.preparing(signature.bind(*args, **kwargs).arguments)
        return run.prepared(method(*args, **kwargs))

    return prepare


def _ending(method: Any, run: Run) -> Any:
    @functools.wraps(method)
    def end(*args: Any, **kwargs: Any) -> Any:
        run.call_ended()
        return method(*args, **kwargs)

    return end


@functools.cache
def _observed_class(base: Any) -> Any:
    """The observed twin of a scheduler class, under the same name and module, with the same signatures."""
    signature = inspect.signature(base.step)
    base_scale: Any = getattr(base, "scale_model_input", None)

    @functools.wraps(base.step)
    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        run: Run | None = self.__dict__.get(_RUN)
        if run is None:
            return base.step(self, *args, **kwargs)
        return run.step(self, signature.bind(self, *args, **kwargs), base.step)

    @functools.wraps(base.set_timesteps)
    def set_timesteps(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = base.set_timesteps(self, *args, **kwargs)
        run: Run | None = self.__dict__.get(_RUN)
        if run is not None:
            run.begin(self)
        return result

    def scale_model_input(self: Any, sample: Any, *args: Any, **kwargs: Any) -> Any:
        run: Run | None = self.__dict__.get(_RUN)
        if run is not None:
            run.arrive(self, sample.device)
        return sample if base_scale is None else base_scale(self, sample, *args, **kwargs)

    def deepcopy(self: Any, memo: dict[int, Any]) -> Any:
        # pipelines with several lanes copy their scheduler; the copy steps for itself, unobserved
        run: Run | None = self.__dict__.get(_RUN)
        if run is not None:
            run.branched()
        state = {name: value for name, value in self.__dict__.items() if name != _RUN}
        plain = base.__new__(base)
        memo[id(self)] = plain
        plain.__dict__.update(copy.deepcopy(state, memo))
        return plain

    namespace = {
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
        "__deepcopy__": deepcopy,
        "step": step,
        "set_timesteps": set_timesteps,
        # also where the original has none: some pipelines ask for the exact class before they leave it out
        "scale_model_input": functools.wraps(base_scale)(scale_model_input) if base_scale else scale_model_input,
    }
    return type(base.__name__, (Observed, base), namespace)
