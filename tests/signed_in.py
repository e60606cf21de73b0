"""People without a login: whoever a request's own header names."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request


def named_by_header(app: FastAPI) -> None:
    """Puts the name in `x-user` where the login puts that of whoever has signed in."""

    @app.middleware("http")
    async def log_in(request: Request, go_on: Any) -> Any:
        if user := request.headers.get("x-user"):
            request.scope.setdefault("state", {})["user"] = user
        return await go_on(request)
