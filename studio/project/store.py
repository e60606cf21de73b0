"""Finished pictures on disk, one lossless PNG each; the PNG carries its request, so it is its own record.

Names are ids made here. Each owner has a folder of their own, named by a digest, so that no name from outside ever
becomes a path. A file appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import re
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from studio import strict_json
from studio.errors import InvalidRequest, StudioError, UnreadablePicture, human_bytes
from studio.imaging.png import REQUEST_KEY, read_png_text
from studio.project.disk import at_most, check_free, not_kept, taken
from studio.project.names import HOME, PICTURE, PICTURE_ID, home_of, new_id
from studio.requests import JSON_DEPTH, JSON_LIMIT, TextToImage
from studio.whole_file import flush_folder

PICTURES_BUDGET = 64 * 1024**3  # bytes on disk per owner, the bin included

log = logging.getLogger(__name__)

_PARTIAL = re.compile(rf"\.{PICTURE}\.part")


@dataclass(frozen=True)
class KeptPicture:
    """A picture in the store, as far as its own file tells. `made_at` is in milliseconds since 1970."""

    id: str
    request: TextToImage
    made_at: int
    stopped_at: int | None
    seconds: float | None
    fill: bool = False  # whether it fills a region of another picture


class PictureStore:
    """The pictures of everybody who uses this studio, below one folder."""

    def __init__(self, folder: Path, budget: int = PICTURES_BUDGET) -> None:
        self._folder = folder / "pictures"
        self._budget = budget
        self._bytes: dict[Path, int] = {}  # per owner's folder, once counted, with what is being written
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], KeptPicture | None] = {}
        self._kept: Callable[[str, KeptPicture, int], None] | None = None
        self._hidden: Callable[[str], frozenset[str]] | None = None

    def tell(self, kept: Callable[[str, KeptPicture, int], None], hidden: Callable[[str], frozenset[str]]) -> None:
        """From now on `kept` is told of every new picture, with its owner and bytes, and `hidden` is asked which
        pictures of an owner are in the bin, so that `newest` leaves them out."""
        self._kept, self._hidden = kept, hidden

    @property
    def budget(self) -> int:
        """Bytes on disk that the pictures, the bin included, of one owner may take."""
        return at_most(self._budget, self._folder)

    def prepare(self) -> None:
        """Makes the folder and sweeps half-written files. Raises StudioError if no picture could be kept there."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder):
                pass
            for home in self._folder.iterdir():
                # somebody's own folder may be called "pictures" too: what does not bear our names is never touched
                if HOME.fullmatch(home.name) and home.is_dir() and not home.is_symlink():
                    for entry in os.scandir(home):  # a folder may hold very many
                        if entry.name.startswith(".") and _PARTIAL.fullmatch(entry.name):
                            Path(entry.path).unlink(missing_ok=True)
        except OSError as problem:
            raise StudioError(
                f"Pictures cannot be kept in {self._folder}: {problem.strerror or problem}. "
                "Choose another folder with --data."
            ) from problem

    def add(self, owner: str, png: bytes, made_at: int, seconds: float | None = None) -> str:
        """Keeps a picture and returns its id. Raises StudioError if the disk does not take it."""
        picture_id = new_id(made_at)
        self._keep(owner, picture_id, png, seconds)
        return picture_id

    def adopt(self, owner: str, picture_id: str, png: bytes) -> None:
        """Keeps a picture that has an id already: it was made in another studio. Raises StudioError as `add` does."""
        if not PICTURE_ID.fullmatch(picture_id):
            raise ValueError(f"{picture_id!r} is not the id of a picture.")
        self._keep(owner, picture_id, png, None)

    def discard(self, owner: str, picture_id: str) -> None:
        """Deletes a picture for good."""
        if PICTURE_ID.fullmatch(picture_id):
            home = self._home(owner)
            with self._lock:
                with contextlib.suppress(OSError):
                    path = home / f"{picture_id}.png"
                    size = path.stat().st_size
                    path.unlink()
                    if home in self._bytes:
                        self._bytes[home] -= taken(size)
                self._known.pop((owner, picture_id), None)

    def used(self, owner: str) -> int:
        """Bytes that all pictures of this owner take on the disk, those in the bin included."""
        with self._lock:
            return self._used(self._home(owner))

    def _keep(self, owner: str, picture_id: str, png: bytes, seconds: float | None) -> None:
        folder = self._home(owner)
        partial = folder / f".{picture_id}.part"
        self._reserve(folder, taken(len(png)))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                file.write(png)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(folder / f"{picture_id}.png")
            flush_folder(folder)
        except OSError as problem:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            with self._lock:
                self._bytes.pop(folder, None)  # counted again
            raise not_kept("The picture", folder, problem) from problem
        kept = picture_in(picture_id, png)
        if kept is not None and seconds is not None:
            kept = dataclasses.replace(kept, seconds=seconds)
        with self._lock:
            self._known[owner, picture_id] = kept
        if kept is not None and self._kept is not None:
            try:
                self._kept(owner, kept, len(png))
            except StudioError as problem:  # the picture is safe, and found at the next start
                log.warning("%s", problem)

    def _used(self, home: Path) -> int:
        if home not in self._bytes:
            total = 0
            with contextlib.suppress(OSError):
                for entry in os.scandir(home):
                    if entry.name.endswith(".png") and PICTURE_ID.fullmatch(entry.name[:-4]):
                        total += taken(entry.stat(follow_symlinks=False).st_size)
            self._bytes[home] = total
        return self._bytes[home]

    def _reserve(self, home: Path, more: int) -> None:
        with self._lock:
            used = self._used(home)
            budget = self.budget
            if used + more > budget:
                raise StudioError(
                    f"Your pictures use {human_bytes(used)}, and {human_bytes(budget)} are the limit. Delete "
                    "pictures that you no longer need, and empty the bin."
                )
            check_free(home, more)
            self._bytes[home] = used + more

    def png(self, owner: str, picture_id: str) -> bytes | None:
        """The bytes of a picture of this owner, or None."""
        if not PICTURE_ID.fullmatch(picture_id):
            return None
        try:
            return (self._home(owner) / f"{picture_id}.png").read_bytes()
        except OSError:
            return None

    def opened(self, owner: str, picture_id: str) -> BinaryIO | None:
        """The file of a picture of this owner, open for reading, or None."""
        try:
            return (self._home(owner) / f"{picture_id}.png").open("rb") if PICTURE_ID.fullmatch(picture_id) else None
        except OSError:
            return None

    def has(self, owner: str, picture_id: str) -> bool:
        """Whether there is such a picture of this owner."""
        return bool(PICTURE_ID.fullmatch(picture_id)) and (self._home(owner) / f"{picture_id}.png").is_file()

    def ids(self, owner: str) -> set[str]:
        """The ids of all pictures of this owner, those in the bin included."""
        found = set()
        with contextlib.suppress(OSError):
            for entry in os.scandir(self._home(owner)):
                name, _, ending = entry.name.rpartition(".")
                if ending == "png" and PICTURE_ID.fullmatch(name):
                    found.add(name)
        return found

    def newest(self, owner: str, limit: int = 60) -> list[KeptPicture]:
        """The owner's newest pictures, newest first. Files that are not ours are left alone."""
        hidden = self._hidden(owner) if self._hidden is not None else frozenset()
        ids = sorted(self.ids(owner) - hidden, reverse=True)
        kept = []
        for picture_id in ids[:limit]:
            key = (owner, picture_id)
            with self._lock:
                is_known, found = key in self._known, self._known.get(key)
            if not is_known:
                data = self.png(owner, picture_id)
                found = picture_in(picture_id, data) if data is not None else None
                with self._lock:
                    self._known[key] = found
            if found is not None:
                kept.append(found)
        return kept

    def _home(self, owner: str) -> Path:
        return self._folder / home_of(owner)


