"""Wildcards in a prompt: `{oil|ink}` is one of the two, `__trees__` one line of the list `trees`.

The seed decides, so the same seed gives the same words on every machine. What else stands in the prompt never changes
what a wildcard becomes; where the same one stands there twice, each time has a choice of its own.

`\\{`, `\\}`, `\\|` and `\\_` are plain characters; braces without a bar are plain too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from studio.errors import InvalidRequest, shown_value
from studio.requests import PROMPT_LIMIT

DEPTH_LIMIT = 16  # choices in choices, lists in lists
CHOICES_LIMIT = 256  # of one prompt

Lists = Mapping[str, Sequence[str]]

_NAME = r"[A-Za-z0-9](?:_?[A-Za-z0-9-]){0,39}"
_LIST = re.compile(rf"__({_NAME})__")
_KEPT = "{}|_"


@dataclass(frozen=True)
class Resolved:
    """A prompt whose wildcards were decided. `lists` names those that were asked."""

    text: str
    choices: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()


def is_list_name(name: str) -> bool:
    """Whether `__name__` in a prompt would mean this list."""
    return re.fullmatch(_NAME, name) is not None


def resolve(template: str, seed: int, lists: Lists | None = None) -> Resolved:
    """The prompt that a template becomes at a seed.

    Raises InvalidRequest for a list that is not there, for choices nested deeper than 16 or lists that lead back to
    themselves, and for more than 256 choices.
    """
    if not any(mark in template for mark in ("{", "__", "\\")):
        return Resolved(template)
    work = _Work(seed, lists or {})
    text = work.text(template, 0)
    return Resolved(text, tuple(work.choices), tuple(dict.fromkeys(work.asked)))


def escaped(text: str) -> str:
    """Text that stands for itself in a template: `resolve(escaped(text), seed).text == text`.

    Backslashes before other characters are left to the weights, whose language they belong to.
    """
    return re.sub(r"[{}|]|_(?=_)", r"\\\g<0>", text)


@dataclass
class _Work:
    """One resolution: what was chosen so far."""

    seed: int
    lists: Lists
    choices: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    times: dict[str, int] = field(default_factory=dict)
    written: int = 0

    def text(self, template: str, depth: int) -> str:
        if depth > DEPTH_LIMIT:
            name = f" The list {shown_value(self.asked[-1])} may lead back to itself." if self.asked else ""
            raise InvalidRequest(f"Wildcards nest at most {DEPTH_LIMIT} deep.{name}", "prompt")
        ends = _ends(template)
        out: list[str] = []
        place = 0
        while place < len(template):
            character = template[place]
            if character == "\\" and template[place + 1 : place + 2]:
                kept = template[place + 1]
                out.append(kept if kept in _KEPT else character + kept)
                place += 2
            elif character == "{" and place in ends:
                bars, end = ends[place]
                options = _between(template, place, bars, end)
                out.append(self.text(self._one_of(options, template[place : end + 1]), depth + 1))
                place = end + 1
            elif character == "_" and (named := _LIST.match(template, place)):
                out.append(self.text(self._one_of(self._entries(named[1]), named[0]), depth + 1))
                place = named.end()
            else:
                out.append(character)
                place += 1
            self._count(out[-1])
        return "".join(out)

    def _one_of(self, options: Sequence[str], written: str) -> str:
        """One option of a wildcard, by the seed, how the wildcard is written, and how often it stood there before."""
        if len(self.choices) >= CHOICES_LIMIT:
            raise InvalidRequest(f"A prompt can hold at most {CHOICES_LIMIT} choices.", "prompt")
        time = self.times[written] = self.times.get(written, -1) + 1
        digest = hashlib.sha256(f"{self.seed}/{time}/{written}".encode()).digest()
        chosen = options[int.from_bytes(digest[:8], "big") % len(options)]
        self.choices.append(chosen)
        return chosen

    def _entries(self, name: str) -> Sequence[str]:
        self.asked.append(name)
        if entries := self.lists.get(name):
            return entries
        there = f"The lists are {', '.join(sorted(self.lists)[:12])}." if self.lists else "There are no lists yet."
        raise InvalidRequest(
            f"There is no list {shown_value(name)}. {there} Write \\_\\_{name}\\_\\_ to mean the characters.", "prompt"
        )

    def _count(self, text: str) -> None:
        self.written += len(text)
        if self.written > PROMPT_LIMIT * DEPTH_LIMIT:
            raise InvalidRequest("The wildcards of this prompt make it far too long.", "prompt")


@dataclass
class _Open:
    """A brace that was not closed so far."""

    start: int
    bars: list[int] = field(default_factory=list)
    depth: int = 0  # of the choices in it


def _ends(template: str) -> dict[int, tuple[list[int], int]]:
    """For every opening brace of a choice: where its bars and its closing brace are. Braces without bars are text."""
    found: dict[int, tuple[list[int], int]] = {}
    opened: list[_Open] = []
    place = 0
    while place < len(template):
        character = template[place]
        if character == "\\":
            place += 1
        elif character == "{":
            opened.append(_Open(place))
        elif character == "|" and opened:
            opened[-1].bars.append(place)
        elif character == "}" and opened:
            group = opened.pop()
            depth = group.depth + bool(group.bars)
            if depth > DEPTH_LIMIT:  # refused at every seed, not only at those that would go so deep
                raise InvalidRequest(f"Wildcards nest at most {DEPTH_LIMIT} deep.", "prompt")
            if opened:
                opened[-1].depth = max(opened[-1].depth, depth)
            if group.bars:
                found[group.start] = (group.bars, place)
        place += 1
    return found


def _between(template: str, start: int, bars: Sequence[int], end: int) -> list[str]:
    edges = [start, *bars, end]
    return [template[left + 1 : right].strip() for left, right in pairwise(edges)]
