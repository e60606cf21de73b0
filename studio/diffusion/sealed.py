"""Tensors and a description of what they are, sealed: one safetensors file with a digest of everything in it.

Every tensor is stored once, however often the description speaks of it, and is shared again after reading. The
description is strict JSON in the file's metadata. What it may say is for those to know who describe something.

Files come from strangers: nothing is unpickled, sizes are bounded before anything is read, and whatever does not fit
together is refused. The digests find damage, not malice; a hostile file can have them right.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

import torch
from torch import Tensor

from studio import strict_json
from studio.diffusion.run_json import Namer, Unreadable
from studio.errors import human_bytes, shown
from studio.tensor_file import TensorEntry, TensorHeader, read_header

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

Read = TypeVar("Read")


@dataclass(frozen=True)
class Kind:
    """What is sealed: a file of one kind is refused as another."""

    format: str
    version: int  # files of another version are refused
    called: str  # "a run"
    header_limit: int  # bytes


def seal(kind: Kind, describe: Callable[[Namer], object]) -> Iterator[bytes | memoryview]:
    """The parts of the file that holds what `describe` tells, which names tensors by what it is given.

    Raises Unreadable, before the first part, for what no file can hold.
    """
    tensors = _Tensors()
    try:
        description = json.dumps(describe(tensors.name), ensure_ascii=False, allow_nan=False)
        strict_json.loads(description, max_bytes=kind.header_limit, max_depth=_JSON_DEPTH)
    except Unreadable:
        raise
    except (TypeError, ValueError) as problem:
        raise Unreadable(str(problem)) from problem
    stored = sorted(tensors.stored.items(), key=lambda item: (-item[1].element_size(), item[0]))  # keeps all aligned
    digests = json.dumps({name: tensors.digests[name] for name, _ in stored})
    metadata = {
        "format": kind.format,
        "version": str(kind.version),
        "run": description,
        "tensors": digests,
        "digest": _digest(description.encode(), digests.encode()),
    }
    header = _header(stored, metadata)
    if len(header) > kind.header_limit:
        raise Unreadable(f"its description is {human_bytes(len(header))}")
    return iter((header, *(_bytes(tensor) for _, tensor in stored)))


def unseal(
    kind: Kind, file: BinaryIO, name: str, size: int, read: Callable[[object, Callable[[str], Tensor]], Read]
) -> Read:
    """What `read` makes of the description in a file of `size` bytes that is open at its beginning.

    `read` finds tensors, on the CPU, by their names. `name` is how errors call the file. Raises UnsoundFile for what
    is no sound safetensors file, Unreadable for one that holds something else, or that contradicts itself.
    """
    header = read_header(file, name, size, kind.header_limit)
    metadata = header.metadata
    if metadata.get("format") != kind.format:
        raise Unreadable(f"it holds tensors, but nothing that says it is {kind.called} (perhaps a model's weights?)")
    version = metadata.get("version", "")
    if version != str(kind.version):
        newer = version.isascii() and version.isdigit() and len(version) < 6 and int(version) > kind.version
        raise Unreadable(
            f"its format is version {version}, and this studio reads version {kind.version}: update the studio"
            if newer
            else f"its version is `{shown(version, 20)}`, which never was one"
        )
    description, digests = metadata.get("run", ""), metadata.get("tensors", "")
    if _digest(description.encode(), digests.encode()) != metadata.get("digest"):
        raise Unreadable("its description was damaged")
    expected = _json(digests, 2, kind)
    if not isinstance(expected, dict) or expected.keys() != {tensor.name for tensor in header.tensors}:
        raise Unreadable("its list of tensors is not that of the tensors in it")
    value = _json(description, _JSON_DEPTH, kind)
    tensors = dict(_tensors(file, header, expected))
    used: set[str] = set()

    def tensor(key: str) -> Tensor:
        if key not in tensors:
            raise Unreadable(f"it refers to the tensor `{shown(key, 40)}`, which it does not hold")
        used.add(key)
        return tensors[key]

    found = read(value, tensor)
    if len(used) != len(tensors):
        raise Unreadable(f"its tensor `{shown(min(tensors.keys() - used), 40)}` belongs to no step")
    return found


def _json(text: str, depth: int, kind: Kind) -> object:
    try:
        return strict_json.loads(text, max_bytes=kind.header_limit, max_depth=depth)
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
