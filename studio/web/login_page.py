"""The page to sign in and out: one small HTML document in the studio's greys, without any script."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Mapping

from starlette.responses import HTMLResponse

_STYLE = """ :root { color-scheme: light dark; --page: #ececec; --panel: #f6f6f6; --field: #fff; --line:
#d4d4d4; --edge: #828282; --text: #1a1a1a; --text-2: #474747; --accent: #0b6fa8; --hover: #095c8c;
--on-accent: #fff; --danger: #b3261e; } @media (prefers-color-scheme: dark) { :root { --page: #161616;
--panel: #1f1f1f; --field: #151515; --line: #353535; --edge: #757575; --text: #f0f0f0; --text-2: #b8b8b8;
--accent: #4db5f0; --hover: #74c7f5; --on-accent: #05202f; --danger: #ff8a80; } } * { box-sizing: border-box;
} body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 16px; background:
var(--page); color: var(--text); font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial,
sans-serif; } main { width: 100%; max-width: 340px; padding: 28px; background: var(--panel); border: 1px solid
var(--line); border-radius: 10px; } h1 { margin: 0 0 20px; font-size: 18px; font-weight: 600; } label {
display: block; margin: 0 0 4px; color: var(--text-2); font-size: 13px; } input { width: 100%; margin: 0 0
16px; padding: 9px 10px; font: inherit; color: inherit; background: var(--field); border: 1px solid
var(--edge); border-radius: 6px; } button { width: 100%; padding: 10px; font: inherit; font-weight: 600;
color: var(--on-accent); background: var(--accent); border: 0; border-radius: 6px; cursor: pointer; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; } p { margin: 0 0 16px; }
p[role=alert] { color: var(--danger); } a { color: var(--accent); }
"""

_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    f"style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"
)

_SIGN_IN = """<form method="post" action="/studio/login"> <label for="name">Name</label> <input id="name"
name="name" autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus> <label
for="password">Password</label> <input id="password" name="password" type="password"
autocomplete="current-password" required> <button>Sign in</button> </form>"""


def login_page(
    problem: str | None = None,
    status: int = 200,
    *,
    signed_in: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """The page with the form; `problem` stands above it. Who is `signed_in` finds the ways in and out."""
    alert = f'<p role="alert">{html.escape(problem)}</p>\n' if problem else ""
    if signed_in is None:
        content = alert + _SIGN_IN
    else:
        content = (
            f"<p>You are signed in as {html.escape(signed_in)}.</p>\n"
            '<p><a href="/">To the studio</a></p>\n'
            '<form method="post" action="/studio/logout"><button>Sign out</button></form>'
        )
    document = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>wavebrush</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>wavebrush</h1>\n{content}\n</main>\n</body>\n</html>\n"
    )
    return HTMLResponse(
        document,
        status,
        headers={"Content-Security-Policy": _POLICY, "Cache-Control": "no-store", **(headers or {})},
    )
