"""What can go wrong in a way that the person can act on.

A `StudioError` says what failed, with which value, and what would work. Everything else that is raised is a bug and
stays loud. The engine raises these; the page and the command line translate them once, into words.
"""

from __future__ import annotations


class StudioError(Exception):
    """A failure whose message is written for the person at the page or the terminal."""


class InvalidRequest(StudioError):
    """A value in a request that cannot be painted. `field` names it, so that the words can stand beside the input."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class ModelNotFound(StudioError):
    """A model name that is neither in the catalogue, nor on this computer, nor reachable."""


class UnsafeModel(StudioError):
    """Weights that could run code, or that lie about their size: refused before anything is loaded."""


class UnreadablePicture(StudioError):
    """A picture file that is broken, too large, or not a picture."""


class Refused(StudioError):
    """Something the studio will not do, for the person's own safety."""


class NotFound(StudioError):
    """There is no such thing, or it belongs to somebody else."""


class Busy(StudioError):
    """The queue is full. Waiting helps."""


class OutOfMemory(StudioError):
    """The request does not fit into the memory that is free."""


def shown(text: str, limit: int = 80) -> str:
    """A stranger's text as it can stand in one line of an error: short and without control characters."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def shown_value(value: object, limit: int = 40) -> str:
    """Any value as it can stand in one line of an error: short, without control characters, quoted if it is text."""
    if isinstance(value, int) and value.bit_length() > 4 * limit:
        return f"a number of {value.bit_length():,} bits"  # Python refuses to write out very long ones
    text = repr(value if not isinstance(value, str) or len(value) <= limit else value[: limit - 1] + "…")
    return text if len(text) <= limit + 2 else text[: limit - 1] + "…"


def human_bytes(count: float) -> str:
    """Bytes in the unit that a person would use: 812 bytes, 34 MB, 6.9 GB."""
    if count < 1e5:
        return f"{count:,.0f} bytes"
    if count < 1e9:
        return f"{count / 1e6:.1f} MB" if count < 1e7 else f"{count / 1e6:,.0f} MB"
    return f"{count / 1e9:.1f} GB" if count < 1e11 else f"{count / 1e9:,.0f} GB"
