"""The request of a fill: what it allows, what it refuses, and that JSON is a round trip."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.errors import InvalidRequest
from studio.imaging.geometry import Bounds
from studio.imaging.masks import REACH
from studio.imaging.prefill import WAYS
from studio.requests import (
    FEATHER_RANGE,
    GROW_RANGE,
    HARMONISE_RANGE,
    INTENTS,
    METHODS,
    PREFILLS,
    SEED_RANGE,
    Fill,
    TextToImage,
    batch,
)

WORDS = TextToImage("a lighthouse", num_inference_steps=20)

bounds = st.builds(Bounds, st.integers(0, 4000), st.integers(0, 4000), st.integers(1, 4096), st.integers(1, 4096))
fills = st.builds(
    lambda method, harmonise, **values: Fill(method=method, harmonise=0 if method == "own" else harmonise, **values),
    painting=st.builds(
        TextToImage, prompt=st.just("a lighthouse"), num_inference_steps=st.integers(1, 200), seed=st.integers(0, 99)
    ),
    intent=st.sampled_from(tuple(INTENTS)),
    start=st.just(0),
    grow=st.integers(*GROW_RANGE),
    feather=st.integers(*FEATHER_RANGE),
    context=st.none() | bounds,
    prefill=st.sampled_from(PREFILLS),
    harmonise=st.integers(*HARMONISE_RANGE),
    match_colour=st.booleans(),
    method=st.sampled_from(METHODS),
)


@given(fills)
def test_json_is_a_round_trip(fill: Fill) -> None:
    assert Fill.from_json(fill.to_json()) == fill
    assert Fill.from_dict(json.loads(json.dumps(fill.to_dict()))) == fill


@pytest.mark.parametrize("intent", INTENTS)
def test_every_intent_has_settings_that_are_allowed(intent: str) -> None:
    fill = Fill.of(WORDS, intent)
    assert fill.intent == intent and 0 <= fill.start < 20
    assert Fill.of(TextToImage("a lighthouse", num_inference_steps=1), intent).start == 0
    assert INTENTS[intent].prefill in PREFILLS


def test_what_a_person_says_goes_before_what_suits_the_intent() -> None:
    assert Fill.of(WORDS, "refine").start > 0
    assert Fill.of(WORDS, "refine", start=3, harmonise=1) == Fill(WORDS, "refine", start=3, harmonise=1)


@pytest.mark.parametrize("intent", INTENTS)
def test_what_is_left_out_is_what_suits_the_intent(intent: str) -> None:
    usual = INTENTS[intent]
    for fill in (Fill(WORDS, intent), Fill.from_dict({"painting": WORDS.to_dict(), "intent": intent, "start": None})):
        assert (fill.start, fill.harmonise) == (usual.start_of(20), usual.harmonise)
        assert fill == Fill.of(WORDS, intent)
    assert Fill(WORDS, intent, start=0).start == 0
    assert Fill(WORDS, intent, method="own").harmonise == 0
    assert Fill(WORDS, "refine").start == 10


def test_inpainting_of_its_own_is_not_harmonised_and_says_so() -> None:
    with pytest.raises(InvalidRequest, match="cannot be harmonised") as problem:
        Fill(WORDS, method="own", harmonise=1)
    assert problem.value.field == "harmonise"


@pytest.mark.parametrize(("start", "steps", "wanted"), [(10, 40, 20), (10, 10, 5), (19, 4, 3), (0, 7, 0), (19, 1, 0)])
def test_other_steps_leave_out_the_same_share(start: int, steps: int, wanted: int) -> None:
    other = replace(WORDS, num_inference_steps=steps)
    fill = Fill(WORDS, start=start, harmonise=2).repainted(other)
    assert (fill.start, fill.painting, fill.harmonise) == (wanted, other, 2)
    assert Fill(WORDS, harmonise=2).repainted(other, harmonise=0).harmonise == 0


def test_the_ways_to_prefill_are_those_that_there_are() -> None:
    assert set(PREFILLS) == {"auto", *WAYS}
    assert GROW_RANGE == (-REACH, REACH) and FEATHER_RANGE == (0, REACH)


@pytest.mark.parametrize("intent", INTENTS)
def test_words_are_needed_where_there_is_nothing_to_go_by(intent: str) -> None:
    def make() -> Fill:
        return Fill(TextToImage("  "), intent)

    if INTENTS[intent].needs_words:
        with pytest.raises(InvalidRequest, match="Remove") as problem:
            make()
        assert problem.value.field == "prompt"
    else:
        assert make().painting.prompt == "  "


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"intent": "paint"}, "intent"),
        ({"intent": ["fill"]}, "intent"),
        ({"start": 20}, "start"),
        ({"start": -1}, "start"),
        ({"start": True}, "start"),
        ({"start": 2.0}, "start"),
        ({"grow": 257}, "grow"),
        ({"feather": -1}, "feather"),
        ({"feather": float("nan")}, "feather"),
        ({"prefill": "magic"}, "prefill"),
        ({"harmonise": 99}, "harmonise"),
        ({"match_colour": 1}, "match_colour"),
        ({"method": "best"}, "method"),
        ({"margin": -1}, "margin"),
        ({"margin": 8, "context": {"x": 0, "y": 0, "width": 9, "height": 9}}, "margin"),
        ({"context": {"x": 0, "y": 0, "width": 0, "height": 9}}, "context"),
        ({"context": {"x": -1, "y": 0, "width": 9, "height": 9}}, "context"),
        ({"context": {"x": 0, "y": 0, "width": 9}}, "context"),
        ({"context": {"x": 0, "y": 0, "width": 9, "height": 9, "z": 1}}, "context"),
        ({"context": [0, 0, 9, 9]}, "context"),
        ({"painting": None}, "painting"),
        ({"painting": {"prompt": "a lighthouse", "width": 100}}, "width"),
    ],
)
def test_a_wrong_value_is_refused_with_the_name_of_its_field(values: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as problem:
        Fill.from_dict({"painting": WORDS.to_dict(), **values})
    assert problem.value.field == field


def test_unknown_fields_and_text_that_is_no_fill_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="'strength'"):
        Fill.from_dict({"painting": WORDS.to_dict(), "strength": 0.5})
    for text in ("", "[]", '{"painting": {"prompt": "x", "prompt": "y"}}', "{" * 50):
        with pytest.raises(InvalidRequest):
            Fill.from_json(text)


def test_variations_differ_in_their_seeds_alone() -> None:
    fills = batch(Fill(WORDS.with_seed(SEED_RANGE[1])), 3)
    assert [fill.seed for fill in fills] == [SEED_RANGE[1], 0, 1]
    assert fills[1].with_seed(SEED_RANGE[1]) == fills[0]
