"""Gradio 6's own routes: those that the page needs, and those that stay closed, each with the reason.

What is in neither list is closed too. A test walks through the routes that Gradio really has, so that a new
version cannot open one unseen. This module knows paths and methods only.
"""

from __future__ import annotations

import re

_GET = frozenset({"GET", "HEAD"})
_POST = frozenset({"POST"})

OPEN: tuple[tuple[str, frozenset[str], str], ...] = (
    ("/", _GET, "the page"),
    ("/config", _GET, "the page's layout, asked for again after a lost connection"),
    ("/theme.css", _GET, "colours and sizes"),
    ("/favicon.ico", _GET, "the icon in the tab"),
    ("/assets/{path}", _GET, "Gradio's scripts and styles, from its package"),
    ("/static/{path}", _GET, "Gradio's fonts and pictures, from its package"),
    ("/manifest.json", _GET, "what the page is called, which browsers ask for; the answer is ours"),
    ("/gradio_api/app_id", _GET, "whether the server was restarted, after a lost connection"),
    ("/gradio_api/startup-events", _GET, "starts the queue on the first visit"),
    ("/gradio_api/heartbeat/{name}", _GET, "tells that a tab was closed"),
    ("/gradio_api/queue/join", _POST, "an event of the page"),
    ("/gradio_api/queue/data", _GET, "the answers to events, as a stream"),
    ("/gradio_api/run/{name}", _POST, "an event that does not queue"),
    ("/gradio_api/cancel", _POST, "stops an event"),
    ("/gradio_api/reset", _POST, "stops an event"),
)

CLOSED: tuple[tuple[str, str], ...] = (
    ("/gradio_api/file={path}", "our pictures have ids and owners; Gradio's files have neither"),
    ("/gradio_api/file/{path}", "as file="),
    ("/gradio_api/upload", "the page sends its pictures to routes of ours, which check them"),
    ("/gradio_api/upload_progress", "as upload"),
    ("/gradio_api/proxy={path}", "makes the server fetch addresses"),
    ("/gradio_api/stream/{path}", "no streaming components"),
    ("/gradio_api/component_server", "no component asks its server"),
    ("/gradio_api/custom_component/{path}", "no custom components"),
    ("/gradio_api/process_recording", "no recording"),
    ("/gradio_api/vibe-edit", "edits the program"),
    ("/gradio_api/undo-vibe-edit", "as vibe-edit"),
    ("/gradio_api/vibe-code", "reads and writes the program"),
    ("/gradio_api/vibe-starter-queries", "as vibe-edit; fetches from outside"),
    ("/gradio_api/dev/reload", "for developers"),
    ("/gradio_api/api/{name}", "old name of run"),
    ("/gradio_api/call/{path}", "for programs; ours is the command line"),
    ("/gradio_api/info", "for programs"),
    ("/gradio_api/openapi.json", "for programs"),
    ("/gradio_api/mcp/{path}", "for programs"),
    ("/gradio_api/deep_link", "writes the page's state to disk for whoever asks"),
    ("/gradio_api/runs", "run history is off; it talks to a hub"),
    ("/gradio_api/run-history/{path}", "as runs"),
    ("/gradio_api/queue/status", "tells what others are doing"),
    ("/gradio_api/profiling/{path}", "tells what others are doing"),
    ("/gradio_api/user", "the login is ours"),
    ("/gradio_api/token", "hands out a login's token"),
    ("/gradio_api/login_check", "the login is ours"),
    ("/gradio_api/theme.css", "as /theme.css"),
    ("/login", "the login is ours"),
    ("/login/huggingface", "signs in elsewhere"),
    ("/login/callback", "as login/huggingface"),
    ("/logout", "the login is ours"),
    ("/svelte/{path}", "for custom components"),
    ("/monitoring", "tells what others are doing"),
    ("/monitoring/{path}", "as monitoring"),
    ("/pwa_icon", "our manifest brings its own"),
    ("/pwa_icon/{name}", "as pwa_icon"),
    ("/robots.txt", "no robots here"),
    ("/docs", "FastAPI's pages for programs; they load scripts from outside"),
    ("/docs/oauth2-redirect", "as docs"),
    ("/redoc", "as docs"),
    ("/openapi.json", "as docs"),
)


def is_open(method: str, path: str) -> bool:
    """Whether the page needs this. `path` is decoded; a slash at its end makes no difference."""
    plain = path.rstrip("/") or "/"
    return any(method in methods and pattern.fullmatch(plain) for pattern, methods in _OPEN)


def matches(template: str, path: str) -> bool:
    """Whether `path` is one that a template of these lists stands for."""
    return _pattern(template).fullmatch(path.rstrip("/") or "/") is not None


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"(\{path\}|\{name\})", template)
    meaning = {"{path}": r".+", "{name}": r"[^/]+"}
    return re.compile("".join(meaning.get(part) or re.escape(part) for part in parts))


_OPEN = tuple((_pattern(template), methods) for template, methods, _ in OPEN)
