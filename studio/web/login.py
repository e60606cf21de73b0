"""The login of studios that listen beyond their own computer: sessions, limited attempts, a gate before all.

`LoginGate` covers everything that is behind it, Gradio's routes and sockets included. Sessions live in
memory: a restart asks everybody to sign in again. Failed attempts are limited per address, per name at an
address, and per name at all addresses from which that name never signed in: strangers lock nobody out.
Nothing here knows the studio; the guard in front of it has already refused what other sites send.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs

import anyio
import anyio.to_thread
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.web.accounts import (
    MAX_PASSWORD,
    Accounts,
    PasswordHash,
    ask_login_line,
    check_exposure,
    make_login_line,
)
from studio.web.login_page import login_page

__all__ = [
    "Accounts",
    "Attempts",
    "LoginGate",
    "PasswordHash",
    "Sessions",
    "ask_login_line",
    "check_exposure",
    "make_login_line",
]

SESSION_COOKIE = "wavebrush_session"
PERSON_COOKIE = "wavebrush_person"  # who signed in last on this browser, as an id; opens nothing
CLEARED = '"cache", "storage"'  # what a browser forgets of one person before another one sits there
LOGIN_PATH = "/studio/login"
LOGOUT_PATH = "/studio/logout"
NOBODYS = frozenset({"/manifest.json"})  # asked for without cookies; it says how the page is called, and no more

SESSION_IDLE = 12 * 3600.0  # seconds without a request after which a session ends
SESSION_LONGEST = 7 * 24 * 3600.0  # seconds after which it ends in any case
PERSON_KNOWN = 365 * 24 * 3600.0  # seconds for which a browser remembers who was there
MAX_SESSIONS, MAX_PER_NAME = 1000, 20  # the longest unused one makes room

TRIES_PER_NAME = 5  # failed attempts from one address within TRIES_WINDOW
TRIES_PER_ADDRESS = 20
TRIES_OF_STRANGERS = 100  # for one name, from all addresses that it never signed in from
TRIES_WINDOW = 300.0  # seconds
MAX_WATCHED = 10_000  # names and addresses whose failures are remembered
MAX_WAITING = 16  # attempts that wait for their turn to be hashed


@dataclass
class Attempts:
    """Failures per key within a sliding window, and how long a key has to wait."""

    limit: int
    window: float = TRIES_WINDOW  # seconds
    clock: Callable[[], float] = time.monotonic
    _failures: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)

    def wait(self, key: str) -> float:
        """Seconds until this key may try again; 0 if it may now."""
        failures = self._recent(key)
        if failures is None or len(failures) < self.limit:
            return 0.0
        return max(0.0, failures[-self.limit] + self.window - self.clock())

    def count(self, key: str) -> None:
        """Notes an attempt, as failed until `forgive` takes it back."""
        failures = self._recent(key)
        if failures is None:
            failures = self._failures[key] = deque(maxlen=self.limit)
            while len(self._failures) > MAX_WATCHED:
                self._failures.popitem(last=False)
        failures.append(self.clock())
        self._failures.move_to_end(key)

    def forgive(self, key: str, *, everything: bool) -> None:
        """Takes back the newest attempt, or all of them."""
        failures = self._recent(key)
        if failures is None:
            return
        failures.pop()
        if everything or not failures:
            del self._failures[key]

    def _recent(self, key: str) -> deque[float] | None:
        failures = self._failures.get(key)
        if failures is None:
            return None
        while failures and failures[0] + self.window <= self.clock():
            failures.popleft()
        if not failures:
            del self._failures[key]
            return None
        return failures


@dataclass
class _Session:
    name: str
    began: float
    seen: float


class Sessions:
    """Who is signed in. Tokens are kept as digests, so that a look into memory gives none away."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: OrderedDict[bytes, _Session] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, name: str) -> str:
        """A new session's token: 256 random bits."""
        token = secrets.token_urlsafe(32)
        now = self._clock()
        with self._lock:
            self._sessions[_digest(token)] = _Session(name, now, now)
            own = [key for key, session in self._sessions.items() if session.name == name]
            for key in own[:-MAX_PER_NAME]:
                del self._sessions[key]
            while len(self._sessions) > MAX_SESSIONS:
                self._sessions.popitem(last=False)
        return token

    def name(self, token: str) -> str | None:
        """Whose session this is, None if it has ended or never was."""
        key = _digest(token)
        now = self._clock()
        with self._lock:
            session = self._sessions.get(key)
            if session is None:
                return None
            if now - session.seen > SESSION_IDLE or now - session.began > SESSION_LONGEST:
                del self._sessions[key]
                return None
            session.seen = now
            self._sessions.move_to_end(key)
            return session.name

    def end(self, token: str) -> None:
        with self._lock:
            self._sessions.pop(_digest(token), None)


