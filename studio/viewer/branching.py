"""From what a person wishes at a step to the run that comes of it: reads a branch, and paints it.

The steps before the branch are the parent's. A hand edit, a mix or fresh noise changes the sample that enters the
step; what is only asked for differently (words, guidance, strengths) changes nothing before it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from studio.branches import LABEL_LIMIT, Branch, Edit, Lock, Mask, Mix, label_of
from studio.diffusion.strengths import Strengths
from studio.engine import Progress
from studio.errors import InvalidRequest, StudioError
from studio.filling import Filling
from studio.passage import Approach, Passage
from studio.picture import Picture
from studio.project.carried_branch import CarriedBranch
from studio.project.runs import KeptRun
from studio.prompts.prepared import prepared
from studio.requests import SEED_RANGE, TextToImage
from studio.viewer import drawing, numbers
from studio.viewer.facts import largest_levels, lock_levels, lockable_bands
from studio.viewer.fills import filling_of_branch
from studio.viewer.source import Frame, Source

if TYPE_CHECKING:
    from torch import Tensor

    from studio.diffusion.continuation import Continuation
    from studio.diffusion.known import KeepKnown
    from studio.diffusion.resume import ResumePoint

CHANGEABLE = ("prompt", "negative_prompt", "guidance_scale", "solver", "num_inference_steps")
_FIELDS = ("from", "request", "correction", "mask", "within", "edit", "noise", "lock", "mix", "label")
_KEEP = object()  # the correction of the parent

Find = Callable[[str], "NDArray[np.uint8] | None"]


@dataclass(frozen=True, eq=False)
class Wish:
    """What a page asks for, read but not yet looked at beside the run that it is about."""

    at: int
    changes: Mapping[str, Any]
    correction: Any  # Strengths, None, or _KEEP
    mask: NDArray[np.uint8] | None
    edit: tuple[NDArray[np.uint8], NDArray[np.uint8] | None, str] | None  # picture, mask, look
    noise_seed: int | None
    lock: Mapping[str, Any] | None  # fields of a Lock; what is missing follows from the run
    mix: Mapping[str, Any] | None  # the same of a Mix
    label: str | None
    within: NDArray[np.uint8] | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], find: Find) -> Wish:
        """Reads a wish; `find` gives an upload by its id. Raises InvalidRequest, naming the field."""
        _only(values, _FIELDS, "A branch", None)
        at = values.get("from")
        if not isinstance(at, int) or isinstance(at, bool):
            raise InvalidRequest('A branch says the step that it starts from, counted from 0: {"from": 5}.', "from")
        changes = _object(values, "request") or {}
        if wrong := sorted(set(changes) - set(CHANGEABLE), key=str):
            raise InvalidRequest(
                f"{wrong[0]!r:.40} cannot change on the way. What can: {', '.join(CHANGEABLE)}.", str(wrong[0])[:40]
            )
        correction: Any = _KEEP
        if "correction" in values:
            found = values["correction"]
            correction = None if found is None else Strengths.from_dict(found)
        return cls(
            at=at,
            changes=changes,
            correction=correction,
            mask=_upload(values, "mask", "mask", find),
            edit=_edit(_object(values, "edit"), find),
            noise_seed=_noise(_object(values, "noise")),
            lock=_object(values, "lock"),
            mix=_object(values, "mix"),
            label=_label(values.get("label")),
            within=_upload(values, "within", "within", find),
        )


def branch_of(source: Source, owner: str, run_id: str, wish: Wish, running: Sequence[str | None]) -> Branch:
    """The branch that a wish means for a run of this owner.

    `running` are the models that may be used. Raises NotThere, LatentsGone, InvalidRequest.
    """
    run = source.run(owner, run_id)
    before = run.request
    if before.model not in running:
        raise InvalidRequest(
            f"This run was painted by '{before.model}'. Start the studio with --model to go on.", "model"
        )
    last = len(run.steps) - 1
    if run.stopped_at is not None and wish.at == last + 1:
        at = last  # to go on with what was stopped, its last step is made once more
    elif 0 <= wish.at <= last:
        at = wish.at
    else:
        raise InvalidRequest(f"A branch starts from step 1 to {last + 1} of this run, not {wish.at + 1}.", "from")
    request = TextToImage.from_dict({**before.to_dict(), **wish.changes})
    if (request.prompt, request.negative_prompt) != (before.prompt, before.negative_prompt):  # words of its own
        request = prepared(replace(request, template="", weighted=False), weighs=source.engine.weighs(request.model))
    request = replace(request, correction=before.correction if wish.correction is _KEEP else wish.correction)
    edit = None
    if wish.edit is not None:
        picture, mask, look = wish.edit
        if picture.shape[:2] != (before.height, before.width):
            raise InvalidRequest(
                f"The painted step is {picture.shape[1]} × {picture.shape[0]} pixels; this run's are "
                f"{before.width} × {before.height}.",
                "edit",
            )
        edit = Edit(picture, mask_of(mask, before, "edit"), look)
    lock = _bands_wish(Lock, wish.lock, "lock", run)
    mix = _bands_wish(Mix, wish.mix, "mix", run)
    if mix is not None:
        other = source.run(owner, mix.run)
        size = (run.channels, run.latent_height, run.latent_width)
        if (other.channels, other.latent_height, other.latent_width) != size:
            raise InvalidRequest("Bands can only be taken from a run of the same size and model.", "mix")
    branch = Branch(
        parent=run.id,
        at=at,
        request=request,
        label="",
        mask=mask_of(wish.mask, before, "mask"),
        edit=edit,
        noise_seed=wish.noise_seed,
        lock=lock,
        mix=mix,
        within=mask_of(wish.within, before, "within"),
    )
    if at or branch.steps_in:
        source.frames(owner, run)  # so that a run whose latents are gone is refused now rather than in the queue
    names = [band.label for band in lockable_bands((mix or lock or Lock((0,))).levels)]
    return replace(branch, label=wish.label or label_of(branch, before, names))


def paint(
    source: Source,
    owner: str,
    branch: Branch,
    on_progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    filling: Filling | None = None,
) -> Picture:
    """Paints a branch: only its own steps are made. Raises StudioError with words for the person.

    What was known to a fill is known to its branches too: `filling`, from `fills.filling_of_branch`, which puts their
    pictures back. It is read here if it was not yet.
    """
    going = going_on(source, owner, branch)
    filling = filling if filling is not None else filling_of_branch(source, owner, branch)
    inner: Approach | None = filling.approach if filling is not None else None
    picture = source.engine.run(
        branch.request,
        on_progress,
        cancelled,
        record=True,
        mask=branch.mask,
        approach=approach_of(going, inner) if going is not None else inner,
    )
    return replace(picture, branch=branch.note(), going=CarriedBranch(going) if going is not None else None)


def going_on(source: Source, owner: str, branch: Branch) -> Continuation | None:
    """How a branch goes on where its request does not say it; None if that says everything. Raises as `paint` does."""
    import torch

    from studio.diffusion.continuation import Continuation

    run = source.run(owner, branch.parent)
    # from the start and with nothing put in, a branch is a run of its own: the exact picture of its request
    if not (branch.at or branch.steps_in) and branch.mask is None:
        return None
    return Continuation(
        point=_point(source, owner, run, branch) if branch.at or branch.steps_in else None,
        keep=_held(source, owner, run, branch.within) if branch.within is not None else None,
        mask=torch.from_numpy(branch.mask) if branch.mask is not None else None,
    )


def approach_of(going: Continuation, inner: Approach | None = None, elsewhere: bool = False) -> Approach:
    """How a run goes that goes on so; `inner` is what its fill does. With `elsewhere` the model need not be the one
    that the run was recorded with: whoever looks for what differs wants to see it.
    """
    from studio.diffusion.fingerprint import fingerprint

    def approach(pipe: Any) -> Passage:
        passage = inner(pipe) if inner is not None else Passage()
        passage = replace(passage, hooks=(*passage.hooks, *going.hooks))
        point = going.point
        if point is None:
            return passage
        if elsewhere:
            facts = replace(point.facts, fingerprint=fingerprint(passage.pipe if passage.pipe is not None else pipe))
            point = replace(point, facts=facts)
        return replace(passage, start=point)

    return approach


def mask_of(pixels: NDArray[np.uint8] | None, request: TextToImage, field: str) -> Mask | None:
    """An uploaded mask as (H, W) in [0, 1] at the size of the request's picture.

    Its transparency counts if it has any, else its brightness. Raises InvalidRequest for another shape than the
    picture's, and for a mask in which nothing is chosen.
    """
    if pixels is None:
        return None
    height, width = pixels.shape[:2]
    if abs(width * request.height - height * request.width) > max(width, height, request.width, request.height):
        raise InvalidRequest(
            f"The mask is {width} × {height} pixels, which has another shape than {request.width} × {request.height}.",
            field,
        )
    if pixels.shape[2] == 4 and pixels[..., 3].min() < 255:
        chosen: Mask = pixels[..., 3].astype(np.float32) / np.float32(255)
    else:
        chosen = drawing.luma(pixels[..., :3].astype(np.float32).transpose(2, 0, 1)) / np.float32(255)
    if not (chosen > 0).any():
        raise InvalidRequest("The mask is empty. Paint over the area that you mean.", field)
    if (height, width) == (request.height, request.width):
        return chosen
    return drawing.resized(chosen, request.width, request.height)


def _held(source: Source, owner: str, run: KeptRun, within: Mask) -> KeepKnown:
    """What a branch holds that changes its parent only within a mask: the rest, at what the parent came to.

    Of what may change altogether nothing is known: whoever is given the picture does not find it inside.
    """
    import torch

    from studio.diffusion.known import KeepKnown
    from studio.diffusion.masks import checked_mask, fit_mask

    last, mask = source.frames(owner, run)[-1], torch.from_numpy(within)
    plane = last.step.layout.to_space(last.clean)
    free = fit_mask(checked_mask(mask).eq(1).double(), tuple(plane.shape[-last.step.layout.axes :]))
    known = last.step.layout.from_space(torch.where(free.to(plane.device) > 1 - 1e-9, 0, plane), like=last.clean)
    return KeepKnown(known, mask, run.request.seed)


# -- the point to go on from ------------------------------------------------------------------------------------------


def _point(source: Source, owner: str, run: KeptRun, branch: Branch) -> ResumePoint:
    """The recorded step that the branch starts from, with everything that is put into it."""
    import torch

    holder = source.holder(owner, run, branch.at)
    recording = source.runs.recording(owner, holder.id)
    point = recording.at(recording.steps[0].index + (branch.at - (holder.branch_at or 0)) * holder.order)
    frames = source.frames(owner, run)
    if branch.noise_seed is not None:
        point = _with_fresh_noise(point, branch.noise_seed)
    if branch.mix is not None:
        point = _mixed(source, owner, run, branch.at, branch.mix, point)
    if branch.edit is not None:
        new, shown = _painted(source, owner, run, branch, branch.edit)
        mask = torch.from_numpy(branch.edit.mask) if branch.edit.mask is not None else None
        point = point.edited(new, shown, mask)
    if branch.lock is not None:
        point = _locked(point, branch.lock, frames[branch.at :])
    if branch.goes_elsewhere(holder.request):
        point = point.elsewhere()
    return point


def _with_fresh_noise(point: ResumePoint, seed: int) -> ResumePoint:
    """The point with the same clean estimate and other noise, drawn on the CPU from its own seed."""
    import torch

    from studio.diffusion import edits

    shape, generator = point.moment.x.shape, torch.Generator("cpu").manual_seed(seed)
    return edits.renoised(point, torch.randn(shape, generator=generator))


def _mixed(source: Source, owner: str, run: KeptRun, at: int, mix: Mix, point: ResumePoint) -> ResumePoint:
    """The point with bands of the other run's clean estimate at the nearest noise level."""
    from studio.diffusion import edits

    other = source.run(owner, mix.run)
    level = run.steps[at].noise_level
    nearest = min(range(len(other.steps)), key=lambda k: abs(other.steps[k].noise_level - level))
    theirs = source.frames(owner, other)[nearest].clean
    return edits.with_band(point, mix.bands, theirs, mix.wavelet, mix.levels)


