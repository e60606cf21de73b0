"""The pieces that a PNG is made of. Every byte of them is checked before anybody looks inside."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from studio.errors import UnreadablePicture

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunks(png: bytes, most: int) -> Iterator[tuple[bytes, memoryview, int]]:
    """(kind, body, where it ends) of every chunk of a file that begins with SIGNATURE, IEND last.

    Raises UnreadablePicture if the file is cut short before IEND, if a checksum does not fit, or if there are more
    than `most` chunks. What stands behind IEND is the caller's to judge.
    """
    view = memoryview(png)
    position = len(SIGNATURE)
    for _ in range(most):
        if position + 12 > len(png):
            raise UnreadablePicture("This PNG is cut short.")
        length, kind = struct.unpack_from(">I4s", png, position)
        end = position + 12 + length
        if end > len(png):
            raise UnreadablePicture("This PNG is cut short.")
        if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise UnreadablePicture("This PNG is damaged: a checksum in it does not fit.")
        yield kind, view[position + 8 : end - 4], end
        if kind == b"IEND":
            return
        position = end
    raise UnreadablePicture(f"This PNG is split into more than {most:,} pieces.")
