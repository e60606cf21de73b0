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
import hashlib
import json
import os
import secrets
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from studio import strict_json
from studio.diffusion.recording import Recording
from studio.diffusion.run_json import FORMAT, VERSION, Unreadable, check, from_json, to_json
from studio.errors import StudioError, human_bytes, shown
from studio.tensor_file import TensorEntry, TensorHeader, UnsoundFile, read_header

FILE_LIMIT = 16 * 1024**3  # bytes: a long video run in float32 is a tenth of this
HEADER_LIMIT = 64 * 1024**2  # bytes: 10,000 steps need a third of this
_JSON_DEPTH = 10

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_SPELLED = {dtype: name for name, dtype in _DTYPES.items()}


def save_recording(recording: Recording, path: str | os.PathLike[str]) -> None:
    """Writes the recording to `path`: under a temporary name beside it, brought to the disk, then renamed.

    What was at `path` stays there until the new file is whole. Raises StudioError if nothing is recorded, if a value
    is of a kind that no file can hold, or if the disk does not take it.
    """
    target = Path(path)
    tensors = _Tensors()
    try:
        check(recording)
        description = json.dumps(to_json(recording, tensors.name), ensure_ascii=False, allow_nan=False)
        strict_json.loads(description, max_bytes=HEADER_LIMIT, max_depth=_JSON_DEPTH)
    except (TypeError, ValueError) as problem:  # Unreadable is a ValueError
        raise StudioError(f"This run cannot be saved: {problem}.") from problem
    stored = sorted(tensors.stored.items(), key=lambda item: (-item[1].element_size(), item[0]))  # keeps all aligned
    digests = json.dumps({name: tensors.digests[name] for name, _ in stored})
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "run": description,
        "tensors": digests,
        "digest": _digest(description.encode(), digests.encode()),
    }
    header = _header(stored, metadata)
    if len(header) > HEADER_LIMIT:
        raise StudioError(f"This run cannot be saved: its description is {human_bytes(len(header))}.")
    temporary = target.parent / f".{target.name[:200]}.{secrets.token_hex(4)}.part"
    try:
        try:
            with temporary.open("xb") as file:
                file.write(header)
                for _, tensor in stored:
                    file.write(_bytes(tensor))
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
            return _read(file, source.name, size)
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


def _read(file: BinaryIO, name: str, size: int) -> Recording:
    header = read_header(file, name, size, HEADER_LIMIT)
    metadata = header.metadata
    if metadata.get("format") != FORMAT:
        raise Unreadable("it holds tensors, but nothing that says it is a run (perhaps a model's weights?)")
    version = metadata.get("version", "")
    if version != str(VERSION):
        newer = version.isascii() and version.isdigit() and len(version) < 6 and int(version) > VERSION
        raise Unreadable(
            f"its format is version {version}, and this studio reads version {VERSION}: update the studio"
            if newer
            else f"its version is `{shown(version, 20)}`, which never was one"
        )
    description, digests = metadata.get("run", ""), metadata.get("tensors", "")
    if _digest(description.encode(), digests.encode()) != metadata.get("digest"):
        raise Unreadable("its description was damaged")
    expected = _json(digests, 2)
    if not isinstance(expected, dict) or expected.keys() != {tensor.name for tensor in header.tensors}:
        raise Unreadable("its list of tensors is not that of the tensors in it")
    value = _json(description, _JSON_DEPTH)
    tensors = dict(_tensors(file, header, expected))
    used: set[str] = set()

    def tensor(key: str) -> Tensor:
        if key not in tensors:
            raise Unreadable(f"it refers to the tensor `{shown(key, 40)}`, which it does not hold")
        used.add(key)
        return tensors[key]

    recording = from_json(value, tensor)
    check(recording)
    if len(used) != len(tensors):
        raise Unreadable(f"its tensor `{shown(min(tensors.keys() - used), 40)}` belongs to no step")
    return recording


