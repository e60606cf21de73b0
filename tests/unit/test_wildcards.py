"""Wildcards: the seed decides, and nothing else does."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.errors import InvalidRequest
from studio.prompts.prepared import as_written, prepared
from studio.prompts.wildcards import escaped, is_list_name, resolve
from studio.requests import TextToImage

ANY = st.text(alphabet="ab {}|_\\(),", max_size=60)
LISTS = {"a": ["b", "c"], "b": ["__a__"]}


def test_same_seed_same_words_and_every_choice_comes_up() -> None:
    seen = Counter(resolve("a {red|green|blue} door", seed).text for seed in range(300))
    assert resolve("a {red|green|blue} door", 7) == resolve("a {red|green|blue} door", 7)
    assert set(seen) == {"a red door", "a green door", "a blue door"}
    assert min(seen.values()) > 70  # 100 each; this far off is 4 standard deviations


def test_choices_are_those_of_the_first_release() -> None:
    """They stand in people's pictures: a change here would paint other ones."""
    assert "".join(resolve("{a|b|c|d}", seed).text for seed in range(8)) == "ccabacaa"


def test_a_wildcard_depends_on_nothing_else_in_the_prompt() -> None:
    """So that a word can be left out to see what it does, and the others stay."""
    for seed in range(20):
        alone = resolve("{a|b|c}", seed).text
        assert resolve("{d|e} with {a|b|c} and {f|g}", seed).text.split()[2] == alone
    twice = {resolve("{a|b|c} {a|b|c}", seed).text for seed in range(60)}
    assert len(twice) == 9


def test_nested_choices_and_empty_ones() -> None:
    assert {resolve("{a|{b|c}}", seed).text for seed in range(40)} == {"a", "b", "c"}
    assert {resolve("x{ y|}", seed).text for seed in range(20)} == {"xy", "x"}


def test_lists_may_hold_wildcards_and_other_lists() -> None:
    lists = {"trees": ["{old|young} oak"], "view": ["__trees__ by a lake"]}
    assert {resolve("__view__", seed, lists).text for seed in range(20)} == {
        "old oak by a lake",
        "young oak by a lake",
    }
    assert resolve("__view__", 3, lists).lists == ("view", "trees")


@pytest.mark.parametrize(
    ("template", "lists", "words"),
    [
        ("__tres__", {"trees": ["oak"]}, "There is no list 'tres'. The lists are trees."),
        ("__loop__", {"loop": ["a __loop__"]}, "may lead back to itself"),
        ("{a|" * 40 + "b" + "}" * 40, {}, "nest at most 16 deep"),
        ("{a|b}" * 300, {}, "at most 256 choices"),
        ("__big__" * 100, {"big": ["x" * 1000]}, "far too long"),
    ],
)
def test_what_cannot_be_decided_is_said_in_words(template: str, lists: dict[str, list[str]], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        for seed in range(200):  # deep choices are met only by some seeds
            resolve(template, seed, lists)
    assert caught.value.field == "prompt"


@pytest.mark.parametrize("text", ["{no bars}", "{", "}{", "|", "a|b", "__", "____", "__a", "__a b__", "{{a}}", "}|{"])
def test_braces_without_a_choice_are_plain(text: str) -> None:
    assert resolve(text, 1).text == text


@given(ANY, st.integers(0, 2**32 - 1))
def test_escaped_text_stands_for_itself(text: str, seed: int) -> None:
    if "\\" not in text:
        assert resolve(escaped(text), seed).text == text


@given(ANY, st.integers(0, 2**32 - 1))
def test_any_text_is_decided_or_refused(text: str, seed: int) -> None:
    assert len(resolve(text, seed, LISTS).text) <= len(text)


@given(ANY, st.integers(0, 2**32 - 1))
def test_what_comes_back_into_the_form_paints_the_same_words(text: str, seed: int) -> None:
    request = prepared(TextToImage(text, seed=seed), LISTS)
    again = prepared(as_written(request), LISTS)
    assert (again.prompt, again.weighted) == (request.prompt, request.weighted)
    assert prepared(request) == request


def test_brackets_of_old_requests_stay_plain_text() -> None:
    old = TextToImage.from_dict({"prompt": "a door (red) {x}"})
    assert not old.weighted
    from studio.prompts.emphasis import plain

    again = prepared(as_written(old))
    assert as_written(old).prompt == r"a door \(red\) {x}"
    assert plain(again.prompt) == old.prompt


def test_models_that_cannot_weigh_words_are_given_brackets_as_text() -> None:
    assert not prepared(TextToImage("a (red) door"), weighs=False).weighted
    assert prepared(TextToImage("a (red) door")).weighted


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("trees", True),
        ("light-moods", True),
        ("a_b", True),
        ("a__b", False),
        ("", False),
        ("../x", False),
        ("a b", False),
    ],
)
def test_names_of_lists(name: str, fits: bool) -> None:
    assert is_list_name(name) is fits
