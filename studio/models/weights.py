"""Safetensors files: what one holds, read from its header alone, and whether that can be true.

The header of such a file lists its tensors. It may lie about its own size, about where they are, or the file may be
something else under that name, such as a pickle, which can run code. No tensor is read here.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard, cast

from studio import strict_json
from studio.errors import ModelNotFound, UnsafeModel

HEADER_LIMIT = 100_000_000  # bytes: that of the format's own library
PICKLE_SUFFIXES = frozenset(
    {".bin", ".ckpt", ".h5", ".joblib", ".msgpack", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth"}
)

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


@dataclass(frozen=True)
class Weights:
    """A safetensors file whose header holds: its size, and how many numbers lie in it."""

    path: Path
    size: int  # bytes
    parameters: int
    dtypes: frozenset[str]


def check_weights(path: Path) -> Weights:
    """Reads the header of a safetensors file, and nothing else of it.

    Raises ModelNotFound if there is no such file, UnsafeModel if it is no safetensors file, or one that lies about
    itself.
    """
    size, header = _read_header(path)
    return _check_header(path, size, header)


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a safetensors file. Raises as `check_weights` does."""
    size, header = _read_header(path)
    _check_header(path, size, header)
    return {name: tuple(shape) for name, _, shape, _, _ in _tensors(path, header)}


def _read_header(path: Path) -> tuple[int, bytes]:
    """The size of the file and its header, once both are known to be possible."""
    if path.suffix.lower() in PICKLE_SUFFIXES:
        raise UnsafeModel(
            f"`{shown(path.name)}` may hold pickled weights, which can run code when they are opened. "
            "Choose a .safetensors file of the same model."
        )
    if not path.is_file():
        raise ModelNotFound(f"There is no file `{shown(path.name)}`. Check its name and folder.")
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        _refuse_disguise(path, start)
        if len(start) < 8:
            raise UnsafeModel(f"`{shown(path.name)}` is empty or nearly so ({size} bytes). Fetch it again.")
        (length,) = struct.unpack("<Q", start)
        if length > HEADER_LIMIT:
            raise UnsafeModel(
                f"`{shown(path.name)}` is no safetensors file: it claims a header of {human_bytes(length)}. "
                f"{human_bytes(HEADER_LIMIT)} is the most that the format allows."
            )
        if length > size - 8:
            raise _ends_early(path, size, 8 + length)
        return size, file.read(length)


def shown(text: str, limit: int = 80) -> str:
    """A stranger's text as it can stand in one line of an error: short and without control characters."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def human_bytes(count: float) -> str:
    """Bytes in the unit that a person would use: 812 bytes, 34 MB, 6.9 GB."""
    if count < 1e5:
        return f"{count:,.0f} bytes"
    if count < 1e9:
        return f"{count / 1e6:.1f} MB" if count < 1e7 else f"{count / 1e6:,.0f} MB"
    return f"{count / 1e9:.1f} GB" if count < 1e11 else f"{count / 1e9:,.0f} GB"


def _refuse_disguise(path: Path, start: bytes) -> None:
    kind = next((words for magic, words in _DISGUISES if start.startswith(magic)), None)
    # a pickle begins with its protocol, 2 to 5, and then an opcode or a frame; as a length, these bytes are
    # enormous
    if kind is None and len(start) >= 2 and start[0] == 0x80 and 2 <= start[1] <= 5 and _is_pickle(start):
        kind = "a pickle, which can run code when it is opened"
    if kind is not None:
        raise UnsafeModel(f"`{shown(path.name)}` is not a safetensors file but {kind}. It was not opened.")


def _is_pickle(start: bytes) -> bool:
    return any(start[2:]) and struct.unpack("<Q", start.ljust(8, b"\xff"))[0] > HEADER_LIMIT


def _check_header(path: Path, size: int, header: bytes) -> Weights:
    tensors = _tensors(path, header)
    end = parameters = 0
    for name, dtype, shape, begin, stop in sorted(tensors, key=lambda tensor: tensor[3:]):
        numbers = math.prod(shape)
        if begin != end or stop - begin != math.ceil(numbers * _BITS[dtype] / 8):
            raise _lies(path, f"its tensor `{shown(name)}` does not lie where its shape says")
        end, parameters = stop, parameters + numbers
    whole = 8 + len(header) + end
    if whole > size:
        raise _ends_early(path, size, whole)
    if whole < size:
        raise _lies(path, f"{human_bytes(size - whole)} after its last tensor belong to nothing")
    return Weights(path, size, parameters, frozenset(tensor[1] for tensor in tensors))


_Tensor = tuple[str, str, list[int], int, int]


def _tensors(path: Path, header: bytes) -> list[_Tensor]:
    """Name, dtype, shape, begin and end of every tensor that the header lists."""
    if not header.startswith(b"{"):
        raise _lies(path, "its header is not JSON")
    try:
        entries = strict_json.loads(header, max_bytes=HEADER_LIMIT, max_depth=3)
    except ValueError as problem:
        raise _lies(path, f"its header is {problem}") from None
    found: list[_Tensor] = []
    for name, entry in cast("dict[str, Any]", entries).items():
        if name == "__metadata__":
            continue
        if not isinstance(entry, dict):
            raise _lies(path, f"its tensor `{shown(name)}` is not described")
        dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
        if dtype not in _BITS or not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
            raise _lies(path, f"its tensor `{shown(name)}` is not described as the format asks")
        found.append((name, dtype, shape, *offsets))
    return found


def _are_counts(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _ends_early(path: Path, size: int, whole: int) -> UnsafeModel:
    there, all_of_it = human_bytes(size), human_bytes(whole)
    if there.split()[-1] == all_of_it.split()[-1]:
        there = there.split()[0]
    if there == all_of_it.split()[0]:
        there, all_of_it = f"{size:,}", f"{whole:,} bytes"
    return UnsafeModel(
        f"`{shown(path.name)}` ends early: {there} of {all_of_it} are there. Fetch it again, or choose another model."
    )


def _lies(path: Path, how: str) -> UnsafeModel:
    return UnsafeModel(f"`{shown(path.name)}` is not a sound safetensors file: {how}. Fetch it again.")
