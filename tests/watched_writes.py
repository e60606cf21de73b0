"""Which files a piece of work writes, makes or moves, wherever they are: as Python itself reports it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {"os.mkdir": (0,), "os.rename": (0, 1), "os.remove": (0,), "os.link": (1,), "os.symlink": (1,)}
_watching: list[list[str]] = []
_hooked: list[bool] = []


def _audit(event: str, values: tuple[Any, ...]) -> None:
    if not _watching:
        return
    paths = []
    if event == "open" and isinstance(values[2], int) and values[2] & _WRITING:
        paths = [values[0]]
    elif event in _CHANGES:
        paths = [values[place] for place in _CHANGES[event]]
    elif event == "sqlite3.connect":
        paths = [values[0]]
    for path in paths:
        if isinstance(path, (str, bytes, os.PathLike)):
            _watching[-1].append(os.path.realpath(os.fsdecode(path)))


@contextmanager
def writes_only_below(folder: Path) -> Iterator[list[str]]:
    """Fails if anything outside of `folder` is written inside of the block. Gives what was written."""
    if not _hooked:  # hooks stay for the life of the process
        _hooked.append(True)
        sys.addaudithook(_audit)
    _watching.append([])
    try:
        yield _watching[-1]
    finally:
        seen = _watching.pop()
    inside = os.path.realpath(folder) + os.sep
    assert not [path for path in seen if not path.startswith(inside) and path != inside[:-1]]