def note_in(png: bytes) -> dict[str, Any]:
    """What a PNG of ours says of itself: `request` as JSON has it, `made_with`, and `stopped_at`, `branch` or `fill`.

    Only `request` is known to be an object. Raises UnreadablePicture if the file is no PNG or carries no request.
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
    return note


def request_in(png: bytes) -> tuple[TextToImage, int | None]:
    """The request that a PNG of ours carries, and the step at which it was stopped (None: it is whole).

    Raises UnreadablePicture if the file is no PNG or carries no request, InvalidRequest if the request is not valid.
    """
    return _request_of(note_in(png))


def _request_of(note: dict[str, Any]) -> tuple[TextToImage, int | None]:
    request = TextToImage.from_dict(note["request"])
    stopped_at = note.get("stopped_at")
    if isinstance(stopped_at, bool) or not isinstance(stopped_at, int):
        return request, None
    return request, stopped_at if 0 <= stopped_at < request.num_inference_steps else None


def picture_in(picture_id: str, png: bytes) -> KeptPicture | None:
    """What the file of a picture tells of it; None for one that does not."""
    try:
        note = note_in(png)
        request, stopped_at = _request_of(note)
    except (UnreadablePicture, InvalidRequest):
        return None
    is_fill = isinstance(note.get("fill"), dict)
    return KeptPicture(picture_id, request, int(picture_id[:13]), stopped_at, None, is_fill)
