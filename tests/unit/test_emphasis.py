"""Weights in prompts: known readings, and what holds for any text."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.prompts.emphasis import WEIGHT_LIMIT, Piece, escaped, is_weighted, parse, plain, remarks

BRACKETS = st.text(alphabet="ab ,:.()[]\\019-", max_size=60)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("normal text", [("normal text", 1.0)]),
        ("an (important) word", [("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
        ("(unbalanced", [("unbalanced", 1.1)]),
        (r"\(literal\]", [("(literal]", 1.0)]),
        ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
        ("((twice))", [("twice", 1.21)]),
        ("[less]", [("less", 0.909091)]),
        ("[[much less]]", [("much less", 0.826446)]),
        ("(a:1.3)", [("a", 1.3)]),
        ("(a: .5 )", [("a", 0.5)]),
        ("(a:-1)", [("a", -1.0)]),
        ("(a:0) b", [("a", 0.0), (" b", 1.0)]),
        ("(time: 12:30)", [("time: 12", 10.0)]),
        ("(ratio 3:x)", [("ratio 3:x", 1.1)]),
        ("(a:2 )b)", [("a", 2.0), ("b)", 1.0)]),
        ("((a:2:1.3))", [("a:2", 1.43)]),
        ("a ) b ] c", [("a ) b ] c", 1.0)]),
        ("()", []),
        (
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            [
                ("a ", 1.0),
                ("house", 1.573),
                (" ", 1.1),
                ("on", 1.0),
                (" a ", 1.1),
                ("hill", 0.55),
                (", sun, ", 1.1),
                ("sky", 1.4641),
                (".", 1.1),
            ],
        ),
        ("(a [b) c]", [("a ", 1.1), ("b", 1.0), (" c", 0.909091)]),
    ],
)
def test_known_readings(text: str, pieces: list[tuple[str, float]]) -> None:
    assert [(piece.text, piece.weight) for piece in parse(text)] == pieces


@given(BRACKETS)
def test_escaped_text_stands_for_itself(text: str) -> None:
    assert plain(escaped(text)) == text
    assert parse(escaped(text)) == ((Piece(text),) if text else ())


@given(BRACKETS)
def test_any_text_is_read_with_bounded_weights_and_none_of_its_words_lost(text: str) -> None:
    pieces = parse(text)
    assert all(abs(piece.weight) <= WEIGHT_LIMIT for piece in pieces)
    assert all(one.weight != other.weight for one, other in pairwise(pieces))
    letters = [c for c in text if c in "ab, "]
    assert [c for c in plain(text) if c in "ab, "] == letters or ":" in text  # ": 1.3)" takes its spaces with it


@given(st.text(alphabet="ab ,.:;'\n019", max_size=60))
def test_text_without_brackets_is_not_weighted(text: str) -> None:
    assert not is_weighted(text)
    assert plain(text) == text


@given(st.recursive(st.sampled_from(["a", "b c"]), lambda inner: st.one_of(
    inner.map(lambda text: f"({text})"), inner.map(lambda text: f"[{text}]"), st.tuples(inner, inner).map("".join),
), max_leaves=8))  # fmt: skip
@settings(max_examples=50)
def test_balanced_brackets_multiply_by_their_depth(text: str) -> None:
    """Against the plainest way to say it: count what is open at each letter."""
    expected: list[tuple[str, float]] = []
    depth = 0
    for character in text:
        if character in "()[]":
            depth += {"(": 1, ")": -1, "[": -1, "]": 1}[character]
        else:
            expected.append((character, min(round(1.1**depth, 6), WEIGHT_LIMIT)))
    found = [(character, piece.weight) for piece in parse(text) for character in piece.text]
    assert [c for c, _ in found] == [c for c, _ in expected]
    assert [w for _, w in found] == pytest.approx([w for _, w in expected], abs=2e-6)


@pytest.mark.parametrize(
    "unit", ["(", ")", "[", "(a", "(a)", "\\", "\\(", ":1", "(:1.1)", "[a:", "(a:9)", "<lora:", "[a:b:1]"]
)
def test_hostile_prompts_take_no_more_work_per_character_than_short_ones(unit: str) -> None:
    """Counted in calls of the tokenizer's own loop rather than in seconds: pieces never outnumber characters."""
    text = (unit * 4000)[:4000]
    pieces = parse(text)
    assert len(pieces) <= len(text)
    assert sum(len(piece.text) for piece in pieces) <= len(text)
    remarks(text)


def test_what_other_programs_read_is_named() -> None:
    assert remarks("a lake (at dusk:1.2)") == []
    said = " ".join(remarks("[cat:dog:0.5] <lora:ink:0.8> red BREAK blue AND (green:99)"))
    for word in ("[cat:dog:0.5]", "<lora:ink:0.8>", "BREAK", "AND", "10"):
        assert word in said
