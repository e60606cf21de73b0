"""Writing a file whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from studio.errors import StudioError


def write_whole(file: Path, data: bytes, flush: bool = False) -> None:
    """Writes `data` to `file`, in a folder that is made if need be. Raises StudioError if that fails.

    What was there stays until the new file is whole. With `flush` it is on the disk on return, as what somebody was
    told to be kept has to be; without, a power cut may take it.
    """
    partial = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as opened:
            opened.write(data)
            if flush:
                opened.flush()
                os.fsync(opened.fileno())
        partial.replace(file)
        if flush:
            flush_folder(file.parent)
    except OSError as problem:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise StudioError(f"{file} cannot be written: {problem.strerror or problem}.") from problem


def flush_folder(folder: Path) -> None:
    """Brings the names in a folder to the disk, so that a power cut does not take them. Windows cannot be asked to.

    Raises OSError.
    """
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
