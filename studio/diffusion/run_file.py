"""Recorded runs as files: one .safetensors file that holds a run whole, to look at again and to go on from elsewhere.

    save_recording(run.recording, "lake.safetensors")
    with observe(pipe, resume=load_recording("lake.safetensors").at(7)): ...

Every tensor is stored once, however many steps share it, and is shared again after loading. What the tensors are, and
all numbers, stand as strict JSON in the file's metadata (`run_json`), with a digest of each tensor and of that JSON.

Files come from strangers: nothing is unpickled, sizes are bounded before anything is read, and whatever does not fit
together is refused with StudioError. The digests find damage, not malice; a hostile file can have them right.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from studio.diffusion.recording import Recording
from studio.diffusion.run_json import FORMAT, VERSION, Namer, Unreadable, check, from_json, to_json
from studio.diffusion.sealed import Kind, seal, unseal
from studio.errors import StudioError, human_bytes, shown
from studio.tensor_file import UnsoundFile

FILE_LIMIT = 16 * 1024**3  # bytes: a long video run in float32 is a tenth of this
HEADER_LIMIT = 64 * 1024**2  # bytes: 10,000 steps need a third of this
_KIND = Kind(FORMAT, VERSION, "a run", HEADER_LIMIT)


def save_recording(recording: Recording, path: str | os.PathLike[str]) -> None:
    """Writes the recording to `path`: under a temporary name beside it, brought to the disk, then renamed.

    What was at `path` stays there until the new file is whole. Raises StudioError if nothing is recorded, if a value
    is of a kind that no file can hold, or if the disk does not take it.
    """

    def describe(name: Namer) -> object:
        check(recording)
        return to_json(recording, name)

    target = Path(path)
    try:
        parts = seal(_KIND, describe)
    except Unreadable as problem:
        raise StudioError(f"This run cannot be saved: {problem}.") from problem
    temporary = target.parent / f".{target.name[:200]}.{secrets.token_hex(4)}.part"
    try:
        try:
            with temporary.open("xb") as file:
                for part in parts:
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        _flush_folder(target.parent)
    except OSError as problem:
        raise StudioError(
            f"The run could not be written to {target}: {problem.strerror or problem}. "
            "Make room there, or choose another folder."
        ) from problem


def load_recording(path: str | os.PathLike[str]) -> Recording:
    """The recording that `save_recording` wrote to `path`, with all its tensors on the CPU.

    Raises StudioError if there is no such file, or if it is not a whole and consistent recorded run.
    """
    source = Path(path)
    try:
        size = source.stat().st_size
        if not source.is_file():
            raise StudioError(f"`{shown(source.name)}` is not a file. Choose a recorded run (.safetensors).")
        if size > FILE_LIMIT:
            raise StudioError(
                f"`{shown(source.name)}` is {human_bytes(size)} large; recorded runs up to {human_bytes(FILE_LIMIT)} "
                "are read."
            )
        with source.open("rb") as file:
            return unseal(_KIND, file, source.name, size, _read)
    except FileNotFoundError:
        raise StudioError(f"There is no file `{shown(source.name)}`. Check its name and folder.") from None
    except OSError as problem:
        raise StudioError(f"`{shown(source.name)}` could not be read: {problem.strerror or problem}.") from problem
    except UnsoundFile as problem:
        raise StudioError(f"{problem} Save the run again, or fetch the file again.") from None
    except Unreadable as problem:
        raise StudioError(
            f"`{shown(source.name)}` is not a recorded run that can be used: {problem}. Save the run again."
        ) from None


def _read(value: object, tensor: Callable[[str], Tensor]) -> Recording:
    recording = from_json(value, tensor)
    check(recording)
    return recording


def _flush_folder(folder: Path) -> None:
    """Brings the new name to the disk too. Windows has no way to ask for it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