def _painted(source: Source, owner: str, run: KeptRun, branch: Branch, edit: Edit) -> tuple[Tensor, Tensor]:
    """The painted step and the step as it was shown, both through the encoder, so that its own error cancels."""
    shown = drawing.pixels_of(source.plane(owner, run, branch.at, edit.look))
    picture = edit.picture
    if picture.shape[2] == 4:  # a layer over what was shown
        alpha = picture[..., 3:].astype(np.float32) / 255
        over = alpha * picture[..., :3] + (1 - alpha) * shown
        picture = np.rint(over).astype(np.uint8)
    frame = source.frames(owner, run)[branch.at]
    new, old = (
        source.engine.encode(branch.request, pixels, frame.step.layout, frame.clean) for pixels in (picture, shown)
    )
    if new is None or old is None:
        raise StudioError("This model cannot take a painted step: its encoder cannot be called alone.")
    return new, old


def _locked(point: ResumePoint, lock: Lock, frames: Sequence[Frame]) -> ResumePoint:
    """The point with bands that follow `frames`, the steps of the recorded run from here on."""
    from studio.diffusion.edits import held_alone

    return point.lock(
        lock.bands,
        reference=held_alone([frame.step for frame in frames], lock.bands, lock.wavelet, lock.levels),
        wavelet=lock.wavelet,
        levels=lock.levels,
        release=lock.release,
        mode=lock.mode,
    )