def _json(text: str, depth: int) -> object:
    try:
        return strict_json.loads(text, max_bytes=HEADER_LIMIT, max_depth=depth)
    except ValueError as problem:
        raise Unreadable(f"its description is {problem}") from None


def _tensors(file: BinaryIO, header: TensorHeader, expected: Mapping[str, object]) -> Iterator[tuple[str, Tensor]]:
    """Reads the tensors in the order in which they lie. The header's sizes are known to be those of the file."""
    for entry in header.tensors:
        if entry.dtype not in _DTYPES:
            raise Unreadable(f"its tensor `{shown(entry.name, 40)}` is of type {entry.dtype}, which no run has")
        raw = bytearray(entry.end - entry.begin)
        if file.readinto(raw) != len(raw):  # type: ignore[attr-defined]
            raise Unreadable("it became shorter while it was read")
        if _digest(raw) != expected[entry.name]:
            raise Unreadable(f"its tensor `{shown(entry.name, 40)}` was damaged")
        yield entry.name, _tensor(entry, raw)


def _tensor(entry: TensorEntry, raw: bytearray) -> Tensor:
    dtype = _DTYPES[entry.dtype]
    if max(entry.shape, default=0) >= 2**62 or len(entry.shape) > 16:  # beside a 0, no size is too large to claim
        raise Unreadable(f"its tensor `{shown(entry.name, 40)}` claims a shape that no tensor has")
    if not raw:
        try:
            return torch.empty(entry.shape, dtype=dtype)
        except RuntimeError:
            raise Unreadable(f"its tensor `{shown(entry.name, 40)}` claims a shape that no tensor has") from None
    if dtype is torch.bool and max(raw) > 1:
        raise Unreadable(f"its tensor `{shown(entry.name, 40)}` holds truth values other than 0 and 1")
    return torch.frombuffer(raw, dtype=dtype).reshape(entry.shape)


class _Tensors:
    """Gives every tensor a name in the file; the same name to those that are equal in every bit."""

    def __init__(self) -> None:
        self.stored: dict[str, Tensor] = {}
        self.digests: dict[str, str] = {}
        self._by_content: dict[tuple[torch.dtype, torch.Size, str], str] = {}
        self._by_identity: dict[int, tuple[Tensor, str]] = {}  # holds the tensor, so that its id stays its own

    def name(self, tensor: Tensor, wanted: str) -> str:
        known = self._by_identity.get(id(tensor))
        if known is not None:
            return known[1]
        plain = tensor.detach().to("cpu").contiguous()
        if plain.dtype not in _SPELLED:
            raise Unreadable(f"its `{wanted}` is a tensor of {plain.dtype}")
        digest = _digest(_bytes(plain))
        name = self._by_content.setdefault((plain.dtype, plain.shape, digest), wanted)
        if name == wanted:
            if wanted in self.stored:
                raise AssertionError(f"two tensors are called {wanted}")
            self.stored[name], self.digests[name] = plain, digest
        self._by_identity[id(tensor)] = (tensor, name)
        return name


def _bytes(tensor: Tensor) -> memoryview:
    """The bytes of a contiguous tensor on the CPU, little endian as the format wants them (as all of torch's CPUs)."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else memoryview(b"")


def _header(stored: list[tuple[str, Tensor]], metadata: Mapping[str, str]) -> bytes:
    entries: dict[str, object] = {"__metadata__": metadata}
    end = 0
    for name, tensor in stored:
        begin, end = end, end + tensor.numel() * tensor.element_size()
        entries[name] = {
            "dtype": _SPELLED[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the first tensor begins at a multiple of 8
    return struct.pack("<Q", len(text)) + text


def _digest(*parts: bytes | bytearray | memoryview) -> str:
    made = hashlib.blake2b(digest_size=16)
    for part in parts:
        made.update(part)
        made.update(b"\0")
    return made.hexdigest()


def _flush_folder(folder: Path) -> None:
    """Brings the new name to the disk too. Windows has no way to ask for it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
