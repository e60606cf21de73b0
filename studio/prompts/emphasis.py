"""Weights in a prompt, as AUTOMATIC1111's web UI defined them: text in, pieces with a weight each out.

    (word)       1.1 times            [word]        1 / 1.1 times
    ((word))     1.21 times           (word:1.3)    1.3 times
    \\(  \\)  \\[  \\]  \\\\                plain characters

Brackets that are never closed act to the end, as there. Everything takes time in proportion to the text's length.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from studio.errors import shown

ROUND = 1.1  # what a pair of round brackets multiplies by, and a square one divides by
WEIGHT_LIMIT = 10.0  # of any piece, both ways; beyond it pictures fall apart long before
NUMBER_LIMIT = 12  # characters of a weight

_TOKEN = re.compile(r"\\[()\[\]\\]|[\\()\[\]]|[^\\()\[\]]+")
_WEIGHT = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*")
_SCHEDULED = re.compile(r"\[[^\[\]():]{0,200}:(?:[^\[\]():]{0,200}:)?\s*[\d.]{1,12}\s*\]")
_EXTRA = re.compile(r"<(?:lora|lyco|hypernet):[^<>]{1,120}>", re.IGNORECASE)


@dataclass(frozen=True)
class Piece:
    """Some text and how much it counts; 1 is as written."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True)
class _Range:
    """What a pair of brackets does to the pieces from `start` up to `end`."""

    start: int
    end: int
    rounds: int  # +1, -1, or 0 where a number was given
    number: float = 1.0


def parse(text: str) -> tuple[Piece, ...]:
    """The pieces of a prompt in order, neighbours of equal weight joined. Their texts hold no brackets that weigh."""
    texts, ranges = _read(text)
    pieces: list[Piece] = []
    for piece, weight in zip(texts, _weights(len(texts), ranges), strict=True):
        if not piece:
            continue
        if pieces and pieces[-1].weight == weight:
            pieces[-1] = Piece(pieces[-1].text + piece, weight)
        else:
            pieces.append(Piece(piece, weight))
    return tuple(pieces)


def plain(text: str) -> str:
    """The words alone, without weights and without the backslashes that keep brackets."""
    return "".join(piece.text for piece in parse(text))


def is_weighted(text: str) -> bool:
    """Whether reading a text with weights differs from reading it as it stands."""
    return any(character in text for character in "()[]\\") and parse(text) != ((Piece(text),) if text else ())


def escaped(text: str) -> str:
    """Text that stands for itself in a prompt with weights: `plain(escaped(text)) == text`, and nothing is weighed."""
    return re.sub(r"[\\()\[\]]", r"\\\g<0>", text)


def remarks(text: str) -> list[str]:
    """What other programs would read in this prompt and this studio does not, in words."""
    found = []
    if scheduled := _SCHEDULED.search(text):
        found.append(
            f"{shown(scheduled[0], 40)} changes words midway elsewhere. Here it is read as brackets and text."
        )
    for extra in list(dict.fromkeys(match[0] for match in _EXTRA.finditer(text)))[:3]:
        found.append(f"{shown(extra, 40)} is read as text: prompts load no files here.")
    for word in ("BREAK", "AND"):
        if re.search(rf"(?<!\S){word}(?!\S)", text):
            found.append(f"{word} joins prompts elsewhere. Here it is a word like others.")
    if any(abs(piece.weight) >= WEIGHT_LIMIT for piece in parse(text)):
        found.append(f"Weights run from -{WEIGHT_LIMIT:g} to {WEIGHT_LIMIT:g}.")
    return found


def _read(text: str) -> tuple[list[str], list[_Range]]:
    """The texts between brackets, and what each pair of brackets does to them."""
    texts: list[str] = []
    ranges: list[_Range] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}
    before = ""
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in opened:
            opened[token].append(len(texts))
        elif token == ")" and opened["("]:
            start = opened["("].pop()
            # a number counts only where it stands right before the bracket
            number = _number_at_end(texts) if before and before[0] not in "()[]\\" else None
            ranges.append(_Range(start, len(texts), 1 if number is None else 0, 1.0 if number is None else number))
        elif token == "]" and opened["["]:
            ranges.append(_Range(opened["["].pop(), len(texts), -1))
        elif token[0] == "\\":
            texts.append(token[1:])  # one that keeps nothing is left out
        else:
            texts.append(token)
        before = token
    for bracket, sign in (("(", 1), ("[", -1)):
        ranges += [_Range(start, len(texts), sign) for start in opened[bracket]]
    return texts, ranges


def _number_at_end(texts: list[str]) -> float | None:
    """Takes ":1.3" off the last text. None if there is none."""
    words, colon, number = texts[-1].rpartition(":")
    if not colon or len(number) > NUMBER_LIMIT or not _WEIGHT.fullmatch(number):
        return None
    texts[-1] = words
    return float(number)


def _weights(count: int, ranges: list[_Range]) -> list[float]:
    """The product of what acts on each of `count` texts.

    Round and square brackets may overlap, so what begins and ends is followed from left to right: rounds as a count,
    numbers as the sum of their logarithms, zeros and signs apart.
    """
    events: list[list[tuple[_Range, int]]] = [[] for _ in range(count + 1)]
    for found in ranges:
        events[found.start].append((found, 1))
        events[found.end].append((found, -1))
    rounds = zeros = negatives = numbers = 0
    logarithms = 0.0
    weights = []
    for place in range(count):
        for found, way in events[place]:
            rounds += way * found.rounds
            if found.rounds:
                continue
            numbers += way
            zeros += way * (found.number == 0)
            negatives += way * (found.number < 0)
            logarithms += way * math.log(abs(found.number)) if found.number else 0.0
            if not numbers:
                logarithms = 0.0  # nothing of the rounding stays behind
        size = 0.0 if zeros else math.exp(min(logarithms + rounds * math.log(ROUND), math.log(WEIGHT_LIMIT)))
        weights.append(round(-size if negatives % 2 else size, 6))
    return weights
