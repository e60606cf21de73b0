"""How a run goes on from a step, on its own: all that is needed to make those steps again without the run before.

    found = Continuation(run.at(7).edited(painted, shown))
    content = b"".join(written(found))
    with observe(pipe, hooks=read(content).hooks, resume=read(content).point): ...

What is not needed for that is not in it. Of the run that was left it holds the sample that enters the step, what the
solver remembers, and of later steps only the bands that are held; not its picture.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from studio.diffusion.edits import BandLock
from studio.diffusion.hooks import Hook
from studio.diffusion.known import KeepKnown
from studio.diffusion.masks import checked_mask
from studio.diffusion.recording import Moment, Recording
from studio.diffusion.resume import ResumePoint
from studio.diffusion.run_json import Namer, Unreadable, check, from_json, to_json
from studio.diffusion.sealed import Kind, seal, unseal
from studio.errors import StudioError, shown, shown_value
from studio.tensor_file import UnsoundFile

_KIND = Kind("wavebrush-continuation", 1, "how a run goes on", 4 * 1024**2)
_LOCKS_LIMIT = 8
_SMALL = 64  # numbers in a tensor of a solver's memory that is not shaped as the sample
_KEYS = frozenset({"run", "another_way", "locks", "keep", "mask"})
_LOCK_KEYS = frozenset({"bands", "wavelet", "levels", "release", "mode", "steps"})


@dataclass(frozen=True, eq=False)
class Continuation:
    """Where a run goes on, and what acts on it from there beside what its request says."""

    point: ResumePoint | None = None  # None: from its beginning
    keep: KeepKnown | None = None  # what is held of the picture before
    mask: Tensor | None = None  # (H, W) in [0, 1]: where the request's correction acts

    def __post_init__(self) -> None:
        if self.point is not None:
            object.__setattr__(self, "point", bare(self.point))

    @property
    def hooks(self) -> tuple[Hook, ...]:
        """Beside those that the point brings with it."""
        return () if self.keep is None else (self.keep,)


def bare(point: ResumePoint) -> ResumePoint:
    """The point with nothing of the recorded run but what going on from it needs."""
    step, moment = point.step, point.moment
    if point.another_way:  # the sample is made anew of the clean estimate, and the solver forgets
        moment = replace(moment, memory={}, arguments={})
        return replace(point, moment=moment, step=replace(step, x_next=step.x))
    return replace(point, step=replace(step, x=moment.x, x_next=moment.x, denoised=None))


def written(found: Continuation) -> Iterator[bytes | memoryview]:
    """The parts of a file that `read` reads. Raises StudioError for what no file can hold."""

    def describe(name: Namer) -> object:
        _check(found)
        return _to_json(found, name)

    try:
        return seal(_KIND, describe)
    except Unreadable as problem:
        raise StudioError(f"How this run goes on cannot be written: {problem}.") from problem


def read(content: bytes) -> Continuation:
    """The inverse of `written`, for a file that a stranger may have made. Raises StudioError for anything else."""
    name = "continuation"
    try:
        return unseal(_KIND, io.BytesIO(content), name, len(content), _from_json)
    except UnsoundFile as problem:
        raise StudioError(str(problem)) from None
    except Unreadable as problem:
        raise StudioError(f"It does not say how a run goes on: {problem}.") from None


# -- as JSON ----------------------------------------------------------------------------------------------------------


def _to_json(found: Continuation, name: Namer) -> dict[str, object]:
    point, keep = found.point, found.keep
    locks = [] if point is None else [_lock_to_json(lock, k, point, name) for k, lock in enumerate(_locks(point))]
    return {
        "run": None if point is None else to_json(_recording(point), name),
        "another_way": point is not None and point.another_way,
        "locks": locks,
        "keep": None
        if keep is None
        else {"known": name(keep.known, "known"), "mask": name(keep.mask, "known.mask"), "seed": keep.seed},
        "mask": None if found.mask is None else name(found.mask, "mask"),
    }


def _lock_to_json(lock: BandLock, number: int, point: ResumePoint, name: Namer) -> dict[str, object]:
    if isinstance(lock.reference, Tensor) or not isinstance(lock.release, int | float):
        raise Unreadable("a lock in it does not follow the steps of a run, or lets go by a schedule")

    def named(tensor: Tensor, wanted: str) -> str:
        return name(tensor, f"lock{number}.{wanted}")

    return {
        "bands": list(lock.bands),
        "wavelet": lock.wavelet,
        "levels": lock.levels,
        "release": float(lock.release),
        "mode": lock.mode,
        "steps": to_json(Recording(tuple(lock.reference), (), point.facts), named)["steps"],
    }


def _from_json(value: object, tensor: Callable[[str], Tensor]) -> Continuation:
    fields = _object(value, "it", _KEYS)
    keep, mask, run = fields["keep"], fields["mask"], fields["run"]
    if not isinstance(fields["another_way"], bool) or not isinstance(fields["locks"], list):
        raise Unreadable("its way is not told as it should be")
    if run is None and (fields["locks"] or fields["another_way"]):
        raise Unreadable("it goes on from nowhere")
    found = Continuation(
        None if run is None else _point(run, fields["another_way"], fields["locks"], tensor),
        None if keep is None else _keep(keep, tensor),
        None if mask is None else tensor(_text(mask)),
    )
    _check(found)
    return found


def _point(run: object, another_way: bool, locks: list[object], tensor: Callable[[str], Tensor]) -> ResumePoint:
    recording = from_json(run, tensor)
    if len(recording.steps) != 1:
        raise Unreadable(f"it goes on from {len(recording.steps)} steps")
    check(recording)
    if len(locks) > _LOCKS_LIMIT:
        raise Unreadable(f"it has {len(locks):,} locks")
    try:
        point = recording.at(recording.steps[0].index)
    except StudioError as problem:
        raise Unreadable(str(problem).rstrip(".")) from None
    facts = _object(run, "its run", frozenset({"facts", "steps", "moments"}))["facts"]
    hooks = tuple(_lock(lock, facts, tensor) for lock in locks)
    return replace(point, another_way=another_way, hooks=hooks)


def _lock(value: object, facts: object, tensor: Callable[[str], Tensor]) -> BandLock:
    fields = _object(value, "a lock", _LOCK_KEYS)
    steps = from_json({"facts": facts, "steps": fields["steps"], "moments": []}, tensor).steps
    bands, levels, release = fields["bands"], fields["levels"], fields["release"]
    if not isinstance(bands, list) or type(release) not in (int, float) or len(bands) > _SMALL:
        raise Unreadable("a lock in it has no bands, or never lets go")
    try:
        return BandLock(tuple(bands), steps, fields["wavelet"], levels, release, fields["mode"])
    except (StudioError, TypeError, ValueError) as problem:
        raise Unreadable(f"a lock in it cannot be: {problem}") from None


def _keep(value: object, tensor: Callable[[str], Tensor]) -> KeepKnown:
    fields = _object(value, "what it holds", frozenset({"known", "mask", "seed"}))
    try:
        return KeepKnown(tensor(_text(fields["known"])), tensor(_text(fields["mask"])), fields["seed"])
    except StudioError as problem:
        raise Unreadable(f"what it holds cannot be held: {problem}") from None


def _object(value: object, where: str, keys: frozenset[str]) -> dict[str, Any]:
    if not isinstance(value, dict) or value.keys() != keys:
        raise Unreadable(f"{where} is not described by {', '.join(sorted(keys))}")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Unreadable(f"a tensor in it is called {shown_value(value)}")
    return value


# -- what must hold ---------------------------------------------------------------------------------------------------


def _recording(point: ResumePoint) -> Recording:
    return Recording((point.step,), (point.moment,), point.facts)


def _locks(point: ResumePoint) -> list[BandLock]:
    if not all(isinstance(hook, BandLock) for hook in point.hooks):
        raise Unreadable("it brings a hook that only its program knows")
    return [hook for hook in point.hooks if isinstance(hook, BandLock)]


def _check(found: Continuation) -> None:
    """Raises Unreadable unless everything fits together, so that nothing that is carried out is larger than it is."""
    point, keep = found.point, found.keep
    if point is not None:
        check(_recording(point))
        x = point.moment.x
        if point.facts.begin_index + point.index >= len(point.facts.timesteps):
            raise Unreadable(f"it goes on from step {point.index}, which its run does not have")
        if point.another_way and point.step.denoised is None:
            raise Unreadable("it goes another way, and has no clean estimate to begin with")
        latents = {"sample": x, "entering": point.step.x, "clean estimate": point.step.denoised}
        for lock in _locks(point):
            steps = () if isinstance(lock.reference, Tensor) else lock.reference
            latents |= {f"held step {step.index}": step.denoised for step in steps}
        for what, tensor in latents.items():
            _check_latents(what, tensor, x)
        _check_memory(point.moment)
    if keep is not None:
        _check_latents("known picture", keep.known, keep.known)
        if point is not None and keep.known.shape[1:] != point.moment.x.shape[1:]:
            raise Unreadable(f"its known picture is shaped {tuple(keep.known.shape)}")
    if found.mask is not None:
        try:
            checked_mask(found.mask)
        except StudioError as problem:
            raise Unreadable(str(problem).rstrip(".")) from None


def _check_latents(what: str, tensor: Tensor | None, like: Tensor) -> None:
    if tensor is None:
        return
    if not tensor.is_floating_point() or tensor.shape != like.shape:
        raise Unreadable(f"its {what} is {tensor.dtype} shaped {tuple(tensor.shape)}, its sample {tuple(like.shape)}")
    if not tensor.numel() or not bool(tensor.isfinite().all()):
        raise Unreadable(f"its {what} holds numbers that are infinite or none at all")


def _check_memory(moment: Moment) -> None:
    """What a solver calculates with is as large as the sample, or a few numbers: others would grow when they meet."""

    def checked(value: object, where: str) -> None:
        if isinstance(value, list | tuple):
            for item in value:
                checked(item, where)
        if not isinstance(value, Tensor):
            return
        if value.shape != moment.x.shape and (value.ndim > 1 or value.numel() > _SMALL):
            raise Unreadable(f"its solver remembers {shown(where, 40)} shaped {tuple(value.shape)}")
        if value.is_floating_point() and value.ndim > 1 and not bool(value.isfinite().all()):
            raise Unreadable(f"its solver remembers numbers in {shown(where, 40)} that are infinite or none at all")

    for kind in (moment.memory, moment.arguments):
        for key, value in kind.items():
            checked(value, key)
