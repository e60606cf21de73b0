"""Files as answers: large ones in pieces, so that whoever reads slowly holds one piece in memory, not the whole."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

PIECE = 256 * 1024  # bytes
AT_ONCE = 1024 * 1024  # bytes up to which a file is read whole: it is sent faster so


def file_response(file: BinaryIO, media_type: str, headers: Mapping[str, str], name: str | None = None) -> Response:
    """An open file, from its beginning, which is closed once it was sent and may be deleted as soon as this returns.

    With a `name` the browser keeps it as a file.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    more = {"Content-Disposition": f'attachment; filename="{name}"'} if name is not None else {}
    if size <= AT_ONCE:
        with file:
            return Response(file.read(), media_type=media_type, headers={**headers, **more})
    return _InPieces(file, media_type, {**headers, **more, "Content-Length": str(size)})


class _InPieces(StreamingResponse):
    def __init__(self, file: BinaryIO, media_type: str, headers: Mapping[str, str]) -> None:
        super().__init__(_pieces(file), media_type=media_type, headers=headers)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:  # whoever leaves in the middle leaves no file open
            await super().__call__(scope, receive, send)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(PIECE):
        yield piece
