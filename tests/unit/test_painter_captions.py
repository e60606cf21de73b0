"""Captions are true, whole and grammatical; paraphrases never claim more than the scene shows."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from studio.painter import STYLES, Scene, caption, paraphrase
from studio.painter.captions import (
    STYLE_PHRASES,
    SYNONYMS,
    TIME_PHRASES,
    WEATHER_PHRASES,
    joined,
    may_name_season,
    shows_season,
    with_article,
)
from studio.painter.scene import THINGS, decide
from studio.painter.vocabulary import known_words, words_of

LAKE = Scene("lake", "sunset", "summer", "clear", "oil", ("pine trees", "a full moon"))


@lru_cache(maxsize=1)
def all_scenes() -> tuple[Scene, ...]:
    return tuple(decide(np.random.default_rng(seed), {}) for seed in range(2500))


def scenes(count: int = 2500) -> tuple[Scene, ...]:
    return all_scenes()[:count]


def weather_words(scene: Scene) -> str:
    return WEATHER_PHRASES[scene.weather].removeprefix("with ")


def test_the_example_reads_as_written() -> None:
    assert caption(LAKE) == "an oil painting of a mountain lake at sunset with pine trees and a full moon"


def test_clouds_open_the_list_and_the_list_ends_with_and() -> None:
    clouded = replace(LAKE, weather="scattered clouds")
    expected = "an oil painting of a mountain lake at sunset with scattered clouds, pine trees and a full moon"
    assert caption(clouded) == expected


@pytest.mark.parametrize(
    ("things", "text"),
    [(["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c"), (["a", "b", "c", "d"], "a, b, c and d")],
)
def test_lists_are_joined_with_commas_and_one_and(things: list[str], text: str) -> None:
    assert joined(things) == text


@pytest.mark.parametrize(("noun", "text"), [("orange planet", "an orange planet"), ("red planet", "a red planet")])
def test_articles_follow_the_next_sound(noun: str, text: str) -> None:
    assert with_article(noun) == text


def test_every_article_in_every_caption_fits() -> None:
    for scene in scenes():
        text = caption(scene)
        assert not re.search(r"\ba [aeiou]", text), text
        assert not re.search(r"\ban [^aeiou]", text), text
        assert "  " not in text
        assert text == text.strip()


def test_a_caption_names_everything_that_the_picture_shows() -> None:
    for scene in scenes(1500):
        text = caption(scene)
        assert text.startswith(STYLE_PHRASES[scene.style])
        assert all(thing in text for thing in scene.things)
        if scene.terrain != "space":
            assert TIME_PHRASES[scene.time] in text
        if scene.weather != "clear":
            assert weather_words(scene) in text


def test_a_caption_with_dice_only_reorders_things() -> None:
    for seed, scene in enumerate(scenes(300)):
        shuffled = caption(scene, np.random.default_rng(seed))
        assert sorted(words_of(shuffled)) == sorted(words_of(caption(scene)))


def test_ink_claims_no_colour() -> None:
    for scene in scenes():
        if scene.style == "ink":
            assert not {"red", "green", "blue", "orange", "purple"} & set(words_of(caption(scene)))


def test_paraphrases_are_drawn_from_the_generator_alone() -> None:
    for seed, scene in enumerate(scenes(200)):
        first = [paraphrase(scene, np.random.default_rng(seed)) for _ in range(2)]
        assert first[0] == first[1]


def test_paraphrases_name_no_thing_that_is_not_there() -> None:
    plain = {re.sub(r"^(a|an|the) ", "", thing) for thing in THINGS}
    for seed, scene in enumerate(scenes()):
        text = paraphrase(scene, np.random.default_rng(seed))
        true = caption(scene)
        allowed = [true, *(words for phrase, others in SYNONYMS.items() if phrase in true for words in others)]
        for thing in plain:
            assert thing not in text or any(thing in words for words in allowed), (thing, text, true)


def test_paraphrases_name_no_other_time_weather_or_season() -> None:
    for seed, scene in enumerate(scenes()):
        text = paraphrase(scene, np.random.default_rng(seed))
        for time, phrase in TIME_PHRASES.items():
            assert phrase not in text or time == scene.time
        for weather, phrase in WEATHER_PHRASES.items():
            assert phrase not in text or weather == scene.weather
        for season in ("spring", "summer", "autumn", "winter"):
            assert f"in {season}" not in text or (season == scene.season and may_name_season(scene))


def test_a_season_is_said_only_where_it_shows() -> None:
    autumn = replace(LAKE, season="autumn", trees="leafy")
    assert shows_season(autumn)
    assert not shows_season(replace(autumn, style="ink"))
    assert not shows_season(replace(autumn, time="night"))
    assert not shows_season(replace(autumn, terrain="desert"))


def test_paraphrases_are_mixed_as_meant() -> None:
    texts = [paraphrase(scene, np.random.default_rng(seed)) for seed, scene in enumerate(scenes())]
    empty = sum(text == "" for text in texts) / len(texts)
    chips = sum("," in text and " with " not in text for text in texts) / len(texts)
    keywords = sum(bool(text) and not re.search(r"\b(of|at|in|with)\b", text) for text in texts) / len(texts)
    assert 0.07 < empty < 0.13  # 2,500 draws: three standard deviations
    assert 0.04 < chips < 0.10
    assert 0.04 < keywords < 0.14


def test_keyword_form_drops_the_small_words() -> None:
    texts = {paraphrase(LAKE, np.random.default_rng(seed)) for seed in range(4000)}
    assert "oil mountain lake sunset" in texts
    assert "oil painting, mountain lake, at sunset, pine trees, full moon" in texts
    assert caption(LAKE) in texts


def test_all_captions_use_few_words_and_only_known_ones() -> None:
    words: Counter[str] = Counter()
    for seed, scene in enumerate(scenes()):
        words.update(words_of(caption(scene)) + words_of(paraphrase(scene, np.random.default_rng(seed))))
    assert set(words) - known_words() - {"and", "with", "of"} == set()
    assert len(words) < 170


def test_every_style_has_a_wording() -> None:
    assert tuple(STYLE_PHRASES) == STYLES
