"""Files as answers: in pieces, closed at the end, whatever way it ends."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from bare_requests import run
from starlette.types import Message

from studio.web.files import AT_ONCE, PIECE, file_response


def _answered(path: Path, limit: int | None = None) -> tuple[list[Message], bool]:
    """The messages of an answer, of which only `limit` are taken; and whether the file is closed then."""
    file = path.open("rb")
    response = file_response(file, "image/png", {"Cache-Control": "no-store"}, "a.png")
    path.unlink()
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)
        if limit is not None and len(messages) > limit:
            await anyio.sleep_forever()

    async def receive() -> Message:
        if limit is None:
            await anyio.sleep_forever()
        while len(messages) <= (limit or 0):
            await anyio.sleep(0)
        return {"type": "http.disconnect"}

    run(response({"type": "http", "method": "GET", "headers": []}, receive, send))
    return messages, file.closed


@pytest.mark.parametrize("size", [0, 1, AT_ONCE, AT_ONCE + 1, 5 * PIECE + 3])
def test_a_file_is_sent_whole_though_it_was_deleted_and_never_in_large_pieces(tmp_path: Path, size: int) -> None:
    content = bytes(range(251)) * (size // 251 + 1)
    (tmp_path / "a").write_bytes(content[:size])
    messages, closed = _answered(tmp_path / "a")
    headers = dict(messages[0]["headers"])
    assert headers[b"content-length"] == str(size).encode()
    assert headers[b"content-disposition"] == b'attachment; filename="a.png"'
    assert headers[b"cache-control"] == b"no-store"
    pieces = [message.get("body", b"") for message in messages[1:]]
    assert b"".join(pieces) == content[:size]
    assert max(map(len, pieces)) <= (PIECE if size > AT_ONCE else AT_ONCE)
    assert closed


def test_whoever_leaves_in_the_middle_leaves_no_file_open(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(8 * PIECE))
    messages, closed = _answered(tmp_path / "a", 3)
    assert len(messages) == 4
    assert closed
