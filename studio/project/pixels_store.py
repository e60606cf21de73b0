"""Pixels of documents on disk: immutable PNGs, each named by a digest of its own bytes.

Tiles of layers and masks, and whole pictures that a fill starts from. The same bytes are kept once per owner; an id
never comes to mean other pixels, so that pages, undo and histories may hold on to it. What no document refers to is
swept after a while. A file appears whole or not at all, and is on the disk before its id is known to anybody.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import stat
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from studio.errors import StudioError, UnreadablePicture, human_bytes
from studio.imaging.plain_png import HEADER, Pixels, PlainExtent, extent_at, plain_extent, read_plain
from studio.project.disk import at_most, check_free, not_kept, taken
from studio.project.names import HOME, home_of
from studio.whole_file import flush_folder

PIXELS_BUDGET = 32 * 1024**3  # bytes on disk per owner
PIXELS_COUNT = 1_000_000  # files per owner: a disk has only so many names
BUNDLE_LIMIT = 512  # PNGs that are taken in one go
REST = 48 * 3600.0  # seconds for which pixels that no document refers to are kept: a fill may wait to be chosen

PIXELS_ID = re.compile(r"[0-9a-f]{32}")
_SHARD = re.compile(r"[0-9a-f]{2}")
_FLUSHING = 8  # files that are brought to the disk at once, which then writes its journal once for all of them


@dataclass(frozen=True)
class _Held:
    """So many files, and the bytes of disk that they take."""

    bytes: int = 0
    count: int = 0

    def __add__(self, other: _Held) -> _Held:
        return _Held(self.bytes + other.bytes, self.count + other.count)

    def __sub__(self, other: _Held) -> _Held:
        return _Held(self.bytes - other.bytes, self.count - other.count)


class PixelStore:
    """The pixels of everybody's documents, below one folder. Safe to call from several threads."""

    def __init__(self, folder: Path, budget: int = PIXELS_BUDGET, count_limit: int = PIXELS_COUNT) -> None:
        self._folder = folder / "pixels"
        self._budget = budget
        self._count_limit = count_limit
        self._locks: dict[str, threading.RLock] = {}  # of each owner's folder: some have very many files to look at
        self._held: dict[Path, _Held] = {}  # per owner's folder, once counted, with what is being written

    @property
    def budget(self) -> int:
        """Bytes on disk that the documents of one owner may take."""
        return at_most(self._budget, self._folder)

    def prepare(self) -> None:
        """Makes the folder and sweeps half-written files. Raises StudioError if nothing could be kept there."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder):
                pass
            for home in self._homes():
                for partial in home.glob(".*.part"):
                    partial.unlink(missing_ok=True)
        except OSError as problem:
            raise StudioError(
                f"Pixels cannot be kept in {self._folder}: {problem.strerror or problem}. "
                "Choose another folder with --data."
            ) from problem

    def add(self, owner: str, png: bytes) -> tuple[str, int, int]:
        """Keeps one PNG; returns its id, width and height. Raises as `add_many` does."""
        ((pixels_id, extent),) = self._add(owner, [png])
        return pixels_id, extent.width, extent.height

    def add_many(self, owner: str, pngs: Sequence[bytes]) -> list[str]:
        """Keeps all of these PNGs or, where one of them is refused, none that was not there; returns their ids.

        Raises UnreadablePicture for what is not a PNG of plain pixels, StudioError if there is no room.
        """
        return [pixels_id for pixels_id, _ in self._add(owner, pngs)]

    def png(self, owner: str, pixels_id: str) -> bytes | None:
        """The bytes that were kept under this id, or None."""
        if not PIXELS_ID.fullmatch(pixels_id):
            return None
        path = self._path(owner, pixels_id)
        try:
            return path.read_bytes() if _is_file(path) else None
        except OSError:
            return None

    def opened(self, owner: str, pixels_id: str) -> BinaryIO | None:
        """The file of these pixels, open for reading, or None. It can be read to its end even if it is deleted."""
        path = self._path(owner, pixels_id)
        try:
            return path.open("rb") if PIXELS_ID.fullmatch(pixels_id) and _is_file(path) else None
        except OSError:
            return None

    def pixels(self, owner: str, pixels_id: str) -> Pixels | None:
        """uint8 (H, W), (H, W, 3) or (H, W, 4), or None. Raises UnreadablePicture if the file was damaged since."""
        png = self.png(owner, pixels_id)
        return read_plain(png) if png is not None else None

    def extents(self, owner: str, wanted: Iterable[str]) -> dict[str, PlainExtent]:
        """Sides and channels of those of these pixels that are there, which count as used just now: no sweep takes
        them for a while."""
        found: dict[str, PlainExtent] = {}
        for pixels_id in wanted:
            path = self._path(owner, pixels_id)
            if not PIXELS_ID.fullmatch(pixels_id) or not _is_file(path):
                continue
            with contextlib.suppress(OSError, UnreadablePicture), self._lock(self._home(owner)):
                with path.open("rb") as file:
                    extent = extent_at(file.read(HEADER))
                os.utime(path)
                found[pixels_id] = extent
        return found

    def size(self, owner: str, wanted: Iterable[str]) -> int:
        """Bytes on disk of these pixels together."""
        total = 0
        for pixels_id in wanted:
            with contextlib.suppress(OSError):
                total += self._path(owner, pixels_id).stat().st_size
        return total

    def used(self, owner: str) -> int:
        """Bytes that all pixels of this owner take on the disk."""
        home = self._home(owner)
        with self._lock(home):
            return self._counted(home).bytes

    def sweep(self, owner: str, referred: Iterable[str], rest: float = REST) -> int:
        """Deletes pixels that are not among `referred` and rested for `rest` seconds; returns how many.

        Whoever comes to refer to pixels calls `extents` first, which begins their rest anew.
        """
        return self._sweep(self._home(owner), frozenset(referred), rest)

    def sweep_all(self, referred: Mapping[str, frozenset[str]], rest: float = REST) -> int:
        """`sweep` of everybody's pixels; `referred` by owner, who may be left out where nothing is referred to."""
        by_home = {self._home(owner): kept for owner, kept in referred.items()}
        with contextlib.suppress(OSError):
            return sum(self._sweep(home, by_home.get(home, frozenset()), rest) for home in list(self._homes()))
        return 0

    # -- inside -------------------------------------------------------------------------------------------------------

    def _sweep(self, home: Path, kept: frozenset[str], rest: float) -> int:
        cutoff = time.time() - rest
        swept = 0
        for path in list(_files(home)):
            if path.stem in kept:
                continue
            with self._lock(home), contextlib.suppress(OSError):
                found = path.stat()
                if found.st_mtime <= cutoff:
                    path.unlink()
                    swept += 1
                    if home in self._held:
                        self._held[home] -= _Held(taken(found.st_size), 1)
        return swept

    def _add(self, owner: str, pngs: Sequence[bytes]) -> list[tuple[str, PlainExtent]]:
        found = [(id_of(png), plain_extent(png)) for png in pngs]  # all are sound, or nothing is kept
        new = {pixels_id: png for (pixels_id, _), png in zip(found, pngs, strict=True)}
        home = self._home(owner)
        with self._lock(home):
            for pixels_id, png in list(new.items()):
                if self._has(owner, pixels_id, png):
                    del new[pixels_id]
        if new:
            more = _Held(sum(taken(len(png)) for png in new.values()), len(new))
            self._reserve(owner, more)
            try:
                self._write(owner, new)
            finally:
                with self._lock(home):
                    self._held[home] -= more
        return found

    def _has(self, owner: str, pixels_id: str, png: bytes) -> bool:
        """Whether these bytes are there, unharmed; then they count as used just now."""
        path = self._path(owner, pixels_id)
        try:
            if not _is_file(path) or path.read_bytes() != png:
                return False
            os.utime(path)
        except OSError:
            return False
        return True

    def _counted(self, home: Path) -> _Held:
        if home not in self._held:
            sizes = [taken(_size(path)) for path in _files(home)]
            self._held[home] = _Held(sum(sizes), len(sizes))
        return self._held[home]

    def _reserve(self, owner: str, more: _Held) -> None:
        """Counts files that are about to be written, so that many at once do not find the same room."""
        home, budget = self._home(owner), self.budget
        with self._lock(home):
            used, wanted = self._counted(home), self._counted(home) + more
            if wanted.bytes > budget or wanted.count > self._count_limit:
                raise StudioError(
                    f"Your documents use {human_bytes(used.bytes)} in {used.count:,} pieces, and "
                    f"{human_bytes(budget)} in {self._count_limit:,} pieces are the limit. Delete documents "
                    "that you no longer need, and empty the bin."
                )
            check_free(self._folder, more.bytes)
            self._held[home] = wanted

    def _write(self, owner: str, new: dict[str, bytes]) -> None:
        home = self._home(owner)
        shards = [home / shard for shard in sorted({pixels_id[:2] for pixels_id in new})]
        partials = {pixels_id: home / f".{pixels_id}.{secrets.token_hex(4)}.part" for pixels_id in new}
        try:
            home.mkdir(parents=True, exist_ok=True)
            fresh = [shard for shard in shards if not shard.is_dir()]
            for shard in fresh:
                shard.mkdir(exist_ok=True)
            if len(new) == 1:
                for pixels_id, png in new.items():
                    _flushed(partials[pixels_id], png)
            else:
                with ThreadPoolExecutor(_FLUSHING, "studio-pixels") as pool:
                    list(pool.map(_flushed, partials.values(), new.values()))
            with self._lock(home):
                for pixels_id, partial in partials.items():
                    target = self._path(owner, pixels_id)
                    before = _Held(taken(_size(target)), 1) if _is_file(target) else _Held()
                    partial.replace(target)
                    self._held[home] += _Held(taken(len(new[pixels_id])), 1) - before
            for folder in (*shards, *((home, self._folder) if fresh else ())):
                flush_folder(folder)
        except OSError as problem:
            raise not_kept("Pixels", home, problem) from problem
        finally:
            for partial in partials.values():
                with contextlib.suppress(OSError):
                    partial.unlink(missing_ok=True)

    def _lock(self, home: Path) -> threading.RLock:
        return self._locks.setdefault(home.name, threading.RLock())

    def _homes(self) -> Iterator[Path]:
        for home in self._folder.iterdir():
            if HOME.fullmatch(home.name) and home.is_dir() and not home.is_symlink():
                yield home

    def _home(self, owner: str) -> Path:
        return self._folder / home_of(owner)

    def _path(self, owner: str, pixels_id: str) -> Path:
        return self._home(owner) / pixels_id[:2] / f"{pixels_id}.png"


def id_of(png: bytes) -> str:
    """What a PNG is called here."""
    return hashlib.sha256(png).hexdigest()[:32]


def _files(home: Path) -> Iterator[Path]:
    """Every file of pixels in an owner's folder. What does not bear our names is left alone."""
    with contextlib.suppress(OSError):
        for shard in sorted(home.iterdir()):
            if _SHARD.fullmatch(shard.name) and not shard.is_symlink():
                for path in shard.glob("*.png"):
                    if PIXELS_ID.fullmatch(path.stem) and path.stem.startswith(shard.name):
                        yield path


def _is_file(path: Path) -> bool:
    """Whether this is a plain file: a link may lead anywhere, and a pipe never ends."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _flushed(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
