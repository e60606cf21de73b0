"""One studio per data folder: whoever comes second is told who is there.

The lock is the system's, on an open file, so that it ends with the process that holds it, however that ends. What is
written in the file only says who that is.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from studio import strict_json
from studio.errors import StudioError

FILE = "in-use.lock"
_LOCKED_AT = 1 << 20  # the byte that is locked where a system locks bytes: behind what is written, so it can be read


class FolderInUse(StudioError):
    """Another studio works with this data folder."""


class FolderLock:
    """Held from `take` to `release`, or to the end of the process."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._file: BinaryIO | None = None

    def take(self, address: str) -> None:
        """Locks the folder; `address` is where this studio can be reached. Raises FolderInUse, StudioError."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600), "r+b")
        except OSError as problem:
            raise StudioError(
                f"The folder {self._path.parent} cannot be used: {problem.strerror or problem}. "
                "Choose another one with --data."
            ) from problem
        try:
            _lock(file)
        except OSError:
            holder = _holder(file)
            file.close()
            raise FolderInUse(
                f"Another studio works with {self._path.parent} already{holder}. Use that one, or end it, or start "
                "this one with --data and another folder."
            ) from None
        self._file = file
        note = {"process": os.getpid(), "address": address, "since": int(time.time())}
        with contextlib.suppress(OSError):  # it is locked, whether or not there is room to say by whom
            file.truncate(0)
            file.seek(0)
            file.write(json.dumps(note).encode())
            file.flush()

    @contextlib.contextmanager
    def held(self, address: str) -> Iterator[None]:
        """`take` on entering, `release` on leaving."""
        self.take(address)
        try:
            yield
        finally:
            self.release()

    def release(self) -> None:
        """Lets others in. The file stays: deleting it would let two in at once."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _holder(file: BinaryIO) -> str:
    """Who holds the folder, as far as can be told."""
    try:
        file.seek(0)
        note = strict_json.loads(file.read(1000), max_bytes=1000, max_depth=1)
        if not isinstance(note, dict):
            return ""
        process, address, since = note["process"], str(note["address"]), int(note["since"])
        when = time.strftime("%H:%M on %d %B %Y", time.localtime(since))
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return ""
    shown = "".join(c for c in address[:100] if c.isprintable())
    return f": process {int(process)}, since {when}, at {shown}" if type(process) is int else ""


if sys.platform == "win32":
    import msvcrt

    def _lock(file: BinaryIO) -> None:
        file.seek(_LOCKED_AT)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: BinaryIO) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
