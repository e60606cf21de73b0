"""What files and folders of the project are called: ids of pictures, and the folder of each owner."""

from __future__ import annotations

import hashlib
import re
import secrets

PICTURE = r"[0-9]{13}-[0-9a-f]{16}"  # milliseconds since 1970, then 64 random bits
PICTURE_ID = re.compile(PICTURE)  # of a picture, of its run, and of a grid
HOME = re.compile(r"[0-9a-f]{24}")  # the folder of an owner


def new_id(made_at: int) -> str:
    """An id of its own for what was made at `made_at`, in milliseconds since 1970. Ids sort by time."""
    return f"{made_at:013d}-{secrets.token_hex(8)}"


def home_of(owner: str) -> str:
    """The name of an owner's folder, which says nothing of the owner and is one on every disk."""
    return hashlib.sha256(owner.encode()).hexdigest()[:24]
