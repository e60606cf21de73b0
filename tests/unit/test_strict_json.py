"""JSON from strangers: what is read, and what is refused with a ValueError in words."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio import strict_json

plain_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcü\n", max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(plain_json, st.booleans())
@settings(max_examples=100, deadline=None)
def test_everything_that_json_can_hold_is_read_back(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert strict_json.loads(text, max_depth=50) == value
    assert strict_json.loads(text.encode(), max_depth=50) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("NaN", "not a number in JSON"),
        ('{"a": Infinity}', "not a number in JSON"),
        ("[-Infinity]", "not a number in JSON"),
        ("1e999", "beyond the numbers"),
        ("-1e999", "beyond the numbers"),
        ("1" * 41, "more than 40 digits"),
        ("0." + "1" * 41, "more than 40 digits"),
        ('{"a": 1, "a": 2}', "'a' stands there twice"),
        ('[{"b": {"a": 1, "b": 1, "a": 1}}]', "'a' stands there twice"),
        ('"\\ud800"', "half a surrogate pair"),
        ('{"\\udfff": 1}', "half a surrogate pair"),
        ("'a'", "not JSON"),
        ('{"a": 1,}', "not JSON"),
        ("{} {}", "not JSON"),
        ("", "not JSON"),
        ("\ufeff{}", "not JSON"),
        ('"a\nb"', "not JSON"),
        ("\ud800", "half a surrogate pair"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"a": "\xc3"}', "not UTF-8"),
    ],
)
def test_what_json_does_not_know_is_refused_in_words(text: str | bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        strict_json.loads(text, max_depth=8)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 10_000, "[" * 9 + "]" * 9, '[{"a":[{"a":[{"a":[{"a":[]}]}]}]}]']
)
def test_depth_is_checked_before_anything_is_parsed(text: str) -> None:
    with pytest.raises(ValueError, match="nested deeper than 8"):
        strict_json.loads(text, max_bytes=10**6, max_depth=8)


def test_brackets_in_strings_are_no_depth() -> None:
    text = json.dumps({"prompt": '[[[[[[[[{{{{"\\' + '"' * 9})
    assert strict_json.loads(text, max_depth=1) == json.loads(text)


def test_depth_counts_lists_and_objects_that_stand_in_each_other() -> None:
    assert strict_json.loads("1", max_depth=0) == 1
    assert strict_json.loads("[[], [], {}]", max_depth=2) == [[], [], {}]
    with pytest.raises(ValueError, match="nested deeper than 1"):
        strict_json.loads("[[]]", max_depth=1)


def test_size_is_counted_in_bytes() -> None:
    assert strict_json.loads('"üü"', max_bytes=6) == "üü"
    with pytest.raises(ValueError, match="more than 5 bytes"):
        strict_json.loads('"üü"', max_bytes=5)
    with pytest.raises(ValueError, match="more than 5 bytes"):
        strict_json.loads('"üü"'.encode(), max_bytes=5)


@pytest.mark.parametrize("text", ['"\\' * 250_000, '"' * 500_000, '\\"' * 250_000, "[" + '"a",' * 120_000])
def test_hostile_text_is_read_in_linear_time(text: str) -> None:
    begun = time.thread_time()  # of this thread alone, whatever else the machine does
    with pytest.raises(ValueError):
        strict_json.loads(text, max_bytes=10**6, max_depth=8)
    assert time.thread_time() - begun < 2


@given(st.text(st.sampled_from('{}[]",:\\ud80e1+-.NaInfty \n'), max_size=40) | st.binary(max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused_with_a_value_error(text: str | bytes) -> None:
    try:
        value = strict_json.loads(text, max_depth=4)
    except ValueError:
        return
    json.dumps(value, allow_nan=False).encode()
