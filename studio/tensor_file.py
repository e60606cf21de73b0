"""Safetensors files: what one holds, read from its header alone, and whether that can be true.

The header of such a file lists its tensors. It may lie about its own size, about where they are, or the file may be
something else under that name, such as a pickle, which can run code. No tensor is read here, and nothing is known of
what the tensors are for: models and recorded runs are both looked at here before anything else reads them.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeGuard, cast

from studio import strict_json
from studio.errors import human_bytes, shown

HEADER_LIMIT = 100_000_000  # bytes: that of the format's own library

_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32,
    "F64": 64, "I64": 64, "U64": 64, "C64": 64,
}  # fmt: skip
_DISGUISES = (
    (b"PK\x03\x04", "a zip archive, as torch writes its pickles"),
    (b"\x1f\x8b", "a compressed archive"),
    (b"\x89HDF", "an HDF5 file"),
    (b"GGUF", "a GGUF file"),
    (b"\x93NUMPY", "a numpy file"),
)


class UnsoundFile(ValueError):
    """The file contradicts itself. The message is one sentence: what to do depends on what the file is for."""


class EndsEarly(UnsoundFile):
    """A part of the file is missing."""


class NotTensors(UnsoundFile):
    """The file is of another kind altogether, or says what no such file can say."""


@dataclass(frozen=True)
class TensorEntry:
    """One tensor as the header describes it. `begin` and `end` are bytes, counted from the first tensor."""

    name: str
    dtype: str  # as the format spells it: "F32"
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class TensorHeader:
    """What a sound file lists. The tensors lie one after another, to the end of the file."""

    size: int  # bytes of the whole file
    tensors: tuple[TensorEntry, ...]  # as they lie in the file
    metadata: Mapping[str, str]


def read_header(file: BinaryIO, name: str, size: int, limit: int = HEADER_LIMIT) -> TensorHeader:
    """Reads the header of a safetensors file that is open at its beginning, and nothing else of it.

    `name` is how errors call the file, `size` its bytes, `limit` the most bytes that its header may have. Raises
    UnsoundFile, or one of its two kinds.
    """
    first = file.read(8)
    _refuse_disguise(name, first)
    if len(first) < 8:
        raise UnsoundFile(f"`{shown(name)}` is empty or nearly so ({size} bytes).")
    (length,) = struct.unpack("<Q", first)
    if length > limit:
        raise NotTensors(
            f"`{shown(name)}` is no safetensors file: it claims a header of {human_bytes(length)}. "
            f"{human_bytes(limit)} is the most that the format allows."
        )
    if length > size - 8:
        raise _ends_early(name, size, 8 + length)
    tensors, metadata = _listed(name, file.read(length))
    end = 0
    for tensor in tensors:
        bits = math.prod(tensor.shape) * _BITS[tensor.dtype]
        if tensor.begin != end or tensor.end - tensor.begin != math.ceil(bits / 8):
            raise _lies(name, f"its tensor `{shown(tensor.name)}` does not lie where its shape says")
        end = tensor.end
    whole = 8 + length + end
    if whole > size:
        raise _ends_early(name, size, whole)
    if whole < size:
        raise _lies(name, f"{human_bytes(size - whole)} after its last tensor belong to nothing")
    return TensorHeader(size, tensors, metadata)


def _refuse_disguise(name: str, first: bytes) -> None:
    kind = next((words for magic, words in _DISGUISES if first.startswith(magic)), None)
    # a pickle begins with its protocol, 2 to 5, and then an opcode or a frame; as a length, these bytes are
    # enormous
    if kind is None and len(first) >= 2 and first[0] == 0x80 and 2 <= first[1] <= 5 and _is_pickle(first):
        kind = "a pickle, which can run code when it is opened"
    if kind is not None:
        raise NotTensors(f"`{shown(name)}` is not a safetensors file but {kind}. It was not opened.")


def _is_pickle(first: bytes) -> bool:
    return any(first[2:]) and struct.unpack("<Q", first.ljust(8, b"\xff"))[0] > HEADER_LIMIT


def _listed(name: str, header: bytes) -> tuple[tuple[TensorEntry, ...], Mapping[str, str]]:
    """The tensors that the header lists, in the order in which they lie, and its metadata."""
    if not header.startswith(b"{"):
        raise _lies(name, "its header is not JSON")
    try:
        entries = strict_json.loads(header, max_bytes=HEADER_LIMIT, max_depth=3)
    except ValueError as problem:
        raise _lies(name, f"its header is {problem}") from None
    found: list[TensorEntry] = []
    metadata: Mapping[str, str] = {}
    for key, entry in cast("dict[str, Any]", entries).items():
        if not isinstance(entry, dict):
            raise _lies(name, f"its tensor `{shown(key)}` is not described")
        if key == "__metadata__":
            if not all(isinstance(value, str) for value in entry.values()):
                raise _lies(name, "its metadata are not all text")
            metadata = entry
            continue
        dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
        if not _is_dtype(dtype) or not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
            raise _lies(name, f"its tensor `{shown(key)}` is not described as the format asks")
        found.append(TensorEntry(key, dtype, tuple(shape), *offsets))
    return tuple(sorted(found, key=lambda tensor: (tensor.begin, tensor.end))), metadata


def _is_dtype(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and value in _BITS


def _are_counts(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _ends_early(name: str, size: int, whole: int) -> EndsEarly:
    there, all_of_it = human_bytes(size), human_bytes(whole)
    if there.split()[-1] == all_of_it.split()[-1]:
        there = there.split()[0]
    if there == all_of_it.split()[0]:
        there, all_of_it = f"{size:,}", f"{whole:,} bytes"
    return EndsEarly(f"`{shown(name)}` ends early: {there} of {all_of_it} are there.")


def _lies(name: str, how: str) -> UnsoundFile:
    return UnsoundFile(f"`{shown(name)}` is not a sound safetensors file: {how}.")
