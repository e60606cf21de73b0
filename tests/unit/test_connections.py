"""Connections that bring nothing are cut off, and nobody opens all of them. With a clock of our own."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from bare_requests import run
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from studio.web import connections
from studio.web.connections import (
    BODY_PATIENCE,
    GIVEN_AT_LEAST,
    HEAD_PATIENCE,
    TAKEN_AT_LEAST,
    TAKING_PATIENCE,
    Connection,
    Listener,
    configured,
    place_of,
)

CERTIFICATE = Path(__file__).parents[1] / "data" / "localhost.pem"
ASKED = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Clock:
    """What a protocol asks its loop for: timers that go off when `pass_by` says so, and tasks that never begin."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._count = itertools.count()

    def call_later(self, delay: float, call: Callable[..., Any], *values: Any) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(self.now + delay, call, values, self)  # type: ignore[arg-type]
        heapq.heappush(self._timers, (self.now + delay, next(self._count), handle))
        return handle

    def pass_by(self, seconds: float) -> None:
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            self.now, _, handle = heapq.heappop(self._timers)
            if not handle.cancelled():
                handle._run()
        self.now = end

    def get_debug(self) -> bool:
        return False

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass

    def create_task(self, work: Any, **_: Any) -> _Task:
        work.close()
        return _Task()


class _Task:
    def add_done_callback(self, call: Callable[..., Any]) -> None:
        pass


