"""Pictures that a page has handed over for a moment: painted steps and masks, until a branch takes them up.

Kept in memory as the PNG that came, for their owner alone, and the oldest are dropped when there are too many bytes.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict

from studio.imaging.png import Pixels, read_picture

OWNER_BUDGET = 128 * 1024**2  # bytes of PNG per owner
TOTAL_BUDGET = 512 * 1024**2
PIXELS_LIMIT = 17_000_000  # of one upload: four times the largest picture that is painted
COUNT_LIMIT = 256  # uploads of one owner: a flood of tiny ones ends too


class Uploads:
    """Uploaded pictures by id. Safe to call from several threads."""

    def __init__(self, owner_budget: int = OWNER_BUDGET, total_budget: int = TOTAL_BUDGET) -> None:
        self._owner_budget = owner_budget
        self._total_budget = total_budget
        self._least = owner_budget // COUNT_LIMIT  # bytes that each counts for at least
        self._held: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, owner: str, png: bytes) -> tuple[str, int, int]:
        """Keeps a picture; returns its id, width and height. Raises UnreadablePicture for what is none."""
        height, width = read_picture(png, PIXELS_LIMIT).shape[:2]
        upload_id = secrets.token_hex(16)
        with self._lock:
            self._held[upload_id] = (owner, png)
            self._drop(owner, self._owner_budget)
            self._drop(None, self._total_budget)
        return upload_id, width, height

    def picture(self, owner: str, upload_id: str) -> Pixels | None:
        """uint8 (H, W, 3) or (H, W, 4) of an upload of this owner, or None if it has gone or never was."""
        with self._lock:
            found = self._held.get(upload_id)
            if found is None or found[0] != owner:
                return None
            self._held.move_to_end(upload_id)
        return read_picture(found[1], PIXELS_LIMIT)

    def __len__(self) -> int:
        return len(self._held)

    def _drop(self, owner: str | None, budget: int) -> None:
        """Forgets the oldest of `owner` (of everybody if None) beyond `budget`, but never the newest."""
        theirs = [
            (key, max(len(png), self._least))
            for key, (whose, png) in self._held.items()
            if owner is None or whose == owner
        ]
        total = sum(size for _, size in theirs)
        for key, size in theirs[:-1]:
            if total <= budget:
                break
            del self._held[key]
            total -= size