# -- reading ----------------------------------------------------------------------------------------------------------


def _only(values: Mapping[str, Any], known: Sequence[str], what: str, field: str | None) -> None:
    if wrong := sorted(set(values) - set(known), key=str):
        raise InvalidRequest(f"{what} has no field {wrong[0]!r:.40}. It has {', '.join(known)}.", field)


def _object(values: Mapping[str, Any], field: str) -> Mapping[str, Any] | None:
    value = values.get(field)
    if value is not None and not isinstance(value, Mapping):
        raise InvalidRequest(f"'{field}' should be an object, not {value!r:.40}.", field)
    return value


def _upload(values: Mapping[str, Any], key: str, field: str, find: Find) -> NDArray[np.uint8] | None:
    upload_id = values.get(key)
    if upload_id is None:
        return None
    found = find(upload_id) if isinstance(upload_id, str) else None
    if found is None:
        raise InvalidRequest("That painted picture is not there any more. Send it again.", field)
    return found


def _edit(
    values: Mapping[str, Any] | None, find: Find
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None, str] | None:
    if values is None:
        return None
    _only(values, ("picture", "mask", "shown"), "An edit", "edit")
    picture = _upload(values, "picture", "edit", find)
    look = values.get("shown", "full")
    if picture is None or look not in ("fast", "full"):
        raise InvalidRequest("An edit needs the painted picture, and says whether it was shown fast or full.", "edit")
    return picture, _upload(values, "mask", "edit", find), look


