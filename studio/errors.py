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


class Busy(StudioError):
    """The queue is full. Waiting helps."""


class OutOfMemory(StudioError):
    """The request does not fit into the memory that is free."""