class LoginGate:
    """ASGI middleware: nothing of `app` is reached without a session, except by signing in at /studio/login.

    Whoever is signed in has their name in `scope["state"]["user"]`, and as `scope["state"]["visitor"]` an id
    made from it: the same on all their devices, and not another person's on the same one.
    """

    def __init__(self, app: ASGIApp, accounts: Accounts, clock: Callable[[], float] = time.monotonic) -> None:
        self.app = app
        self._accounts = accounts
        self._sessions = Sessions(clock)
        self._by_name = Attempts(TRIES_PER_NAME, clock=clock)
        self._by_address = Attempts(TRIES_PER_ADDRESS, clock=clock)
        self._by_strangers = Attempts(TRIES_OF_STRANGERS, clock=clock)
        self._familiar: OrderedDict[str, None] = OrderedDict()  # names where they signed in before, as digests
        self._limiter: anyio.CapacityLimiter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            response = await self._answer(scope, receive)
            await (response or self.app)(scope, receive, send)
        elif scope["type"] == "websocket":
            if self._enter(scope):
                await self.app(scope, receive, send)
            else:
                await receive()
                await send({"type": "websocket.close", "code": 1008, "reason": ""})
        else:
            await self.app(scope, receive, send)

    def _enter(self, scope: Scope) -> str | None:
        """The name of whoever is signed in; noted for the application behind."""
        name = self._sessions.name(_token(scope))
        if name is not None:
            state = scope.setdefault("state", {})
            state["user"] = name
            state["visitor"] = _person(name)
        return name

    async def _answer(self, scope: Scope, receive: Receive) -> Response | None:
        """What the gate itself answers; None lets the request through."""
        name = self._enter(scope)
        path, method = scope["path"].rstrip("/") or "/", scope["method"]
        if path == LOGIN_PATH and method == "POST":
            return await self._sign_in(Request(scope, receive))
        if path == LOGIN_PATH and method in ("GET", "HEAD"):
            return login_page(signed_in=name)
        if path == LOGOUT_PATH and method == "POST":
            self._sessions.end(_token(scope))
            response = RedirectResponse(LOGIN_PATH, 303)
            cookie, secure = _session_cookie(scope), scope.get("scheme") == "https"
            response.delete_cookie(cookie, path="/", httponly=True, samesite="strict", secure=secure)
            response.headers["Clear-Site-Data"] = CLEARED
            return response
        if name is not None or (path in NOBODYS and method in ("GET", "HEAD")):
            return None
        if path == "/" and method in ("GET", "HEAD"):
            return RedirectResponse(LOGIN_PATH, 303)
        return JSONResponse({"error": "Sign in first."}, 401, headers={"Cache-Control": "no-store"})

    async def _sign_in(self, request: Request) -> Response:
        name, password = _form(await request.body())
        address = _neighbourhood(request.client.host if request.client else "")
        # Names are watched as digests: a stranger chooses them, and how long they are.
        everywhere = hashlib.sha256(name.encode()).hexdigest()
        here = f"{everywhere} {address}"
        counted = [(self._by_name, here), (self._by_address, address)]
        if here not in self._familiar:
            counted.append((self._by_strangers, everywhere))
        wait = max(attempts.wait(key) for attempts, key in counted)
        if wait > 0:
            seconds = math.ceil(wait)
            words = f"Too many attempts. Try again in {_minutes(seconds)}."
            return login_page(words, status=429, headers={"Retry-After": str(seconds)})
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(2)  # hashing is slow on purpose: it may not fill the computer
        if self._limiter.statistics().tasks_waiting >= MAX_WAITING:
            return login_page("Too many people are signing in. Try again.", 429, headers={"Retry-After": "5"})
        # Counted before the hash is computed: attempts at the same time do not get around the limit.
        for attempts, key in counted:
            attempts.count(key)
        right = len(password.encode()) <= MAX_PASSWORD and await anyio.to_thread.run_sync(
            self._accounts.verify, name, password, limiter=self._limiter
        )
        if not right:
            return login_page("The name or the password is not right.", status=401)
        for attempts, key in counted:
            attempts.forgive(key, everything=attempts is self._by_name)
        self._familiar[here] = None
        self._familiar.move_to_end(here)
        while len(self._familiar) > MAX_WATCHED:
            self._familiar.popitem(last=False)
        self._sessions.end(_token(request.scope))
        response = RedirectResponse("/", 303)
        if request.cookies.get(PERSON_COOKIE, _person(name)) != _person(name):
            response.headers["Clear-Site-Data"] = CLEARED  # whoever was here before has not signed out
        secure = request.url.scheme == "https"
        for cookie, value, longest in (
            (_session_cookie(request.scope), self._sessions.begin(name), SESSION_LONGEST),
            (PERSON_COOKIE, _person(name), PERSON_KNOWN),
        ):
            response.set_cookie(
                cookie, value, max_age=int(longest), path="/", httponly=True, samesite="strict", secure=secure
            )
        return response


def _person(name: str) -> str:
    """An id made from a name, as visitors have one."""
    return hashlib.sha256(b"wavebrush user\0" + name.encode()).hexdigest()[:32]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _token(scope: Scope) -> str:
    return HTTPConnection(scope).cookies.get(_session_cookie(scope), "")


def _session_cookie(scope: Scope) -> str:
    """Over HTTPS with the prefix by which browsers take it from this very host alone."""
    return f"__Host-{SESSION_COOKIE}" if scope.get("scheme") in ("https", "wss") else SESSION_COOKIE


def _form(body: bytes) -> tuple[str, str]:
    """Name and password of the login page's form; empty where there are none."""
    try:
        fields = parse_qs(body.decode("ascii"), strict_parsing=True, errors="strict", max_num_fields=8)
    except ValueError:
        return "", ""
    return fields.get("name", [""])[0].strip(), fields.get("password", [""])[0]


def _neighbourhood(address: str) -> str:
    """What attempts are counted by: an IPv4 address, or the /64 that one IPv6 customer has."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def _minutes(seconds: int) -> str:
    if seconds < 60:
        return f"{seconds} second{'s' if seconds != 1 else ''}"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} minute{'s' if minutes != 1 else ''}"
