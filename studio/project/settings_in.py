"""The settings that a dropped PNG brings: our own with everything in it, or a stranger's as far as it goes.

Nothing is loaded, fetched or painted: what comes back is a request and words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from studio.errors import InvalidRequest, UnreadablePicture
from studio.imaging.png import REQUEST_KEY, read_png_text
from studio.project.store import note_in
from studio.prompts import strangers
from studio.prompts.prepared import as_written
from studio.requests import TextToImage

OURS = "wavebrush"


@dataclass(frozen=True)
class SettingsIn:
    """What belongs into the form, and what has to be said about it."""

    request: TextToImage  # as a person would write it: with its wildcards
    program: str
    prompt: str  # that was painted: wildcards decided
    stopped_at: int | None = None
    exact: bool = False  # painting it gives the same picture, on the same software
    notes: tuple[str, ...] = ()


def settings_in(png: bytes, usual: TextToImage, side: int) -> SettingsIn:
    """The settings in a PNG. `usual` and `side` are the request and the longest side (px) of the model that is here.

    Raises UnreadablePicture if the file is no PNG or no settings are found in it, InvalidRequest if ours are wrong.
    """
    texts = read_png_text(png)
    if REQUEST_KEY in texts:
        return _ours(note_in(png))
    found = strangers.read(texts)
    if found is None:
        raise UnreadablePicture(
            "This PNG carries no settings that are known here: it was not made by a program that writes them, or its "
            "text was stripped on the way."
        )
    settled = strangers.settle(found, usual, side)
    return SettingsIn(settled.request, settled.program, settled.request.prompt, notes=settled.notes)


def _ours(note: Mapping[str, Any]) -> SettingsIn:
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
    if isinstance(branch := note.get("branch"), dict) and (branch.get("from") or len(branch) > 2):
        notes.append("It left another run on its way: its settings alone paint another picture.")
        exact = False
    if isinstance(note.get("fill"), dict):
        notes.append("It fills a region of another picture: from its words alone a new picture is painted.")
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
    if request.template:
        notes.append(f"At this seed its wildcards became: {request.prompt}")
    return SettingsIn(as_written(request), OURS, request.prompt, stopped_at, exact, tuple(notes))
