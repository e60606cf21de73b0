"""PNG as documents keep their pixels: 8-bit grey, RGB or RGBA, exactly the samples in the file.

Nothing is converted on the way, so whatever would ask for it (palettes, 16 bits, colour profiles, gamma, rotation,
animation) is refused instead. `plain_extent` checks a whole file in bounded memory, without making a picture of it:
what it lets through can be decoded. Strangers' pictures come in through `png.read_picture`.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from studio.errors import UnreadablePicture
from studio.imaging.png_chunks import SIGNATURE, chunks

Pixels: TypeAlias = "np.ndarray[Any, np.dtype[np.uint8]]"

MAX_SIDE = 4096  # px, as of a document
HEADER = 33  # bytes, up to where its size is known
DIGEST_LENGTH = 32  # hexadecimal digits

_CHANNELS = {0: 1, 2: 3, 6: 4}  # by PNG's colour types: grey, RGB, RGBA
_HARMLESS = frozenset({b"tEXt", b"zTXt", b"iTXt", b"sRGB", b"pHYs", b"tIME"})  # they change no sample
_FED, _PIECE = 64 * 1024, 1024 * 1024  # packed bytes that are handed to zlib, and what it unpacks, at a time
_MAX_CHUNKS = 20_000
_FILTERS = 5


@dataclass(frozen=True)
class PlainExtent:
    """Sides in pixels, and 1 (grey), 3 (RGB) or 4 (RGBA) channels."""

    width: int
    height: int
    channels: int

    @property
    def bytes(self) -> int:
        """Of all samples, unpacked."""
        return self.width * self.height * self.channels


def plain_extent(png: bytes, max_side: int = MAX_SIDE) -> PlainExtent:
    """What is in a PNG of plain pixels, every byte of it checked.

    Raises UnreadablePicture for anything else: other kinds of PNG, sides beyond `max_side`, damage, bytes missing or
    left over.
    """
    pieces = _chunks(png)
    kind, body, _ = next(pieces)
    extent = _header(kind, body, max_side)
    rows = _Rows(extent)
    state = 0  # before, in and after the pixels
    for kind, body, _ in pieces:
        if kind == b"IDAT":
            if state == 2:
                raise UnreadablePicture("This PNG is damaged: its pixels do not stand together.")
            state = 1
            rows.take(body)
        elif kind == b"IEND":
            break
        elif kind not in _HARMLESS:
            name = bytes(kind).decode("latin-1") if bytes(kind).isalpha() else "unknown"
            raise UnreadablePicture(
                f"This PNG says how its pixels are to be changed when shown ({name}). Documents keep 8-bit grey, "
                "RGB or RGBA; open it as a picture instead."
            )
        else:
            state = 2 if state else 0
    rows.finish()
    return extent


def extent_at(start: bytes, max_side: int = MAX_SIDE) -> PlainExtent:
    """What a PNG of plain pixels says it is, from its first HEADER bytes alone. Raises UnreadablePicture."""
    if len(start) < HEADER or start[:8] != SIGNATURE:
        raise UnreadablePicture("This is not a PNG.")
    return _header(start[12:16], memoryview(start)[16:29], max_side)


def read_plain(png: bytes, max_side: int = MAX_SIDE) -> Pixels:
    """A PNG of plain pixels -> uint8 (H, W) for grey, (H, W, 3) or (H, W, 4). Raises as `plain_extent` does."""
    plain_extent(png, max_side)
    try:
        with Image.open(io.BytesIO(_bare(png)), formats=("PNG",)) as picture:
            return np.array(picture, dtype=np.uint8)
    except (OSError, SyntaxError, ValueError) as problem:
        raise UnreadablePicture("This PNG is damaged: its pixels cannot be read.") from problem


def write_plain(pixels: Pixels, level: int = 6) -> bytes:
    """uint8 (H, W), (H, W, 3) or (H, W, 4) -> a lossless PNG. The same pixels give the same bytes.

    `level` is zlib's: 1 is fast, 9 small. Raises ValueError for other pixels.
    """
    sound = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))
    if pixels.dtype != np.uint8 or not sound or 0 in pixels.shape:
        raise ValueError(f"Plain pixels are uint8 (H, W), (H, W, 3) or (H, W, 4), not {pixels.dtype} {pixels.shape}.")
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG", compress_level=level)
    return file.getvalue()


def digest_of(pixels: Pixels) -> str:
    """Stands for pixels, whatever file they came in: equal for equal arrays."""
    whole = hashlib.sha256(f"{pixels.shape}".encode())
    whole.update(np.ascontiguousarray(pixels).data)
    return whole.hexdigest()[:DIGEST_LENGTH]


def _bare(png: bytes) -> bytes:
    """The same PNG with nothing but its pixels: what else it says may be too much for a decoder."""
    parts, position = [SIGNATURE], len(SIGNATURE)
    for kind, _, end in _chunks(png):
        if kind not in _HARMLESS:
            parts.append(png[position:end])
        position = end
    return b"".join(parts)


class _Rows:
    """Unpacks the rows of a picture piece by piece and keeps none of them."""

    def __init__(self, extent: PlainExtent) -> None:
        self._stride = 1 + extent.width * extent.channels
        self._wanted = self._stride * extent.height
        self._had = 0
        self._unpacker = zlib.decompressobj()

    def take(self, body: memoryview) -> None:
        for start in range(0, len(body), _FED):
            self._take(body[start : start + _FED])

    def _take(self, packed: bytes | memoryview) -> None:
        while len(packed):
            if self._unpacker.eof:
                raise UnreadablePicture("This PNG is damaged: there are bytes behind its pixels.")
            try:
                piece = self._unpacker.decompress(packed, _PIECE)
            except zlib.error:
                raise UnreadablePicture("This PNG is damaged: its pixels cannot be unpacked.") from None
            packed = self._unpacker.unconsumed_tail or self._unpacker.unused_data
            self._look_at(piece)

    def finish(self) -> None:
        while not self._unpacker.eof:  # what zlib still holds back
            piece = self._unpacker.decompress(self._unpacker.unconsumed_tail, _PIECE)
            if not piece:
                break
            self._look_at(piece)
        if self._had < self._wanted or not self._unpacker.eof:
            raise UnreadablePicture("This PNG is cut short: pixels are missing.")

    def _look_at(self, piece: bytes) -> None:
        first = -self._had % self._stride  # where the next row begins, with the byte that names its filter
        if any(name >= _FILTERS for name in piece[first :: self._stride]):
            raise UnreadablePicture("This PNG is damaged: a row of it is filtered in an unknown way.")
        self._had += len(piece)
        if self._had > self._wanted:
            raise UnreadablePicture("This PNG is damaged: it unpacks to more pixels than it says.")


def _chunks(png: bytes) -> Iterator[tuple[bytes, memoryview, int]]:
    """(kind, body, end) of every chunk, IEND included, each with its checksum verified and nothing behind the last."""
    if png[:8] != SIGNATURE:
        raise UnreadablePicture("This is not a PNG. Documents keep their pixels as PNG, which loses nothing.")
    for kind, body, end in chunks(png, _MAX_CHUNKS):
        if kind == b"IEND" and end != len(png):
            raise UnreadablePicture("This PNG is damaged: there are bytes behind its end.")
        yield kind, body, end


def _header(kind: bytes, body: memoryview, max_side: int) -> PlainExtent:
    if kind != b"IHDR" or len(body) != 13:
        raise UnreadablePicture("This PNG is damaged: it does not begin with its size.")
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", body)
    if not (width and height):
        raise UnreadablePicture("This PNG has no pixels.")
    if width > max_side or height > max_side:
        raise UnreadablePicture(f"This PNG is {width} × {height} pixels. Documents have at most {max_side} a side.")
    if depth != 8 or colour not in _CHANNELS:
        raise UnreadablePicture("This PNG is not 8-bit grey, RGB or RGBA. Open it as a picture, which converts it.")
    if compression or filtering or interlace:
        raise UnreadablePicture("This PNG is interlaced or packed in an unknown way. Save it plainly.")
    return PlainExtent(width, height, _CHANNELS[colour])
