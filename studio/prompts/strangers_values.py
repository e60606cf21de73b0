"""What is found in a stranger's picture, and the wary reading of single values."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

DIGITS = 24  # of a number


@dataclass(frozen=True)
class Found:
    """What another program says about its picture, in its own terms; None where it says nothing."""

    program: str
    prompt: str
    negative_prompt: str
    steps: float | None = None
    guidance: float | None = None
    seed: int | None = None
    width: int | None = None
    height: int | None = None
    sampler: str | None = None
    schedule: str | None = None
    model: str | None = None
    notes: tuple[str, ...] = ()


def text_of(value: object) -> str:
    """The value if it is text, else an empty one."""
    return value if isinstance(value, str) else ""


def number(value: object) -> float | None:
    """A finite number of at least 0, also out of text."""
    if isinstance(value, str):
        if not re.fullmatch(r"\s*\d{1,12}(?:\.\d{0,12})?\s*", value):
            return None
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e12:
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def whole(value: object) -> int | None:
    """A whole number of at least 0, also out of text."""
    if isinstance(value, str):
        return int(value) if re.fullmatch(rf"\s*\d{{1,{DIGITS}}}\s*", value) else None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < 10**DIGITS else None
