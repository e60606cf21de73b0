"""The door of the server: who may call, what may be called, and how much may be sent.

A pure ASGI layer around the whole application, Gradio's own routes included, because a local server is open
to every web page that its user visits. It stops cross-site requests (Host, Origin, Sec-Fetch-Site, Referer),
rebinding DNS (Host), paths that are no names of ours, floods (header, address and body sizes) and Gradio's
routes that the page does not use; it gives each browser its visitor cookie and each answer its security
headers. It knows no picture and no user.

A request without Origin, Sec-Fetch-Site and Referer is let in: every browser sends one of them where it
matters, so it comes from a program on this computer (or behind the login), which could send any header it
liked.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.errors import StudioError
from studio.web.accounts import Accounts, check_exposure
from studio.web.gradio_routes import is_open
from studio.web.login import LoginGate

VISITOR_COOKIE = "wavebrush_visitor"
BODY_LIMIT = 1024 * 1024  # bytes, where `body_limits` says nothing else
BODY_LIMITS = {
    "/studio/import": 64 * 1024 * 1024,
    "/studio/pictures/open": 64 * 1024 * 1024,
    "/studio/uploads": 72 * 1024 * 1024,  # a painted step of 17 million pixels that no packing makes smaller
    "/studio/wordbook": 4 * 1024 * 1024,
    "/studio/pixels": 72 * 1024 * 1024,  # 4096 x 4096 RGBA that no packing makes smaller
    "/studio/documents/import": 3 * 1024**3,  # goes to the disk piece by piece
    "/studio/documents": 4 * 1024 * 1024 + 64 * 1024,
    "/studio/login": 4096,
    "/studio/jobs": 128 * 1024,
    "/studio/runs": 128 * 1024,
}
PATH_LIMIT = 1024  # bytes, percent-encoded
QUERY_LIMIT = 56 * 1024  # bytes, percent-encoded: 4,000 characters of any script fit
HEADER_LIMIT = 32 * 1024  # bytes of all headers
HEADER_COUNT = 100
PIECE = 256 * 1024  # bytes of an answer that are handed to the server at a time

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SAFE_METHODS = frozenset({"GET", "HEAD"})
ENTRANCES = frozenset({"/", "/studio/login"})  # where a link on another site may lead

# Nothing but our own origin: the page could not reach out even if a library in it wanted to. Gradio 6 needs
# inline scripts (its configuration is one) and eval (the templates of gr.HTML are functions made from text).
CONTENT_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "frame-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
# No Strict-Transport-Security, not even over our own TLS: a browser keeps it for a host name with all of its ports, so
# for a year it would reach nothing that this computer serves without a certificate, a later start of the studio
# included, and let nobody past a certificate that has run out. A name that is HTTPS for good has a proxy that says so.
_HEADERS = {
    b"content-security-policy": CONTENT_POLICY.encode(),
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    b"referrer-policy": b"same-origin",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
}
_KEPT_IF_SET = (b"content-security-policy",)  # a route may be stricter

_VISITOR = re.compile(r"[0-9a-f]{32}")
_PATH = re.compile(r"/(?:[A-Za-z0-9_~=@+,.-]+(?:/[A-Za-z0-9_~=@+,.-]+)*/?)?")
_AUTHORITY = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
_WILDCARDS = frozenset({"", "0.0.0.0", "::"})
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_AGAIN = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>wavebrush</title>
<meta name="color-scheme" content="light dark"><meta http-equiv="refresh" content="0"></html>"""

_log = logging.getLogger(__name__)


def protect(
    app: ASGIApp,
    *,
    host: str,
    port: int,
    allow_hosts: Iterable[str] = (),
    accounts: Accounts | None = None,
) -> ASGIApp:
    """`app` behind the guard and, with `accounts`, behind the login. This is what the server serves.

    Raises Refused if others could reach it without a login, StudioError if an entry of `allow_hosts` is no
    name.
    """
    allow_hosts = tuple(allow_hosts)
    check_exposure(host, accounts, allow_hosts)
    inside = app if accounts is None else LoginGate(app, accounts)
    try:
        return Guard(inside, host=host, port=port, allow_hosts=allow_hosts)
    except ValueError as problem:
        raise StudioError(f"--allow-host: {problem}") from None