class Wire(asyncio.Transport):
    """A connection whose other end takes nothing by itself."""

    def __init__(self, address: str) -> None:
        super().__init__({"peername": (address, 50_000), "sockname": ("10.0.0.9", 7860)})
        self.waiting = 0
        self.aborted = self.closing = False

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def write(self, data: Any) -> None:
        self.waiting += len(data)

    def abort(self) -> None:
        self.aborted = self.closing = True

    def close(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": scope["scheme"][-2:].encode()})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def connect(clock: Clock) -> Callable[..., tuple[Connection, Wire]]:
    config, state = configured(_app), ServerState()

    def connected(address: str = "10.0.0.1") -> tuple[Connection, Wire]:
        connection, wire = Connection(config, state, {}, clock), Wire(address)
        connection.connection_made(wire)
        return connection, wire

    return connected


def test_whoever_connects_and_says_nothing_is_cut_off(clock: Clock, connect: Any) -> None:
    (silent, silent_wire), (slow, slow_wire), (whole, whole_wire) = connect(), connect(), connect()
    assert silent.cycle is None
    slow.data_received(ASKED[:-1])
    whole.data_received(ASKED)
    clock.pass_by(HEAD_PATIENCE - 1)
    slow.data_received(b"\r")  # a byte now and then wins no time
    assert not silent_wire.closing
    clock.pass_by(1)
    assert (silent_wire.closing, slow_wire.closing, whole_wire.closing) == (True, True, False)


def test_the_next_request_of_a_connection_has_to_come_whole_too(clock: Clock, connect: Any) -> None:
    connection, wire = connect()
    connection.data_received(ASKED)
    run(connection.cycle.run_asgi(_app))
    connection.data_received(ASKED[:9])
    clock.pass_by(HEAD_PATIENCE - 1)
    assert not wire.closing
    clock.pass_by(1)
    assert wire.closing
    clock.pass_by(TAKING_PATIENCE)
    assert wire.aborted  # it has not even taken the first answer


def test_a_body_that_does_not_come_is_not_waited_for(clock: Clock, connect: Any) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
    (none, none_wire), (slow, slow_wire), (steady, steady_wire) = connect(), connect(), connect()
    for connection in (none, slow, steady):
        connection.data_received(head)
    for _ in range(4):
        slow.data_received(b"x")
        steady.data_received(b"x" * (GIVEN_AT_LEAST // 2))
        run(steady.cycle.receive())
        clock.pass_by(BODY_PATIENCE / 2)
    assert (none_wire.aborted, slow_wire.aborted, steady_wire.aborted) == (True, True, False)
    steady.data_received(b"x" * (1_000_000 - 2 * GIVEN_AT_LEAST))
    clock.pass_by(10 * BODY_PATIENCE)
    assert not steady_wire.aborted


def test_a_body_that_stops_in_the_middle_is_not_waited_for(clock: Clock, connect: Any) -> None:
    connection, wire = connect()
    connection.data_received(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
    connection.data_received(b"x" * GIVEN_AT_LEAST)
    run(connection.cycle.receive())
    clock.pass_by(BODY_PATIENCE)
    assert not wire.aborted
    clock.pass_by(BODY_PATIENCE)
    assert wire.aborted


def test_who_may_send_no_more_for_now_is_not_blamed(clock: Clock, connect: Any) -> None:
    connection, wire = connect()
    connection.data_received(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
    connection.data_received(b"x" * (GIVEN_AT_LEAST + 1))  # which nobody takes up
    clock.pass_by(3 * BODY_PATIENCE)
    assert not wire.aborted


@pytest.mark.parametrize(("taken", "aborted"), [(0, True), (TAKEN_AT_LEAST - 1, True), (TAKEN_AT_LEAST, False)])
def test_an_answer_that_nobody_takes_is_not_kept(clock: Clock, connect: Any, taken: int, aborted: bool) -> None:
    connection, wire = connect()
    connection.data_received(ASKED)
    wire.write(b"x" * 1_000_000)
    connection.pause_writing()
    wire.waiting -= taken
    clock.pass_by(TAKING_PATIENCE)
    assert wire.aborted == aborted


def test_whoever_takes_an_answer_in_time_is_left_alone(clock: Clock, connect: Any) -> None:
    connection, wire = connect()
    connection.data_received(ASKED)
    for _ in range(3):
        wire.waiting = 100_000
        connection.pause_writing()
        clock.pass_by(TAKING_PATIENCE - 1)
        wire.waiting = 10_000
        connection.resume_writing()
    clock.pass_by(TAKING_PATIENCE)
    assert not wire.aborted


def test_what_a_closing_connection_still_has_to_send_is_not_kept_for_ever(clock: Clock, connect: Any) -> None:
    connection, wire = connect()
    connection.data_received(ASKED)
    run(connection.cycle.run_asgi(_app))
    assert wire.waiting
    clock.pass_by(connection.timeout_keep_alive)
    assert wire.closing
    connection.resume_writing()  # there is little left, and that stays
    assert not wire.aborted
    clock.pass_by(TAKING_PATIENCE)
    assert wire.aborted


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., bool]]:
    """Opens a connection from somewhere and says whether it was let in; `opened.held` are those that were."""
    held: list[socket.socket] = []
    with Listener() as listener, contextlib.ExitStack() as callers:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def call(address: str) -> bool:
            monkeypatch.setattr(connections, "place_of", lambda _: place_of(address))
            callers.enter_context(socket.create_connection(listener.getsockname()))
            try:
                connection, _ = listener.accept()
            except ConnectionAbortedError:
                return False
            held.append(callers.enter_context(connection))
            return True

        call.held = held  # type: ignore[attr-defined]
        yield call


def test_the_end_of_a_short_answer_does_not_wait_for_the_other_side() -> None:
    """Otherwise the system holds it back for up to 40 ms, in every answer and every line of a stream."""
    delays: list[int] = []

    async def listen() -> None:
        def met(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            known = writer.get_extra_info("socket")
            delays.append(known.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with Listener() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            async with await asyncio.start_server(met, sock=listener):
                reader, writer = await asyncio.open_connection(*listener.getsockname())
                assert await reader.read() == b""
                writer.close()

    run(listen())
    assert delays == [1]


def test_one_address_cannot_have_all_connections(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PER_ADDRESS", 3)
    assert [opened(f"2001:db8::{number}") for number in range(1, 6)] == [True, True, True, False, False]
    assert opened("2001:db8:0:1::1")
    assert all(opened("127.0.0.1") for _ in range(5)), "a proxy on this computer"
    opened.held[0].close()
    assert opened("2001:db8::9"), "a place is free again once a connection ended"


def test_all_addresses_together_cannot_use_up_the_connections(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS", 4)
    assert [opened(f"10.0.0.{number}") for number in range(6)] == [True] * 4 + [False] * 2
    opened.held.pop().close()
    assert opened("127.0.0.1")


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("127.0.0.1", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("somewhere", "somewhere"),
    ],
)
def test_places(address: str, place: str | None) -> None:
    assert place_of(address) == place


@contextlib.contextmanager
def _running(config: uvicorn.Config) -> Iterator[tuple[uvicorn.Server, int]]:
    server = uvicorn.Server(config)
    with Listener() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield server, listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(60)


def _until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_certificate_makes_it_https() -> None:
    trust = ssl.create_default_context(cafile=str(CERTIFICATE))
    running = _running(configured(_app, CERTIFICATE))
    with running as (_, port), httpx.Client(verify=trust, trust_env=False) as client:
        assert client.get(f"https://127.0.0.1:{port}/").text == "ps"


def test_who_never_shakes_hands_has_a_place_and_loses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS", 2)
    monkeypatch.setattr(connections, "HANDSHAKE_PATIENCE", 0.5)
    with _running(configured(_app, CERTIFICATE)) as (_, port), contextlib.ExitStack() as callers:
        silent = [callers.enter_context(socket.create_connection(("127.0.0.1", port), 20)) for _ in range(4)]
        assert [caller.recv(1) for caller in silent] == [b""] * 4  # two at once, two after the patience


@pytest.mark.parametrize("certificate", [None, CERTIFICATE], ids=["plain", "tls"])
def test_what_a_slow_reader_takes_is_seen(certificate: Path | None) -> None:
    """Whoever reads 4 kB a second makes the progress that is asked for, whatever the system holds of the answer."""

    given = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal given
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(64):
                given += 256 * 1024
                await send({"type": "http.response.body", "body": bytes(256 * 1024), "more_body": True})

    with _running(configured(app, certificate)) as (server, port), contextlib.ExitStack() as opened:
        caller = opened.enter_context(socket.socket())
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
        caller.connect(("127.0.0.1", port))
        if certificate is not None:
            trust = ssl.create_default_context(cafile=str(certificate))
            caller = opened.enter_context(trust.wrap_socket(caller, server_hostname="127.0.0.1"))
        caller.sendall(ASKED)
        _until(lambda: given)
        (connection,) = server.server_state.connections

        def taken() -> int:
            return given - connection.transport.get_write_buffer_size()

        for _ in range(3):
            before, same = 0, 0
            while same < 20:  # until the system takes no more of it
                time.sleep(0.01)
                same = same + 1 if taken() == before else 0
                before = taken()
            left = int(TAKING_PATIENCE * 4096)
            while left:
                left -= len(caller.recv(min(left, 4096)))
            _until(lambda before=before: taken() - before >= TAKEN_AT_LEAST)  # type: ignore[misc]


@pytest.mark.parametrize(("proxy", "scheme"), [(False, "tp"), (True, "ps")])
def test_only_a_proxy_that_was_told_of_is_believed(proxy: bool, scheme: str) -> None:
    running = _running(configured(_app, proxy=proxy))
    with running as (_, port), httpx.Client(trust_env=False) as client:
        said = {"X-Forwarded-For": "10.1.2.3", "X-Forwarded-Proto": "https"}
        assert client.get(f"http://127.0.0.1:{port}/", headers=said).text == scheme
