"""Small pictures that can be made again at any time, kept on disk so that lists open at once."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

from studio.errors import StudioError
from studio.project.disk import check_free, taken
from studio.whole_file import write_whole

CACHE_BUDGET = 512 * 1024**2  # bytes, of everybody together

_FILE = re.compile(r"[0-9a-f]{40}\.webp")


class ThumbnailCache:
    """WebP files by what they show, below one folder. Losing it costs time and nothing else."""

    def __init__(self, folder: Path, budget: int = CACHE_BUDGET) -> None:
        self._folder = folder / "thumbnails"
        self._budget = budget
        self._lock = threading.Lock()
        self._making: dict[str, threading.Lock] = {}

    def get(self, owner: str, shows: str, make: Callable[[], bytes]) -> bytes:
        """What was kept for `shows` of this owner, or what `make` makes now. Raises what `make` raises."""
        name = hashlib.sha256(f"{len(owner)} {owner} {shows}".encode()).hexdigest()[:40]
        path = self._folder / name[:2] / f"{name}.webp"
        found = _read(path)
        if found is not None:
            return found
        with self._lock:
            making = self._making.setdefault(name, threading.Lock())
        with making:  # many may ask for the same at once: one makes it
            try:
                found = _read(path)
                if found is None:
                    found = make()
                    with contextlib.suppress(StudioError):  # a full disk makes it slow, not wrong
                        check_free(self._folder, taken(len(found)))
                        write_whole(path, found)
            finally:
                with self._lock:
                    self._making.pop(name, None)
        return found

    def size(self) -> int:
        """Bytes on disk."""
        return sum(size for _, size, _ in self._held())

    def sweep(self) -> int:
        """Deletes the oldest beyond the budget, and what a killed process left; returns how many."""
        swept = 0
        with contextlib.suppress(OSError):
            for partial in self._folder.glob("*/.*.part"):
                partial.unlink(missing_ok=True)
        held = sorted(self._held(), key=lambda item: item[2])
        total = sum(size for _, size, _ in held)
        for path, size, _ in held:
            if total <= self._budget:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                total -= size
                swept += 1
        return swept

    def _held(self) -> list[tuple[Path, int, float]]:
        """(path, bytes, last use) of every file of ours."""
        held = []
        with contextlib.suppress(OSError):
            for shard in os.scandir(self._folder):
                if shard.is_dir(follow_symlinks=False):
                    for file in os.scandir(shard.path):
                        if _FILE.fullmatch(file.name) and file.is_file(follow_symlinks=False):
                            found = file.stat(follow_symlinks=False)
                            held.append((Path(file.path), found.st_size, found.st_mtime))
        return held


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