class Guard:
    """ASGI middleware around `app`; `host` and `port` are where the server listens.

    `allow_hosts` are further names under which it may be reached: `name` (with our port, 80 or 443) or
    `name:port`. `body_limits` are bytes per path; a path covers what lies below it. What is refused never
    reaches `app`: 400 for malformed requests, 403 for foreign ones, 404 for closed routes, 405, 413, 414 and
    431 as HTTP has them. What is let in finds the visitor's id in `scope["state"]["visitor"]`.

    Raises ValueError if an entry of `allow_hosts` is no host name.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str = "127.0.0.1",
        port: int = 7860,
        allow_hosts: Iterable[str] = (),
        body_limits: Mapping[str, int] = BODY_LIMITS,
    ) -> None:
        self.app = app
        self._port = port
        self._wildcard = host in _WILDCARDS
        own = {_bare(name) for name in (*_LOOPBACK, *(() if self._wildcard else (host,)))}
        self._hosts = {(name, port) for name in own}
        for entry in allow_hosts:
            self._hosts |= _named(entry, port)
        self._body_limits = sorted(body_limits.items(), key=lambda item: -len(item[0]))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        outgoing = _Answer(scope, send)
        refusal = self._refusal(scope)
        if refusal is not None:
            await outgoing.refuse(*refusal)
            return
        headers = _Headers(scope)
        arriving = _is_foreign(headers, scope)
        if arriving:  # only at an entrance: what was sent from elsewhere came without our cookies
            await outgoing.page(_AGAIN)
            return
        visitor = _visitor(headers)
        if visitor is None:
            visitor = secrets.token_hex(16)
            outgoing.cookie = _cookie(visitor, secure=scope.get("scheme") == "https")
        scope.setdefault("state", {})["visitor"] = visitor
        limit = self._limit(scope["path"])
        announced = headers.one("content-length")
        if announced is not None and int(announced) > limit:
            await outgoing.refuse(413, _too_much(limit))
            return
        body = _Body(receive, limit)
        outgoing.body = body
        try:
            await self.app(scope, body, outgoing)
        except Exception:
            if not body.overrun:
                raise
        if body.overrun:
            await outgoing.refuse(413, _too_much(limit))

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal({**scope, "method": "POST"})  # a socket has no method, and may change things
        if refusal is None and not scope["path"].startswith("/studio/"):
            refusal = (404, "There is no socket at this address.")
        if refusal is not None:
            _log.info("refused a socket to %r: %s", scope["path"][:200], refusal[1])
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
            return
        visitor = _visitor(_Headers(scope))
        scope.setdefault("state", {})["visitor"] = visitor or secrets.token_hex(16)
        await self.app(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and words if this request is not let in."""
        return _malformed(scope) or self._wrong_host(scope) or _cross_site(scope) or _closed(scope)

    def _wrong_host(self, scope: Scope) -> tuple[int, str] | None:
        hosts = _Headers(scope).every("host")
        parsed = _AUTHORITY.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if parsed is None:
            return 400, "The request does not say which host it is for."
        name = _bare(parsed["host"])
        ports = (int(parsed["port"]),) if parsed["port"] else (80, 443)
        if any((name, port) in self._hosts for port in ports):
            return None
        if self._wildcard and self._port in ports and name == _arrived_at(scope):
            return None  # an address, not a name: rebinding DNS has none to offer
        return 403, (
            f"This studio does not answer to the name {hosts[0][:100]}. If it should, "
            f"start it with --allow-host {hosts[0][:100]}."
        )

    def _limit(self, path: str) -> int:
        for prefix, limit in self._body_limits:
            if path == prefix or path.startswith(prefix.rstrip("/") + "/"):
                return limit
        return BODY_LIMIT


class _Headers:
    """The headers of a request, as text."""

    def __init__(self, scope: Scope) -> None:
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]

    def every(self, name: str) -> list[str]:
        wanted = name.encode("latin-1")
        return [value.decode("latin-1").strip() for key, value in self._headers if key.lower() == wanted]

    def one(self, name: str) -> str | None:
        """The header's value or None; where it stands more than once, all of them with commas."""
        values = self.every(name)
        return ", ".join(values) if values else None


