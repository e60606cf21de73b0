"""Requests: what they allow, what they refuse, and that JSON is a round trip."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.diffusion.strengths import CONSTANT, SIGMA, Schedule, Strengths
from studio.errors import InvalidRequest
from studio.requests import (
    GUIDANCE_RANGE,
    PROMPT_LIMIT,
    SEED_RANGE,
    SIDE_RANGE,
    SIZE_MULTIPLE,
    SOLVERS,
    STEPS_RANGE,
    TextToImage,
    batch,
    nearest_sizes,
)

words = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=200)
sides = st.integers(SIDE_RANGE[0] // SIZE_MULTIPLE, SIDE_RANGE[1] // SIZE_MULTIPLE).map(lambda n: n * SIZE_MULTIPLE)
schedules = st.sampled_from(
    [CONSTANT, SIGMA, Schedule.first(3), Schedule.drawn([(0.0, 1.0), (0.5, -0.5), (1.0, 0.0)])]
)
corrections = st.integers(1, 3).flatmap(
    lambda levels: st.builds(
        Strengths,
        values=st.tuples(*[st.floats(-1, 1)] * (levels + 1)),
        schedules=st.tuples(*[schedules] * (levels + 1)),
        levels=st.just(levels),
    )
)
requests = st.builds(
    TextToImage,
    prompt=words,
    negative_prompt=words,
    width=sides,
    height=sides,
    num_inference_steps=st.integers(*STEPS_RANGE),
    guidance_scale=st.floats(*GUIDANCE_RANGE),
    solver=st.sampled_from(SOLVERS),
    seed=st.integers(*SEED_RANGE),
    model=words.filter(lambda text: bool(text.strip())),
    correction=st.none() | corrections,
)


@given(requests)
def test_json_is_a_round_trip(request_: TextToImage) -> None:
    assert TextToImage.from_json(request_.to_json()) == request_
    assert TextToImage.from_dict(request_.to_dict()) == request_


@given(requests)
def test_equal_requests_have_equal_json(request_: TextToImage) -> None:
    assert dataclasses.replace(request_).to_json() == request_.to_json()


def test_guidance_given_as_an_integer_gives_the_same_json() -> None:
    assert TextToImage(guidance_scale=5).to_json() == TextToImage(guidance_scale=5.0).to_json()


def test_an_empty_prompt_is_allowed() -> None:
    assert TextToImage(prompt="").prompt == ""


@pytest.mark.parametrize("prompt", ["two\nlines", "a\ttab", "“curly” – ×", "雪の山", "🏔️ at dawn", "a" * PROMPT_LIMIT])
def test_ordinary_writing_is_allowed(prompt: str) -> None:
    assert TextToImage(prompt=prompt).prompt == prompt


REFUSED = [
    ("prompt", "a" * 100_000),
    ("prompt", "a" * (PROMPT_LIMIT + 1)),
    ("prompt", "bell\a"),
    ("prompt", "nul\0"),
    ("prompt", "escape\x1b[31m"),
    ("prompt", "c1\x85"),
    ("prompt", "half\ud83c"),
    ("prompt", None),
    ("prompt", ["a lake"]),
    ("negative_prompt", "a" * 100_000),
    ("negative_prompt", "\x00"),
    ("width", 0),
    ("width", 7),
    ("width", 100_000),
    ("width", 130),
    ("width", -128),
    ("width", 128.0),
    ("width", "128"),
    ("width", True),
    ("width", None),
    ("height", 0),
    ("height", 7),
    ("height", 100_000),
    ("height", 250),
    ("height", 2**70),
    ("num_inference_steps", 0),
    ("num_inference_steps", -1),
    ("num_inference_steps", 201),
    ("num_inference_steps", 10_000),
    ("num_inference_steps", 20.0),
    ("num_inference_steps", True),
    ("guidance_scale", math.nan),
    ("guidance_scale", math.inf),
    ("guidance_scale", -math.inf),
    ("guidance_scale", -0.5),
    ("guidance_scale", 31),
    ("guidance_scale", 10**400),
    ("guidance_scale", "5"),
    ("guidance_scale", False),
    ("guidance_scale", None),
    ("solver", "Magic"),
    ("solver", ""),
    ("solver", None),
    ("solver", ["Euler"]),
    ("seed", -1),
    ("seed", 2**32),
    ("seed", 2**70),
    ("seed", 10**5000),
    ("seed", 1.5),
    ("seed", math.nan),
    ("model", ""),
    ("model", "   "),
    ("model", "a\0b"),
    ("model", 3),
    ("correction", {}),
    ("correction", 0.01),
    ("correction", "sigma"),
]


@pytest.mark.parametrize(("field", "value"), REFUSED, ids=[f"{field}-{n}" for n, (field, _) in enumerate(REFUSED)])
def test_bad_value_is_refused_and_names_its_field(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as refused:
        TextToImage(**{field: value})  # type: ignore[arg-type]
    assert refused.value.field == field
    said = str(refused.value)
    assert len(said) < 300
    assert said.isprintable(), "an error goes to a terminal: one line without control characters"


def test_a_size_between_multiples_is_answered_with_its_neighbours() -> None:
    with pytest.raises(InvalidRequest, match=r"Use 240 or 256\?"):
        TextToImage(width=250)


@given(st.integers(-10, 5000))
def test_nearest_sizes_enclose_the_side_and_are_allowed(side: int) -> None:
    below, above = nearest_sizes(side)
    for found in (below, above):
        assert found % SIZE_MULTIPLE == 0
        assert SIDE_RANGE[0] <= found <= SIDE_RANGE[1]
    assert above - below in (0, SIZE_MULTIPLE)
    if SIDE_RANGE[0] <= side <= SIDE_RANGE[1]:
        assert below <= side <= above


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        "3",
        "null",
        '{"prompt": "a", "prompt": "b"}',
        '{"guidance_scale": NaN}',
        '{"guidance_scale": Infinity}',
        '{"guidance_scale": 1e999}',
        '{"seed": ' + "9" * 5000 + "}",
        '{"colour": "red"}',
        '{"__class__": "x"}',
        '{"seed": "7"}',
        '{"prompt": {"deep": {"deeper": 1}}}',
        "[" * 100_000,
        '{"prompt": "' + "a" * 70_000 + '"}',
        '{"prompt": "\\ud800"}',
        '{"seed": 7',
    ],
    ids=lambda text: text[:20] or "empty",
)
def test_json_that_is_no_request_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        TextToImage.from_json(text)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 400


def test_missing_fields_keep_their_defaults() -> None:
    assert TextToImage.from_json('{"seed": 7}') == TextToImage(seed=7)


def test_json_has_every_field_under_its_own_name() -> None:
    request_ = TextToImage("(a) {b}", correction=Strengths.low(0.01), weighted=True, template="(a) {b|c}")
    assert set(json.loads(request_.to_json())) == {field.name for field in dataclasses.fields(TextToImage)}


def test_without_a_correction_json_is_what_it_always_was() -> None:
    assert TextToImage("a lake", seed=7).to_json() == (
        '{"guidance_scale": 5.0, "height": 128, "model": "painter", "negative_prompt": "", '
        '"num_inference_steps": 20, "prompt": "a lake", "seed": 7, "solver": "DPM++ 2M", "width": 128}'
    )
    assert TextToImage.from_json('{"correction": null}') == TextToImage()


def test_the_deepest_correction_fits_into_the_depth_that_is_read() -> None:
    deep = Strengths((0.1, 0.2), (Schedule.drawn([(0, 1), (1, 0)]), SIGMA), "db4")
    assert TextToImage.from_json(TextToImage(correction=deep).to_json()).correction == deep


BROKEN_CORRECTIONS = [
    '{"bands": []}',
    "[]",
    "0.01",
    "true",
    '"off"',
    json.dumps({**Strengths.low(0.1).to_dict(), "levels": 2}),
    json.dumps({**Strengths.low(0.1).to_dict(), "wavelet": "nonsense"}),
    json.dumps({**Strengths.low(0.1).to_dict(), "formula": 99}),
    json.dumps({**Strengths.low(0.1).to_dict(), "colour": "red"}),
    json.dumps({**Strengths.low(0.1).to_dict(), "bands": [{"strength": True, "schedule": "sigma"}] * 2}),
]


@pytest.mark.parametrize("text", BROKEN_CORRECTIONS, ids=range(len(BROKEN_CORRECTIONS)))
def test_a_broken_correction_is_refused_and_names_its_field(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        TextToImage.from_json(f'{{"correction": {text}}}')
    assert refused.value.field == "correction"
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 400


def test_a_request_with_a_correction_can_be_a_key() -> None:
    first, second = (TextToImage(correction=Strengths.low(0.01)) for _ in range(2))
    assert {first: 1}[second] == 1


def test_batch_counts_seeds_up_and_changes_nothing_else() -> None:
    first = TextToImage("a lake", seed=7)
    several = batch(first, 4)
    assert [r.seed for r in several] == [7, 8, 9, 10]
    assert {r.with_seed(0) for r in several} == {first.with_seed(0)}


def test_batch_goes_on_at_zero_after_the_last_seed() -> None:
    assert [r.seed for r in batch(TextToImage(seed=SEED_RANGE[1]), 2)] == [SEED_RANGE[1], 0]


@pytest.mark.parametrize("count", [0, -1, 9, 1000, 2.0, "2", None, True])
def test_bad_count_is_refused(count: object) -> None:
    with pytest.raises(InvalidRequest) as refused:
        batch(TextToImage(), count)  # type: ignore[arg-type]
    assert refused.value.field == "count"


def test_a_request_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TextToImage().seed = 3  # type: ignore[misc]
