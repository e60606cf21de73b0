"""What the model was taught to read, and what is said about a word that it was not."""

from __future__ import annotations

import time

import numpy as np
import pytest

from studio.painter import STYLES, TERRAINS, caption
from studio.painter.captions import chip
from studio.painter.scene import THINGS, decide
from studio.painter.vocabulary import (
    CHIPS,
    MOST_UNKNOWN,
    WISHES,
    UnknownWord,
    is_known,
    known_words,
    phrases,
    unknown_words,
)

OFFERED = {chip(phrase) for phrase in phrases()}


def test_every_caption_is_read_whole() -> None:
    for seed in range(800):
        assert unknown_words(caption(decide(np.random.default_rng(seed), {}))) == []


@pytest.mark.parametrize(
    "word", ["mountains", "mountain", "lakes", "snowing", "Pine", "OIL", "cloudy", "village", "birds"]
)
def test_inflections_and_cases_are_known(word: str) -> None:
    assert is_known(word)


@pytest.mark.parametrize("word", ["dragon", "montain", "cyberpunk", "Schloß", "山", "van"])
def test_words_that_were_never_taught_are_unknown(word: str) -> None:
    assert is_known(word) is (len(word) < 2)


def test_small_words_and_numbers_are_no_surprise() -> None:
    assert unknown_words("the picture of a lake, with 3 trees & 2024 stars!") == []


def test_common_wishes_lead_to_the_nearest_thing() -> None:
    assert unknown_words("a dragon over the sea") == [UnknownWord("dragon", ("flying birds", "lightning"))]
    assert unknown_words("Dragons")[0] == UnknownWord("Dragons", ("flying birds", "lightning"))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("montain", "mountain"),
        ("castel", "castle"),
        ("lighhouse", "lighthouse"),
        ("watercolr", "watercolor"),
        ("volcanoe", "volcano"),
    ],
)
def test_misspellings_lead_to_the_word_that_was_meant(typed: str, meant: str) -> None:
    (found,) = unknown_words(typed)
    assert any(meant in phrase for phrase in found.nearest)


def test_a_word_like_nothing_still_gets_two_suggestions() -> None:
    (found,) = unknown_words("qwrtzx")
    assert len(set(found.nearest)) == 2
    assert set(found.nearest) <= OFFERED


def test_unknown_words_come_once_in_order_as_typed() -> None:
    words = [unknown.word for unknown in unknown_words("Unicorn, robot and unicorn; ROBOT on a lake with a Zeppelin")]
    assert words == ["Unicorn", "robot", "Zeppelin"]


def test_a_very_long_prompt_is_answered_at_once() -> None:
    prompt = " ".join(f"zq{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}xv" for i in range(600))
    began = time.thread_time()  # of this thread alone, whatever else the machine does
    assert len(unknown_words(prompt)) == MOST_UNKNOWN
    assert time.thread_time() - began < 2


def test_everything_that_is_suggested_is_taught() -> None:
    for word, nearest in WISHES.items():
        assert set(nearest) <= OFFERED, word
        assert nearest[0] != nearest[1], word
        assert not is_known(word), word
        assert word == word.casefold()


def test_chips_are_taught_and_come_in_the_order_of_a_sentence() -> None:
    assert tuple(CHIPS) == ("style", "place", "time", "season", "weather", "things")
    for category, offered in CHIPS.items():
        assert len(set(offered)) == len(offered), category
        assert set(offered) <= OFFERED, category
        assert all(unknown_words(phrase) == [] for phrase in offered)
    assert len(CHIPS["style"]) == len(STYLES)
    assert len(CHIPS["place"]) >= len(TERRAINS)
    assert set(CHIPS["things"]) == {chip(thing) for thing in THINGS}


def test_no_phrase_is_a_chip_twice() -> None:
    every = [phrase for offered in CHIPS.values() for phrase in offered]
    assert len(set(every)) == len(every)


def test_the_vocabulary_is_small() -> None:
    assert 100 < len(known_words()) < 200