def _noise(values: Mapping[str, Any] | None) -> int | None:
    if values is None:
        return None
    _only(values, ("seed",), "Noise", "noise")
    seed = values.get("seed")
    low, high = SEED_RANGE
    if not isinstance(seed, int) or isinstance(seed, bool) or not low <= seed <= high:
        raise InvalidRequest(f"Seeds run from {low} to {high}, not {seed!r:.40}.", "noise")
    return seed


def _bands_wish(kind: Any, given: Mapping[str, Any] | None, field: str, run: KeptRun) -> Any:
    """A Lock or a Mix out of its object, with as many levels as the run's latents suggest. Raises InvalidRequest."""
    if given is None:
        return None
    fields = {f.name: f for f in dataclasses.fields(kind)}
    _only(given, tuple(fields), f"'{field}'", field)
    missing = [f for f in fields.values() if f.default is dataclasses.MISSING and f.name not in given]
    bands = given.get("bands")
    if missing or not isinstance(bands, list) or not 1 <= len(bands) <= 6:
        raise InvalidRequest(f"'{field}' needs {' and '.join(f.name for f in missing) or 'a list of bands'}.", field)
    read: dict[str, Any] = {"levels": lock_levels(run), **given, "bands": tuple(bands)}
    if "release" in read and (isinstance(read["release"], bool) or not isinstance(read["release"], (int, float))):
        raise InvalidRequest(f"A lock lets go at a noise level from 0 to 1, not {read['release']!r:.40}.", field)
    if "wavelet" in read and read["wavelet"] not in numbers.WAVELETS:
        raise InvalidRequest(f"Choose one of these wavelets: {', '.join(numbers.WAVELETS)}.", field)
    for name in ("mode", "run"):
        if name in read and not isinstance(read[name], str):
            raise InvalidRequest(f"'{name}' should be text, not {read[name]!r:.40}.", field)
    chosen = kind(**read)
    if chosen.levels > (most := largest_levels(run)):
        raise InvalidRequest(f"Latents of this size have at most {most} levels.", field)
    return chosen


def _label(value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > LABEL_LIMIT or not value.isprintable():
        raise InvalidRequest(f"A name is one line of at most {LABEL_LIMIT} characters.", "label")
    return value
