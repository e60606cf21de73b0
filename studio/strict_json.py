"""JSON from strangers: bounded, unambiguous, and nothing that the JSON standard does not know.

Python's own reader takes NaN, keeps the last of two equal keys and recurses as deep as the text asks. Files
that a person was sent, and bodies that a page posted, are read here instead. This module knows nothing of
what the values mean.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from studio.errors import InvalidRequest

MAX_DIGITS = 40  # of one number: more than any float or seed needs

# A whole string (to the end where it is not closed, which keeps the scan linear), or one bracket.
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)


def loads(text: str | bytes, *, max_bytes: int = 65_536, max_depth: int = 8) -> object:
    """Reads one JSON value.

    `max_bytes` bounds the UTF-8 size of `text`, `max_depth` how deep lists and objects may stand in each
    other (a bare number has depth 0, `{}` has 1). Bytes must be UTF-8.

    Raises ValueError, in words, for anything else: too long, too deep, not JSON, NaN or Infinity, a number
    that no float holds, the same key twice, half a surrogate pair.
    """
    text = _decoded(text, max_bytes)
    _check_depth(text, max_depth)
    try:
        value: object = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_whole,
        )
    except json.JSONDecodeError as problem:
        raise ValueError(f"not JSON ({problem.msg} at character {problem.pos})") from None
    _check_surrogates(value)
    return value


def read_object(
    text: str | bytes, max_bytes: int, max_depth: int, what: str, shape: str = "a JSON object"
) -> dict[str, Any]:
    """Reads one JSON object, see `loads`. Raises InvalidRequest, saying `what` it should have been, in which shape."""
    try:
        values = loads(text, max_bytes=max_bytes, max_depth=max_depth)
    except ValueError as problem:
        raise InvalidRequest(f"This is no {what}: {problem}.") from problem
    if not isinstance(values, dict):
        raise InvalidRequest(f"This is no {what}: it should be {shape}.")
    return values


def _decoded(text: str | bytes, max_bytes: int) -> str:
    if len(text) > max_bytes:
        raise ValueError(f"more than {max_bytes:,} bytes of JSON")
    if isinstance(text, bytes):
        try:
            return text.decode("utf-8")
        except UnicodeDecodeError as problem:
            raise ValueError(f"not UTF-8 (byte {problem.start})") from None
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as problem:
        raise ValueError(f"half a surrogate pair at character {problem.start}") from None
    if size > max_bytes:
        raise ValueError(f"more than {max_bytes:,} bytes of JSON")
    return text


def _check_depth(text: str, max_depth: int) -> None:
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(text):
        first = token.group()[0]
        if first in "[{":
            depth += 1
            if depth > max_depth:
                raise ValueError(f"nested deeper than {max_depth}")
        elif first in "]}":
            depth -= 1


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {_shown(key)} stands there twice")
            seen.add(key)
    return values


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


def _finite(digits: str) -> float:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number with more than {MAX_DIGITS} digits")
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits} is beyond the numbers that can be used")
    return value


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number with more than {MAX_DIGITS} digits")
    return int(digits)


def _check_surrogates(value: object) -> None:
    """JSON can spell half a surrogate pair ("\\ud800"); no file and no page can hold it."""
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError(f"half a surrogate pair in {_shown(value)}")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_surrogates(key)
            _check_surrogates(item)
    elif isinstance(value, list):
        for item in value:
            _check_surrogates(item)


def _shown(text: str, limit: int = 40) -> str:
    short = text if len(text) <= limit else text[: limit - 1] + "…"
    return "'" + "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in short) + "'"
