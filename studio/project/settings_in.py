"""The settings that a dropped PNG brings: our own with everything in it, or a stranger's as far as it goes.

Nothing is loaded, fetched or painted: what comes back is a request and words.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from studio.errors import InvalidRequest, UnreadablePicture, shown
from studio.imaging.geometry import Bounds, Extent
from studio.imaging.png import REQUEST_KEY, read_png_text
from studio.project import carried_branch
from studio.project.carried_fill import Region, fill_of, region_in
from studio.project.kept_fill import KeptFill
from studio.project.names import PICTURE_ID
from studio.project.store import note_in
from studio.prompts import strangers
from studio.prompts.prepared import as_written
from studio.requests import TextToImage

OURS = "wavebrush"
LEAST_FRAME = 16  # px; smaller pictures are not filled

_WORDS_ALONE = "It fills a region of another picture: from its words alone a new picture is painted."
_LAID_OUT = f"{_WORDS_ALONE} Dropped in Fill, it is laid out again with all that it was made of."
_DONE = {  # by what a note says of a branch
    "edited": "painted over there",
    "noise_seed": "with other noise",
    "lock": "with bands of it kept",
    "mix": "with bands of a third",
    "within": "changed in a region alone",
    "masked": "corrected in a region alone",
}


@dataclass(frozen=True)
class SettingsIn:
    """What belongs into the form, and what has to be said about it."""

    request: TextToImage  # as a person would write it: with its wildcards
    program: str
    prompt: str  # that was painted: wildcards decided
    stopped_at: int | None = None
    exact: bool = False  # painting it gives the same picture, on the same software
    notes: tuple[str, ...] = ()
    fill: FillIn | None = None
    branch: BranchIn | None = None


@dataclass(frozen=True)
class BranchIn:
    """Which run a branch left, and with which of its steps it begins, counted from 0."""

    parent: str
    at: int


@dataclass(frozen=True)
class FillIn:
    """A fill that can be laid out again, from the pixels that its PNG carries: its frame is the whole picture."""

    request: Mapping[str, Any]  # as `Fill.to_dict` has it, its words as a person would write them
    exact: bool  # asked for so, with `free` as the mask, the model that is here paints the same again
    notes: tuple[str, ...] = ()


def settings_in(png: bytes, usual: TextToImage, side: int) -> SettingsIn:
    """The settings in a PNG. `usual` and `side` are the request and the longest side (px) of the model that is here.

    Raises UnreadablePicture if the file is no PNG or no settings are found in it, InvalidRequest if ours are wrong.
    """
    texts = read_png_text(png)
    if REQUEST_KEY in texts:
        return _ours(png, note_in(png), usual)
    found = strangers.read(texts)
    if found is None:
        raise UnreadablePicture(
            "This PNG carries no settings that are known here: it was not made by a program that writes them, or its "
            "text was stripped on the way."
        )
    settled = strangers.settle(found, usual, side)
    return SettingsIn(settled.request, settled.program, settled.request.prompt, notes=settled.notes)


def _ours(png: bytes, note: Mapping[str, Any], usual: TextToImage) -> SettingsIn:
    notes: list[str] = []
    values = note["request"]
    try:
        request = TextToImage.from_dict(values)
    except InvalidRequest as problem:
        if "correction" not in values or problem.field not in ("correction", None):
            raise
        request = TextToImage.from_dict({key: value for key, value in values.items() if key != "correction"})
        notes.append(f"Its correction was left out. {problem}")
    exact = not notes
    branch = carried_branch.is_more_than_asked(note)
    if branch:
        notes.append(_branch_words(png, note))
        exact = False
    if isinstance(note.get("fill"), dict):
        notes.append(_WORDS_ALONE)
        exact = False
    stopped_at = note.get("stopped_at")
    if isinstance(stopped_at, bool) or not isinstance(stopped_at, int):
        stopped_at = None
    elif 0 <= stopped_at < request.num_inference_steps:
        notes.append(
            f"It was stopped at step {stopped_at} of {request.num_inference_steps}: painted whole, it goes on."
        )
        exact = False
    else:
        stopped_at = None
    fill = _fill(png, note, request, usual, [words for words in notes if words != _WORDS_ALONE])
    if fill is not None:
        notes = [_LAID_OUT if words == _WORDS_ALONE else words for words in notes]
    if request.template:
        notes.append(f"At this seed its wildcards became: {request.prompt}")
    left = _branch(note) if branch else None
    return SettingsIn(as_written(request), OURS, request.prompt, stopped_at, exact, tuple(notes), fill, left)


def _branch_words(png: bytes, note: Mapping[str, Any]) -> str:
    at, said = carried_branch.step_of(note), note["branch"]
    way = "It is a branch: it left another run " + (f"and goes on from step {at} of it" if at else "on its way")
    words = ", ".join([way, *(done for key, done in _DONE.items() if said.get(key) is not None)])
    try:
        alone = carried_branch.carries(png, note)
    except UnreadablePicture:
        alone = False  # its settings are worth something all the same
    more = "; the file itself can be verified" if alone else ""
    return f"{words}. Its settings alone paint another picture{more}."


def _branch(note: Mapping[str, Any]) -> BranchIn | None:
    parent, at = note["branch"].get("parent"), carried_branch.step_of(note)
    known = isinstance(parent, str) and PICTURE_ID.fullmatch(parent) is not None
    return BranchIn(parent, at - 1) if known and at is not None else None


def _fill(
    png: bytes, note: Mapping[str, Any], request: TextToImage, usual: TextToImage, known: list[str]
) -> FillIn | None:
    """The fill that the file is, if all that is needed to ask for it again is in it and believed. `known`: what its
    request does not say about how it was painted.
    """
    if "carried" not in note:
        return None
    try:
        kept = fill_of(note, request)
        region = region_in(png, note, kept.frame.extent) if kept is not None else None
    except (UnreadablePicture, InvalidRequest):
        return None  # its words are worth something all the same
    if kept is None or region is None or min(region.mask.shape) < LEAST_FRAME:
        return None
    fill = dataclasses.replace(
        kept.fill, painting=as_written(request), grow=0, context=Bounds(0, 0, kept.frame.width, kept.frame.height)
    )
    notes = (*known, *_otherwise(kept, region, usual))
    return FillIn(fill.to_dict(), not notes, notes)


def _otherwise(kept: KeptFill, region: Region, usual: TextToImage) -> list[str]:
    """What would be otherwise if the fill were asked for again with its frame as the picture."""
    from studio.imaging import masks  # only now: it brings OpenCV
    from studio.imaging.context import working_size

    painting, notes = kept.fill.painting, []
    if painting.model != usual.model:
        notes.append(f"It was painted by '{shown(painting.model)}'.")
    if painting.solver != usual.solver:
        notes.append(f"It was painted with {painting.solver}.")
    working = Extent(painting.width, painting.height)
    if working_size(kept.frame.extent, Extent(usual.width, usual.height)) != working:
        notes.append(f"It was worked at {working.width} × {working.height} px.")
    if not np.array_equal(masks.feathered(region.free, kept.fill.feather), region.mask):
        notes.append("Its mask was cut off at the frame.")
    return notes
