"""Whose request this is."""

from __future__ import annotations

from fastapi import Request

LOCAL_OWNER = "local"  # without a login, everybody who reaches this computer is one person


def owner_of(request: Request) -> str:
    """Whose pictures a visitor sees: the name they logged in with, or the one person at this computer."""
    user = request.scope.get("state", {}).get("user")
    return f"user:{user}" if user else LOCAL_OWNER  # the prefix keeps a user named "local" apart
