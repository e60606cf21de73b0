"""What the PNG of a branch carries beside its note: how it goes on from its step, so that the file alone is enough.

The steps before are another run's. Of them the branch has the sample that enters its first step, edited, and what the
solver remembers of them; with it goes what is held from there on. It is one safetensors file (see
`diffusion.continuation`), packed, in a private chunk that programs which do not know it may keep only while they leave
the picture's pixels alone. The note has its digest, and nothing is believed that does not have it.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from studio.errors import StudioError, UnreadablePicture
from studio.imaging.png import read_png_chunks
from studio.project.carried_fill import KEPT_BACK, LEFT_OUT

if TYPE_CHECKING:
    from studio.diffusion.continuation import Continuation

CHUNK = b"wbGO"
MAX_CARRIED = 24 * 1024**2  # bytes, packed
MAX_UNPACKED = 64 * 1024**2  # bytes
UNWRITABLE = {"left_out": "kind"}  # what a note says where a solver remembers what no file holds
_REASONS = (LEFT_OUT, KEPT_BACK, UNWRITABLE)
_LEVEL = 6  # of zlib


@dataclass(frozen=True, eq=False)
class CarriedBranch:
    """How a branch goes on, as its PNG carries it."""

    continuation: Continuation

    @cached_property
    def _packed(self) -> tuple[bytes, dict[str, str]]:
        """The chunk's body and what the note says of it; no body where it is not carried."""
        from studio.diffusion.continuation import written

        try:
            parts = [bytes(part) for part in written(self.continuation)]
        except StudioError:
            return b"", UNWRITABLE
        if sum(map(len, parts)) > MAX_UNPACKED:
            return b"", LEFT_OUT
        content = b"".join(parts)
        packed = zlib.compress(content, _LEVEL)
        return (packed, {"digest": _digest(content)}) if len(packed) <= MAX_CARRIED else (b"", LEFT_OUT)

    def chunks(self) -> dict[bytes, bytes]:
        """As a PNG carries it; empty if it cannot."""
        packed, _ = self._packed
        return {CHUNK: packed} if packed else {}

    def note(self, carried: bool = True) -> dict[str, str]:
        """What the note says of what the PNG carries; unless `carried`, there was no room for it in the file."""
        packed, said = self._packed
        return said if carried or not packed else LEFT_OUT


def is_more_than_asked(note: Mapping[str, Any]) -> bool:
    """Whether a PNG with this note is a branch that its request alone does not paint again."""
    branch = note.get("branch")
    return isinstance(branch, dict) and bool(branch.get("from") or len(branch) > 2)


def step_of(note: Mapping[str, Any]) -> int | None:
    """The step at which a branch left its parent, counted from 1; None where the note does not say it."""
    branch = note.get("branch")
    at = branch.get("from") if isinstance(branch, dict) else None
    return at + 1 if isinstance(at, int) and not isinstance(at, bool) and 0 <= at < 2**31 else None


def why_alone(note: Mapping[str, Any]) -> str:
    """Why a branch that carries nothing cannot be painted again: one or two sentences."""
    at = step_of(note)
    left = f"This picture left another run {f'at step {at}' if at is not None else 'on its way'}."
    what = "The steps before that, and what was painted into them, are"
    again = "The picture of the run that it left can."
    said = note.get("going_on")
    if said == LEFT_OUT:
        return f"{left} {what} too large to be in the file, so the file alone cannot be painted again. {again}"
    if said == KEPT_BACK:
        return (
            f"{left} What was to be taken away there is not in the file, so the file alone cannot be painted again. "
            f"{again}"
        )
    return (
        f"{left} {what} in the studio's data and not in the file, so the file alone cannot be painted again. {again}"
    )


def carries(png: bytes, note: Mapping[str, Any]) -> bool:
    """Whether a PNG with this note seems to carry how it goes on; it is not looked into."""
    said = note.get("going_on")
    if not is_more_than_asked(note) or not isinstance(said, dict) or said in _REASONS:
        return False
    return bool(read_png_chunks(png, frozenset({CHUNK}), MAX_CARRIED))


def going_in(png: bytes, note: Mapping[str, Any]) -> Continuation | None:
    """How the branch that a PNG with this note is goes on; None if it is none, or carries nothing.

    Raises UnreadablePicture where that is damaged, too large, or not what the note says.
    """
    if not carries(png, note):
        return None
    from studio.diffusion.continuation import read

    content = _unpacked(read_png_chunks(png, frozenset({CHUNK}), MAX_CARRIED)[CHUNK])
    if _digest(content) != note["going_on"].get("digest"):
        raise UnreadablePicture("What this PNG carries of its branch is not what its note says: one was changed.")
    try:
        return read(content)
    except StudioError as problem:
        raise UnreadablePicture(f"What this PNG carries of its branch cannot be used. {problem}") from problem


def _unpacked(packed: bytes) -> bytes:
    """At most MAX_UNPACKED bytes: what is longer is refused without being unpacked further."""
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(packed, MAX_UNPACKED + 1)
    except zlib.error:
        raise UnreadablePicture("What this PNG carries of its branch is damaged.") from None
    if len(content) > MAX_UNPACKED:
        raise UnreadablePicture(f"What this PNG carries of its branch unpacks to more than {MAX_UNPACKED:,} bytes.")
    if not unpacker.eof or unpacker.unused_data:
        raise UnreadablePicture("What this PNG carries of its branch is damaged.")
    return content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
