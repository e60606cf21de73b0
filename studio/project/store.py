"""Finished pictures on disk, one lossless PNG each; the PNG carries its request, so it is its own record.

Names are ids made here. Each owner has a folder of their own, named by a digest, so that no name from outside ever
becomes a path. A file appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from studio import strict_json
from studio.errors import InvalidRequest, StudioError, UnreadablePicture
from studio.imaging.png import REQUEST_KEY, read_png_text
from studio.requests import JSON_DEPTH, JSON_LIMIT, TextToImage

_ID = re.compile(r"[0-9]{13}-[0-9a-f]{16}")  # milliseconds since 1970, then 64 random bits


@dataclass(frozen=True)
class KeptPicture:
    """A picture in the store, as far as its own file tells. `made_at` is in milliseconds since 1970."""

    id: str
    request: TextToImage
    made_at: int
    stopped_at: int | None
    seconds: float | None


class PictureStore:
    """The pictures of everybody who uses this studio, below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "pictures"
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], KeptPicture | None] = {}

    def prepare(self) -> None:
        """Makes the folder. Raises StudioError if no picture could be kept there."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder):
                pass
        except OSError as problem:
            raise StudioError(
                f"Pictures cannot be kept in {self._folder}: {problem.strerror or problem}. "
                "Choose another folder with --data."
            ) from problem

    def add(self, owner: str, png: bytes, made_at: int, seconds: float | None = None) -> str:
        """Keeps a picture and returns its id. Raises StudioError if the disk does not take it."""
        picture_id = f"{made_at:013d}-{secrets.token_hex(8)}"
        folder = self._home(owner)
        partial = folder / f".{picture_id}.part"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                file.write(png)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(folder / f"{picture_id}.png")
        except OSError as problem:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise StudioError(
                f"The picture could not be kept in {folder}: {problem.strerror or problem}. Make room there, "
                "or start with --data and another folder."
            ) from problem
        kept = _read(picture_id, png)
        if kept is not None and seconds is not None:
            kept = KeptPicture(kept.id, kept.request, kept.made_at, kept.stopped_at, seconds)
        with self._lock:
            self._known[owner, picture_id] = kept
        return picture_id

    def png(self, owner: str, picture_id: str) -> bytes | None:
        """The bytes of a picture of this owner, or None."""
        if not _ID.fullmatch(picture_id):
            return None
        try:
            return (self._home(owner) / f"{picture_id}.png").read_bytes()
        except OSError:
            return None

    def newest(self, owner: str, limit: int = 60) -> list[KeptPicture]:
        """The owner's newest pictures, newest first. Files that are not ours are left alone."""
        try:
            ids = sorted((f.stem for f in self._home(owner).glob("*.png") if _ID.fullmatch(f.stem)), reverse=True)
        except OSError:
            return []
        kept = []
        for picture_id in ids[:limit]:
            key = (owner, picture_id)
            with self._lock:
                is_known, found = key in self._known, self._known.get(key)
            if not is_known:
                data = self.png(owner, picture_id)
                found = _read(picture_id, data) if data is not None else None
                with self._lock:
                    self._known[key] = found
            if found is not None:
                kept.append(found)
        return kept

    def _home(self, owner: str) -> Path:
        return self._folder / hashlib.sha256(owner.encode()).hexdigest()[:24]


def request_in(png: bytes) -> tuple[TextToImage, int | None]:
    """The request that a PNG of ours carries, and the step at which it was stopped (None: it is whole).

    Raises UnreadablePicture if the file is no PNG or carries no request, InvalidRequest if the request is not valid.
    """
    text = read_png_text(png).get(REQUEST_KEY)
    if text is None:
        raise UnreadablePicture("This PNG carries no request: it was not made here, or its text was stripped.")
    try:
        note = strict_json.loads(text, max_bytes=JSON_LIMIT, max_depth=JSON_DEPTH + 1)
    except ValueError as problem:
        raise UnreadablePicture(f"The request in this PNG cannot be read: {problem}") from problem
    if not isinstance(note, dict) or not isinstance(note.get("request"), dict):
        raise UnreadablePicture("The request in this PNG cannot be read: it is not an object with a request.")
    if note.get("format") != 1:
        raise UnreadablePicture(
            f"The request in this PNG has format {json.dumps(note.get('format'))[:20]}; this studio reads format 1."
        )
    request = TextToImage.from_dict(note["request"])
    stopped_at = note.get("stopped_at")
    if isinstance(stopped_at, bool) or not isinstance(stopped_at, int):
        return request, None
    return request, stopped_at if 0 <= stopped_at < request.num_inference_steps else None


def _read(picture_id: str, png: bytes) -> KeptPicture | None:
    try:
        request, stopped_at = request_in(png)
    except (UnreadablePicture, InvalidRequest):
        return None
    return KeptPicture(picture_id, request, int(picture_id[:13]), stopped_at, None)
