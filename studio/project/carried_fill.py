"""What the PNG of a fill carries beside its note: pixels and masks of its frame, so that the file alone is enough.

They are the two PNGs that are kept beside a run, in private chunks of the picture's own PNG. The note has the digests
of their pixels, and nothing is believed that does not have them.

The chunks are ancillary (every viewer passes them by), private, and, by their last letter, not safe to copy: they hold
the picture as it was before. A program that does not know them may keep them only while it leaves the picture's pixels
alone. What is cut out of a picture, or blurred in it, must not stay behind in a chunk that nobody sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.errors import UnreadablePicture
from studio.imaging.geometry import Bounds, Extent
from studio.imaging.plain_png import HEADER, MAX_SIDE, digest_of, extent_at
from studio.imaging.png import read_png_chunks
from studio.project.kept_fill import MASK, SOURCE, KeptFill, files_of, read_files
from studio.requests import TextToImage

MAX_CARRIED = 24 * 1024**2  # bytes of both PNGs
CHUNKS = {SOURCE: b"wbSR", MASK: b"wbMA"}
LEFT_OUT = {"left_out": "size"}  # what a note says of a frame that is too large to be carried
# ... and of one whose contents were to go: whoever is given the picture must not find them inside of the file
KEPT_BACK = {"left_out": "taken away"}
TAKING_AWAY = frozenset({"remove", "replace"})  # intents

NOT_ASKED = ("picture", "source", "mask")  # of what a note says of a fill: facts about its inputs
_CHANGED = "What this PNG carries of its fill is not what its note says: one of them was changed."


@dataclass(frozen=True, eq=False)
class Region:
    """The part of a picture that a fill sees: its pixels, where it acts, and where the model may paint."""

    source: NDArray[np.uint8]  # (h, w, 4)
    mask: NDArray[np.uint8]  # (h, w)
    free: NDArray[np.uint8]  # (h, w)

    @cached_property
    def files(self) -> dict[str, bytes]:
        """As it is kept beside a run."""
        return files_of(self.source, self.mask, self.free)

    def digests(self) -> dict[str, str]:
        """What stands for its pixels, by their names."""
        return {name: digest_of(getattr(self, name)) for name in ("source", "mask", "free")}

    def chunks(self) -> dict[bytes, bytes]:
        """As a PNG carries it; empty if it is too large for that."""
        if max(self.mask.shape) > MAX_SIDE or sum(map(len, self.files.values())) > MAX_CARRIED:
            return {}
        return {CHUNKS[ending]: file for ending, file in self.files.items()}


def fill_of(note: Mapping[str, Any], painting: TextToImage) -> KeptFill | None:
    """The fill that a PNG with this note is, or None. Raises StudioError for one that makes no sense."""
    values = note.get("fill")
    if not isinstance(values, dict):
        return None
    facts = {name: values.get(name) for name in NOT_ASKED}
    asked = {name: value for name, value in values.items() if name not in facts}
    try:
        found = KeptFill.from_dict({"request": asked, **facts}, painting)
    except (ValueError, KeyError, TypeError) as problem:
        raise UnreadablePicture("What this PNG says of its fill makes no sense.") from problem
    whole = Bounds(0, 0, found.picture.width, found.picture.height)
    if found.frame.intersection(whole) != found.frame:
        raise UnreadablePicture("This PNG says that it fills a frame that lies outside of its picture.")
    return found


def region_in(png: bytes, note: Mapping[str, Any], frame: Extent) -> Region | None:
    """What a PNG with this note carries of its fill, whose frame has this size. None if it carries nothing.

    Raises UnreadablePicture where it is damaged, too large, or has other pixels than the note says.
    """
    said = note.get("carried")
    if not isinstance(said, dict) or said in (LEFT_OUT, KEPT_BACK):
        return None
    found = read_png_chunks(png, frozenset(CHUNKS.values()), MAX_CARRIED)
    if not found:
        return None  # a program that does not know them left them out
    source, masks = (found.get(CHUNKS[ending], b"") for ending in (SOURCE, MASK))
    for file, channels in ((source, 4), (masks, 3)):
        extent = extent_at(file[:HEADER])
        if (extent.width, extent.height, extent.channels) != (frame.width, frame.height, channels):
            raise UnreadablePicture(_CHANGED)
    region = read_files(source, masks)
    if region is None or Region(*region).digests() != said or not region[1].any():
        raise UnreadablePicture(_CHANGED)
    return Region(*region)
