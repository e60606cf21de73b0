"""Connections that cost more than they bring: idle ones, slow ones, and too many from one place.

uvicorn's protocol with what it leaves to a proxy in front: a deadline for the head of a request, and a smallest pace
at which a body comes and an answer is taken. The socket that listens bounds how many connections there are, of
everybody and of one address, from the moment at which they are accepted: before they spoke TLS, or anything. Nothing
here knows a person.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import weakref
from pathlib import Path
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS = 512  # of everybody
PER_ADDRESS = 96  # a proxy on this computer, whose callers all have its address, may have all of them
HEAD_PATIENCE = 15.0  # seconds from the connection, or from the first byte after an answer, to a whole request head
BODY_PATIENCE = 60.0  # seconds in which GIVEN_AT_LEAST of a body arrives, or the rest of it
GIVEN_AT_LEAST = 64 * 1024  # bytes: 1 kB a second
TAKING_PATIENCE = 120.0  # seconds in which a caller takes TAKEN_AT_LEAST of an answer that waits for them
TAKEN_AT_LEAST = 128 * 1024  # bytes; with what the system holds of them, less than 4 kB a second
HELD_BY_SYSTEM = 128 * 1024  # bytes of an answer, twice that on Linux: what it holds, nobody sees being taken
WAITING_AT_MOST = 64 * 1024  # bytes of an answer after which its next piece has to wait
HANDSHAKE_PATIENCE = 10.0  # seconds


def configured(
    app: ASGIApp, certificate: Path | None = None, key: Path | None = None, proxy: bool = False
) -> uvicorn.Config:
    """A server of `app`, over HTTPS if there is a `certificate` (PEM), which may hold its key, too.

    With `proxy`, a proxy on this computer is believed whom it speaks for (X-Forwarded-For, X-Forwarded-Proto).
    """
    return uvicorn.Config(
        app,
        http=Connection,
        loop=f"{__name__}:Loop",
        ws="none",  # the page opens none
        log_level="warning",
        server_header=False,
        proxy_headers=proxy,
        timeout_graceful_shutdown=1,
        limit_concurrency=2 * CONNECTIONS,  # work whose callers have left goes on for a while
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )


class Loop(asyncio.SelectorEventLoop):
    """asyncio's own loop that accepts by `Listener.accept`, with a shorter patience for TLS."""

    async def create_server(self, *args: Any, ssl: Any = None, **named: Any) -> asyncio.Server:  # type: ignore[override]
        patience = HANDSHAKE_PATIENCE if ssl is not None else None
        return await super().create_server(*args, ssl=ssl, ssl_handshake_timeout=patience, **named)


class Listener(socket.socket):
    """Listens, and lets go at once of connections beyond CONNECTIONS, or PER_ADDRESS from one address."""

    __slots__ = ("_accepted",)  # as a socket has them

    def __init__(self, family: int = socket.AF_INET) -> None:
        # TCP by name: asyncio only then sends the end of a short answer at once, 40 ms sooner (TCP_NODELAY)
        super().__init__(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, HELD_BY_SYSTEM)  # every connection has it from here
        self._accepted: weakref.WeakKeyDictionary[socket.socket, str | None] = weakref.WeakKeyDictionary()

    def accept(self) -> tuple[socket.socket, Any]:
        """As of every socket. Raises ConnectionAbortedError, which asyncio expects, for a connection too many."""
        connection, address = super().accept()
        place = place_of(address[0])
        places = [theirs for other, theirs in self._accepted.items() if other.fileno() != -1]
        if len(places) >= CONNECTIONS or (place is not None and places.count(place) >= PER_ADDRESS):
            connection.close()
            raise ConnectionAbortedError(f"too many connections: {len(places)}")
        self._accepted[connection] = place
        return connection, address


class Connection(H11Protocol):
    """One connection of the studio's server."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._given = 0  # bytes, in this stretch of BODY_PATIENCE
        self._head: asyncio.TimerHandle | None = None
        self._body: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(WAITING_AT_MOST)  # TLS would hold half a megabyte more
        self._head = self.loop.call_later(HEAD_PATIENCE, self._too_late)

    def data_received(self, data: bytes) -> None:
        self._given += len(data)
        super().data_received(data)
        state = self.conn.their_state
        if state is not h11.IDLE:
            self._head = _stopped(self._head)
        elif self._head is None:
            self._head = self.loop.call_later(HEAD_PATIENCE, self._too_late)
        if state is not h11.SEND_BODY:
            self._body = _stopped(self._body)
        elif self._body is None:
            self._await_body()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_taking()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():  # otherwise the rest has to be taken in time, too
            self._taking = _stopped(self._taking)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._await_rest()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._await_rest()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head, self._body, self._taking = _stopped(self._head), _stopped(self._body), _stopped(self._taking)
        super().connection_lost(exc)

    def _too_late(self) -> None:
        """Closed in peace: browsers open connections ahead of time, and notice when one ends."""
        self.transport.close()
        self._await_rest()

    def _await_body(self) -> None:
        self._given = 0
        self._body = self.loop.call_later(BODY_PATIENCE, self._look_at_body)

    def _look_at_body(self) -> None:
        if self._given < GIVEN_AT_LEAST and not self.flow.read_paused:
            self.transport.abort()
        else:
            self._await_body()

    def _await_rest(self) -> None:
        """A connection that closes sends what still waits first, to somebody who perhaps never takes it."""
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            self._await_taking()

    def _await_taking(self) -> None:
        if self._taking is None:
            size = self.transport.get_write_buffer_size()
            self._taking = self.loop.call_later(TAKING_PATIENCE, self._look_at_taking, size)

    def _look_at_taking(self, size: int) -> None:
        self._taking = None
        if size - self.transport.get_write_buffer_size() < TAKEN_AT_LEAST:
            self.transport.abort()
        else:
            self._await_taking()


def place_of(address: str) -> str | None:
    """What callers are counted by: an IPv4 address or the /64 that one IPv6 customer has; None for this computer."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return None if parsed.is_loopback else str(ipaddress.ip_network((parsed, 64), strict=False))
        parsed = parsed.ipv4_mapped
    return None if parsed.is_loopback else str(parsed)


def _stopped(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """No timer any more."""
    if timer is not None:
        timer.cancel()
    return None
