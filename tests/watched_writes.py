"""Which files a piece of work writes, makes or moves, wherever they are: as Python itself reports it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {  # where a path stands among the values, and the folder that it is relative to
    "os.mkdir": ((0, 2),),
    "os.rename": ((0, 2), (1, 3)),
    "os.remove": ((0, 1),),
    "os.link": ((1, 3),),
    "os.symlink": ((1, 2),),
}
_watching: list[list[str]] = []
_hooked: list[bool] = []


def _audit(event: str, values: tuple[Any, ...]) -> None:
    if not _watching:
        return
    paths = []
    if event == "open" and isinstance(values[2], int) and values[2] & _WRITING:
        paths = [values[0]]
    elif event in _CHANGES:
        paths = [_below(values[folder], values[path]) for path, folder in _CHANGES[event]]
    elif event == "sqlite3.connect":
        paths = [values[0]]
    for path in paths:
        if isinstance(path, (str, bytes, os.PathLike)):
            _watching[-1].append(os.path.realpath(os.fsdecode(path)))


def _below(folder: int, path: Any) -> Any:
    """A path as it is called from here; `folder` is an open one that it is relative to, as rmtree does, or -1."""
    if folder == -1 or not isinstance(path, (str, bytes, os.PathLike)):
        return path
    import fcntl  # where folders can be opened

    get_path = getattr(fcntl, "F_GETPATH", None)  # macOS
    if get_path is not None:
        here = Path(os.fsdecode(fcntl.fcntl(folder, get_path, bytes(1024)).rstrip(b"\0")))
    else:
        here = Path(f"/proc/self/fd/{folder}").readlink()
    return here / os.fsdecode(path)


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