class _Body:
    """Hands the request's body on until it is too much; then the application sees its caller leave."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._left = limit
        self.overrun = False

    async def __call__(self) -> Message:
        if self.overrun:
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                self.overrun = True
                return {"type": "http.disconnect"}
        return message


class _Answer:
    """Sends what the application answers, with our headers; or, before it has begun, a refusal instead."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._begun = False
        self.body: _Body | None = None
        self.cookie: bytes | None = None

    async def __call__(self, message: Message) -> None:
        if self.body is not None and self.body.overrun and not self._begun:
            return  # whatever it makes of half a body: the answer is 413
        if message["type"] == "http.response.start":
            self._begun = True
            message = {**message, "headers": self._guarded(message.get("headers", ()))}
        body = message.get("body", b"")
        if len(body) > PIECE:  # the server takes a message whole, however slowly its caller reads
            for start in range(0, len(body), PIECE):
                piece = body[start : start + PIECE]
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
            message = {**message, "body": b""}  # sent when the caller has taken nearly all
        await self._send(message)

    async def refuse(self, status: int, words: str) -> None:
        """Answers with `words`, unless an answer is on its way already."""
        if self._begun:
            return
        path = self._scope["path"]
        _log.info("refused %s %r (%d): %s", self._scope["method"], path[:200], status, words)
        if path.startswith(("/studio/", "/gradio_api/")):
            kind, content = b"application/json", json.dumps({"error": words}).encode()
        else:
            kind, content = b"text/plain; charset=utf-8", words.encode()
        close = status == 413  # the rest of the body is still coming
        await self._answer(status, kind, content, ((b"connection", b"close"),) if close else ())

    async def page(self, content: bytes) -> None:
        await self._answer(200, b"text/html; charset=utf-8", content)

    async def _answer(
        self, status: int, kind: bytes, content: bytes, more: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        self._begun = True
        headers = [
            (b"content-type", kind),
            (b"content-length", str(len(content)).encode()),
            (b"cache-control", b"no-store"),
            *more,
        ]
        await self._send({"type": "http.response.start", "status": status, "headers": self._guarded(headers)})
        body = b"" if self._scope["method"] == "HEAD" else content
        await self._send({"type": "http.response.body", "body": body})

    def _guarded(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Our headers added; none that would let another origin read the answer."""
        named = [(name.lower(), value) for name, value in headers]
        present = {name for name, _ in named}
        ours = {name: value for name, value in _HEADERS.items() if not (name in _KEPT_IF_SET and name in present)}
        if b"cache-control" not in present and not self._scope["path"].startswith(("/assets/", "/static/")):
            ours[b"cache-control"] = b"no-store"  # what is not Gradio's own is one visitor's
        kept = [item for item in named if item[0] not in ours and not item[0].startswith(b"access-control-")]
        cookie = [(b"set-cookie", self.cookie)] if self.cookie is not None else []
        return [*kept, *ours.items(), *cookie]


def _malformed(scope: Scope) -> tuple[int, str] | None:
    if scope["method"] not in METHODS:
        return 405, "This method is not used here."
    path, raw = scope["path"], scope.get("raw_path") or quote(scope["path"]).encode()
    raw = raw.partition(b"?")[0]
    query: bytes = scope.get("query_string", b"")
    if len(raw) > PATH_LIMIT or len(query) > QUERY_LIMIT:
        return 414, "The address is too long."
    headers = scope["headers"]
    if len(headers) > HEADER_COUNT or sum(len(name) + len(value) for name, value in headers) > HEADER_LIMIT:
        return 431, "The request has too many headers, or too long ones."
    # The names in our addresses are our own ids: plain characters, nothing encoded, nothing that climbs.
    climbs = any(part in (".", "..") for part in path.split("/"))
    if climbs or not _PATH.fullmatch(path) or b"%" in raw or b"%00" in query:
        return 400, "The address holds something that no address here does."
    length = _Headers(scope).every("content-length")
    if len(length) > 1 or not all(value.isascii() and value.isdigit() and len(value) < 16 for value in length):
        return 400, "The request does not say properly how long it is."
    return None


def _closed(scope: Scope) -> tuple[int, str] | None:
    path = scope["path"]
    if path.startswith("/studio/") or is_open(scope["method"], path):
        return None
    return 404, "There is nothing at this address."


def _cross_site(scope: Scope) -> tuple[int, str] | None:
    """A refusal if the request was made by a page of another origin and does more than to arrive here."""
    headers = _Headers(scope)
    origin = headers.one("origin")
    if origin is not None and not _same_origin(origin, headers, scope):
        return 403, f"This request was made by a page of another site ({origin[:100]}). It is refused."
    if not _is_foreign(headers, scope):
        return None
    navigates = headers.one("sec-fetch-mode") in (None, "navigate")
    on_top = headers.one("sec-fetch-dest") in (None, "document")
    if scope["method"] in SAFE_METHODS and scope["path"] in ENTRANCES and navigates and on_top:
        return None
    return 403, "This request was made by a page of another site. It is refused."


def _is_foreign(headers: _Headers, scope: Scope) -> bool:
    """Whether the browser says that another origin's page made this request. Its own account comes before
    Referer.

    A page on another port of this computer counts as another origin, though browsers call it same-site.
    """
    site = headers.one("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    if headers.one("origin") is not None:  # compared before
        return False
    referer = headers.one("referer")
    return referer is not None and not _same_origin(referer, headers, scope)


def _same_origin(url: str, headers: _Headers, scope: Scope) -> bool:
    """Whether a URL's origin is the one that this request was sent to, perhaps by an encrypting proxy."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    schemes = ("https",) if scope.get("scheme") in ("https", "wss") else ("http", "https")
    host = headers.one("host") or ""
    return parts.scheme in schemes and parts.netloc.lower() == _without_default_port(host.lower(), parts.scheme)


def _without_default_port(authority: str, scheme: str) -> str:
    return authority.removesuffix(":443" if scheme == "https" else ":80")


def _bare(host: str) -> str:
    """A host as it is compared: lower case; addresses without brackets, in their shortest spelling."""
    bare = host.strip("[]").lower()
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return bare
    return str(getattr(address, "ipv4_mapped", None) or address)


def _named(entry: str, port: int) -> set[tuple[str, int]]:
    """The hosts and ports that an --allow-host entry stands for."""
    text = f"[{entry}]" if entry.count(":") > 1 and not entry.startswith("[") else entry
    parsed = _AUTHORITY.fullmatch(text)
    if parsed is None:
        raise ValueError(f"'{entry}' is not a host name. Use a name such as studio.example.org, or name:port.")
    ports = {int(parsed["port"])} if parsed["port"] else {port, 80, 443}
    return {(_bare(parsed["host"]), each) for each in ports}


def _arrived_at(scope: Scope) -> str | None:
    """The address of ours that the connection came in at."""
    server: Any = scope.get("server")
    if not server:
        return None
    try:
        return _bare(str(ipaddress.ip_address(server[0])))
    except ValueError:
        return None


def _visitor(headers: _Headers) -> str | None:
    """The id in the visitor's cookie, if there is a well-formed one."""
    for line in headers.every("cookie"):
        for pair in line.split(";"):
            name, _, value = pair.strip().partition("=")
            if name == VISITOR_COOKIE and _VISITOR.fullmatch(value):
                return value
    return None


def _cookie(visitor: str, *, secure: bool) -> bytes:
    year = 365 * 24 * 3600
    ending = "; Secure" if secure else ""
    return f"{VISITOR_COOKIE}={visitor}; Path=/; Max-Age={year}; HttpOnly; SameSite=Strict{ending}".encode()


def _too_much(limit: int) -> str:
    size = (
        f"{limit >> 30} GB" if limit >= 1 << 30 else f"{limit >> 20} MB" if limit >= 1 << 20 else f"{limit >> 10} kB"
    )
    return f"That is more than can be sent here at once: at most {size}."
