"""How a run goes where its request does not say it, and the calls of the pipeline that make it so."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from studio.errors import StudioError

if TYPE_CHECKING:
    from studio.diffusion.harmonise import Rewind
    from studio.diffusion.recording import Recording
    from studio.diffusion.resume import ResumePoint
    from studio.diffusion.start import Start
    from studio.diffusion.steps import Step


@dataclass(frozen=True, eq=False)
class Passage:
    """How a run goes where words and noise alone do not say it."""

    hooks: tuple[Any, ...] = ()  # of the seam; they come after the request's own
    start: ResumePoint | Start | None = None  # where the run begins, if not in pure noise
    # which steps are made again from there, and whether every step's last pass is recorded or the newest turn alone
    rewinding: Callable[[ResumePoint | Start | None, bool], Rewind] | None = None
    pipe: Any = None  # that makes the steps, of the same parts as the model's own pipeline, if not that one
    arguments: Mapping[str, Any] = field(default_factory=dict)  # of its call, beside the request's


Approach = Callable[[Any], Passage]
"""Takes the pipeline of the request's model, once it is in memory, and says how the run goes."""


class Going:
    """Calls a pipeline under observation, once or for every turn of a plan that makes steps again."""

    def __init__(self, pipe: Any, hooks: tuple[Any, ...], on_step: Callable[[Step, Any], None], record: bool) -> None:
        self._pipe = pipe
        self._hooks = hooks
        self._on_step = on_step
        self._record = record
        self.recording: Recording | None = None  # if it was asked for, also of a run that was stopped

    def once(self, arguments: dict[str, Any], start: ResumePoint | Start | None) -> Any:
        """What the pipeline makes in one call. Raises Cancelled."""
        from studio.diffusion.observe import observe

        run: Any = None
        try:
            with observe(
                self._pipe,
                hooks=self._hooks,
                on_step=lambda step: self._on_step(step, run),
                resume=start,
                record=self._record,
            ) as run:
                return self._pipe(**arguments)
        finally:
            if self._record and run is not None:
                with contextlib.suppress(StudioError):  # nothing was made yet
                    self.recording = run.recording

    def again_and_again(self, arguments: dict[str, Any], rewind: Rewind) -> Any:
        """What the pipeline makes in the last of as many calls as the plan has. Raises Cancelled."""
        try:
            with _encoding_once(self._pipe):
                return rewind.paint(self._pipe, lambda: self._pipe(**arguments), self._hooks, self._on_step)
        finally:
            if self._record:
                with contextlib.suppress(StudioError):
                    self.recording = rewind.recording


@contextlib.contextmanager
def _encoding_once(pipe: Any) -> Iterator[None]:
    """Calls of `pipe` with the same words read them once: large text encoders take longer than the steps of a turn."""
    encode = getattr(pipe, "encode_prompt", None)
    if encode is None:
        yield
        return
    calls: list[tuple[tuple[Any, ...], dict[str, Any], Any]] = []

    @functools.wraps(encode)
    def once(*args: Any, **kwargs: Any) -> Any:
        for earlier, named, found in calls:
            if _same(earlier, args) and _same(named, kwargs):
                return found
        found = encode(*args, **kwargs)
        calls.append((args, kwargs, found))
        return found

    attributes = vars(pipe)
    own = {"encode_prompt": encode} if "encode_prompt" in attributes else {}
    attributes["encode_prompt"] = once
    try:
        yield
    finally:
        attributes.pop("encode_prompt", None)
        attributes.update(own)


def _same(a: Any, b: Any) -> bool:
    """Whether two arguments are the same thing; tensors only if they are one."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    return a is b or (not hasattr(a, "shape") and bool(a == b))
