"""What a person keeps for their prompts: styles, presets of words to leave out, and lists for wildcards.

One small JSON file per owner, written whole. Names are labels inside of it and never become paths.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio import strict_json
from studio.errors import InvalidRequest, StudioError, shown_value
from studio.project.disk import check_free, not_kept
from studio.project.names import HOME, home_of
from studio.prompts.wildcards import is_list_name
from studio.requests import PROMPT_LIMIT, TextToImage
from studio.whole_file import write_whole

KINDS = ("styles", "negatives", "lists")
NAME_LIMIT = 60  # characters
ENTRIES_LIMIT = 200  # of one kind
LINES_LIMIT = 1000  # of one list
LINE_LIMIT = 400  # characters
FILE_LIMIT = 4 * 1024 * 1024  # bytes
BOOKS_IN_MEMORY = 8
STYLE_SETTINGS = ("width", "height", "num_inference_steps", "guidance_scale", "solver")

log = logging.getLogger(__name__)

Book = dict[str, dict[str, Any]]  # kind -> name -> value


class Wordbooks:
    """The wordbooks of everybody who uses this studio, below one folder."""

    def __init__(self, data: Path) -> None:
        self._folder = data / "wordbooks"
        self._lock, self._reading = threading.Lock(), threading.Lock()
        self._books: OrderedDict[Path, tuple[tuple[int, int, int], Book]] = OrderedDict()

    def prepare(self) -> None:
        """Deletes what a killed process left half written."""
        with contextlib.suppress(OSError):
            for partial in self._folder.glob(".*.part"):
                if HOME.fullmatch(partial.name[1:].partition(".")[0]):
                    partial.unlink(missing_ok=True)

    def read(self, owner: str) -> Book:
        """Everything that the owner keeps. A file that cannot be read is said, not passed over.

        The values in it are shared with other readers, and not to be changed.
        """
        file = self._file(owner)
        try:
            found = file.stat()
            version = found.st_ino, found.st_mtime_ns, found.st_size  # a book is written whole, as a new file
            with self._reading:
                seen = self._books.get(file)
            if seen is None or seen[0] != version:
                seen = version, self._parsed(file, file.read_bytes())
            with self._reading:
                self._books[file] = seen
                self._books.move_to_end(file)
                while len(self._books) > BOOKS_IN_MEMORY:
                    self._books.popitem(last=False)
        except FileNotFoundError:
            return {kind: {} for kind in KINDS}
        except OSError as problem:
            log.warning("%s cannot be read: %s", file, problem)
            raise StudioError(
                f"Your styles and lists cannot be read: {problem.strerror or 'the disk does not give them'}."
            ) from problem
        return {kind: dict(entries) for kind, entries in seen[1].items()}

    def _parsed(self, file: Path, text: bytes) -> Book:
        try:
            found = strict_json.loads(text, max_bytes=FILE_LIMIT, max_depth=5)
            if not isinstance(found, dict) or found.get("format") != 1:
                raise ValueError("it is not of format 1")
            return {
                kind: {name: _checked(kind, name, value) for name, value in found.get(kind, {}).items()}
                for kind in KINDS
            }
        except (ValueError, AttributeError, InvalidRequest) as problem:
            log.warning("The styles and lists in %s cannot be read: %s", file, problem)
            raise StudioError(
                f"Your styles and lists cannot be read, for their file is damaged: {problem}"
            ) from problem

    def lists(self, owner: str) -> Mapping[str, list[str]]:
        """The lines of the owner's lists, for `__name__` in a prompt."""
        return self.read(owner)["lists"]

    def keep(self, owner: str, kind: object, name: object, value: object) -> Book:
        """Keeps one entry, in the place of an earlier one of its name; None takes it out. Returns what is there then.

        A style is {"prompt", "negative_prompt", "settings"}, a preset of words to leave out is text, a list is a list
        of lines. Raises InvalidRequest, naming the field, and StudioError if the disk does not take it.
        """
        if kind not in KINDS:
            raise InvalidRequest(f"There are {', '.join(KINDS)} to keep, not {shown_value(kind)}.", "kind")
        name = _checked_name(str(kind), name)
        with self._lock:
            book = self.read(owner)
            if value is None:
                book[str(kind)].pop(name, None)
            else:
                book[str(kind)][name] = _checked(str(kind), name, value)
            if len(book[str(kind)]) > ENTRIES_LIMIT:
                raise InvalidRequest(f"At most {ENTRIES_LIMIT} {kind} can be kept. Take some out first.", "name")
            data = json.dumps({"format": 1, **book}, ensure_ascii=False, indent=1).encode()
            if len(data) > FILE_LIMIT:
                raise InvalidRequest("That is more than can be kept. Take something out first.", "value")
            if value is not None:  # taking something out makes room
                check_free(self._folder, len(data))
            try:
                write_whole(self._file(owner), data, flush=True)
            except StudioError as problem:
                if isinstance(problem.__cause__, OSError):
                    raise not_kept("Your styles and lists", self._folder, problem.__cause__) from problem
                raise
        return book

    def _file(self, owner: str) -> Path:
        return self._folder / f"{home_of(owner)}.json"


def _checked_name(kind: str, name: object) -> str:
    if not isinstance(name, str) or not name.strip() or len(name) > NAME_LIMIT or not name.isprintable():
        raise InvalidRequest(f"A name is one line of 1 to {NAME_LIMIT} characters.", "name")
    name = " ".join(name.split())
    if kind == "lists" and not is_list_name(name):
        raise InvalidRequest(
            f"{shown_value(name)} cannot be written as __name__. Use letters, digits, - and single _.", "name"
        )
    return name


def _checked(kind: str, name: str, value: object) -> Any:
    """The value of an entry, as it is kept. Raises InvalidRequest."""
    _checked_name(kind, name)
    if kind == "negatives":
        return _words(value)
    if kind == "lists":
        if not isinstance(value, list) or not all(isinstance(line, str) for line in value):
            raise InvalidRequest("A list is made of lines of text.", "value")
        lines = [_words(line.strip(), LINE_LIMIT) for line in value if line.strip()]
        if not 1 <= len(lines) <= LINES_LIMIT:
            raise InvalidRequest(f"A list has 1 to {LINES_LIMIT:,} lines, not {len(lines):,}.", "value")
        return lines
    if not isinstance(value, dict) or not set(value) <= {"prompt", "negative_prompt", "settings"}:
        raise InvalidRequest("A style has a prompt, words to leave out, and settings.", "value")
    settings = value.get("settings", {})
    if not isinstance(settings, dict) or not set(settings) <= set(STYLE_SETTINGS):
        raise InvalidRequest(f"The settings of a style are {', '.join(STYLE_SETTINGS)}.", "value")
    TextToImage(**settings)  # raises what is wrong with them
    return {
        "prompt": _words(value.get("prompt", "")),
        "negative_prompt": _words(value.get("negative_prompt", "")),
        "settings": settings,
    }


def _words(value: object, limit: int = PROMPT_LIMIT) -> str:
    if not isinstance(value, str) or len(value) > limit:
        raise InvalidRequest(f"That should be text of at most {limit:,} characters.", "value")
    return TextToImage(value).prompt  # raises on control characters
