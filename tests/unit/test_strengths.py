"""Strengths and schedules: weights over a run, JSON both ways, and words for what cannot be used."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.diffusion.strengths import AFTER, BEFORE, FORMULA, KINDS, SIGMA, Schedule, Strengths
from studio.errors import InvalidRequest

few = settings(max_examples=30, deadline=None, derandomize=True)
numbers = st.floats(-10, 10, allow_nan=False)
drawn = st.dictionaries(st.floats(0, 1), numbers, min_size=1, max_size=5).map(
    lambda points: Schedule.drawn(sorted(points.items()))
)
schedules = st.one_of(
    st.sampled_from(["constant", "sigma", "1 - sigma"]).map(Schedule),
    st.integers(1, 50).map(Schedule.first),
    st.integers(1, 50).map(Schedule.last),
    drawn,
)


@st.composite
def all_strengths(draw: st.DrawFn) -> Strengths:
    levels = draw(st.integers(1, 5))
    return Strengths(
        values=tuple(draw(st.lists(numbers, min_size=levels + 1, max_size=levels + 1))),
        schedules=tuple(draw(st.lists(schedules, min_size=levels + 1, max_size=levels + 1))),
        wavelet=draw(st.sampled_from(["haar", "db4", "sym8", "coif2"])),
        levels=levels,
        variant=draw(st.sampled_from([AFTER, BEFORE])),
    )


@few
@given(all_strengths())
def test_json_gives_back_equal_strengths(strengths: Strengths) -> None:
    assert Strengths.from_json(strengths.to_json()) == strengths
    assert Strengths.from_dict(strengths.to_dict()) == strengths
    assert hash(Strengths.from_json(strengths.to_json())) == hash(strengths)


def test_saved_strengths_name_variant_wavelet_and_formula() -> None:
    saved = json.loads(Strengths.low(-0.015, "1 - sigma", "db4", levels=2, variant=BEFORE).to_json())
    assert saved == {
        "formula": FORMULA,
        "variant": "before step",
        "wavelet": "db4",
        "levels": 2,
        "bands": [
            {"strength": -0.015, "schedule": {"kind": "1 - sigma"}},
            {"strength": 0.0, "schedule": {"kind": "1 - sigma"}},
            {"strength": 0.0, "schedule": {"kind": "1 - sigma"}},
        ],
    }


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Schedule("constant"), [1, 1, 1, 1, 1]),
        (Schedule("sigma"), [1, 0.75, 0.5, 0.25, 0]),
        (Schedule("1 - sigma"), [0, 0.25, 0.5, 0.75, 1]),
        (Schedule.first(2), [1, 1, 0, 0, 0]),
        (Schedule.last(2), [0, 0, 0, 1, 1]),
        (Schedule.last(99), [1, 1, 1, 1, 1]),
        (Schedule.drawn([(0.5, 2.0)]), [2, 2, 2, 2, 2]),
        (Schedule.drawn([(0.25, 0.0), (0.75, -1.0)]), [0, 0, -0.5, -1, -1]),
    ],
)
def test_weights_over_five_steps(schedule: Schedule, expected: list[float]) -> None:
    levels = [1, 0.75, 0.5, 0.25, 0]
    weights = [schedule.weight(level, number, 5) for number, level in enumerate(levels, start=1)]
    assert weights == pytest.approx(expected, abs=1e-12)


def test_a_run_of_one_step_is_at_the_start_of_a_drawn_curve() -> None:
    assert Schedule.drawn([(0, 0.3), (1, 0.9)]).weight(1.0, 1, 1) == 0.3


def test_the_papers_four() -> None:
    assert Strengths.pixel(0.1).at(0.7, 1, 9) == (0.1, 0.1)
    assert Strengths.low(0.1).at(0.7, 1, 9) == pytest.approx((0.07, 0))
    assert Strengths.high(0.1, levels=2).at(0.7, 1, 9) == pytest.approx((0, 0.03, 0.03))
    assert Strengths.double(0.1, -0.2).at(0.7, 1, 9) == pytest.approx((0.07, -0.06))
    assert Strengths().is_off
    assert not Strengths.high(1e-9).is_off


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), 10.5, pytest.param(10**5000, id="endless"), True, "0.1", None]
)
def test_strengths_that_are_no_usable_number_are_refused(value: object) -> None:
    with pytest.raises(InvalidRequest, match="A strength") as refusal:
        Strengths.low(value)  # type: ignore[arg-type]
    assert refusal.value.field == "correction"
    assert len(str(refusal.value)) < 200


def test_unknown_wavelets_are_refused_with_names_that_are_near() -> None:
    with pytest.raises(InvalidRequest, match=r"'sym44' is not a wavelet.*'sym4'"):
        Strengths.low(0.1, wavelet="sym44")
    with pytest.raises(InvalidRequest, match="'haar'"):
        Strengths.low(0.1, wavelet="Haar")


@pytest.mark.parametrize("wavelet", ["bior2.2", "rbio4.4", "mexh", "dmey"])
def test_wavelets_whose_bands_would_not_add_up_are_refused(wavelet: str) -> None:
    with pytest.raises(InvalidRequest, match="not orthogonal"):
        Strengths.low(0.1, wavelet=wavelet)


@pytest.mark.parametrize("levels", [0, 6, -1, 1.0, True, "2"])
def test_only_one_to_five_levels_are_taken(levels: object) -> None:
    with pytest.raises(InvalidRequest, match="levels run from 1 to 5"):
        Strengths.low(0.1, levels=levels)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"values": (0.1,)}, "2 bands, but there are 1 strengths"),
        ({"schedules": (SIGMA,) * 3}, "2 bands, but there are 3 schedules"),
        ({"values": 0.1}, "should be a list"),
        ({"variant": "inside step"}, "after step or before step"),
        ({"formula": 2}, "version 2"),
        ({"formula": True}, "version True"),
        ({"schedules": ("sigma", "cubic")}, "'cubic' is not a schedule"),
        ({"schedules": (SIGMA, 3)}, "should be an object"),
    ],
)
def test_strengths_that_do_not_fit_together_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        replace(Strengths(), **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kind": "first"}, "counts 1 to 1000"),
        ({"kind": "last", "steps": 0}, "counts 1 to 1000"),
        ({"kind": "last", "steps": 2.0}, "whole number"),
        ({"kind": "sigma", "steps": 3}, "takes none"),
        ({"kind": "sigma", "points": [[0, 1]]}, "takes none"),
        ({"kind": "points"}, "1 to 64 points"),
        ({"kind": "points", "points": [[0, 1]] * 65}, "1 to 64 points"),
        ({"kind": "points", "points": "01"}, "should be a list"),
        ({"kind": "points", "points": [[0.5, 1], [0.5, 2]]}, "go forward"),
        ({"kind": "points", "points": [[1.5, 1]]}, "progress of a point runs from 0 to 1"),
        ({"kind": "points", "points": [[0, float("nan")]]}, "weight of a point"),
        ({"kind": "points", "points": [[0, 1, 2]]}, "(progress, weight)"),
        ({}, "needs 'kind'"),
        ({"kind": "sigma", "speed": 1}, "no field 'speed'"),
        ({"kind": ["sigma"]}, "is not a schedule"),
    ],
)
def test_schedules_that_cannot_be_used_are_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        Schedule.from_dict(values)
    assert words in str(refusal.value)


@pytest.mark.parametrize("missing", ["formula", "variant", "wavelet", "levels", "bands"])
def test_half_a_correction_is_refused(missing: str) -> None:
    values = Strengths.low(0.1).to_dict()
    del values[missing]
    with pytest.raises(InvalidRequest, match=f"needs '{missing}'"):
        Strengths.from_dict(values)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"formula": 1, "formula": 1}',
        Strengths.low(0.1).to_json().replace("0.1", "NaN"),
        Strengths.low(0.1).to_json().replace("0.1", "1e999"),
        Strengths.low(0.1).to_json()[:-2],
        '{"a":' * 50 + "1" + "}" * 50,
        json.dumps({**Strengths.low(0.1).to_dict(), "extra": 1}),
        json.dumps({**Strengths.low(0.1).to_dict(), "bands": 3}),
        json.dumps({**Strengths.low(0.1).to_dict(), "bands": [{"strength": 0.1}] * 2}),
        json.dumps({**Strengths.low(0.1).to_dict(), "bands": [1] * 5000}),
    ],
)
def test_other_texts_are_refused_in_words(text: str) -> None:
    with pytest.raises(InvalidRequest):
        Strengths.from_json(text)


def test_schedules_are_known_by_their_names() -> None:
    for kind in KINDS[:3]:
        assert Schedule.from_dict(kind) == Schedule(kind)
    assert Strengths.low(0.1, Schedule.first(3)).schedules[0].steps == 3


def test_neither_torch_nor_pywavelets_is_loaded_for_a_usual_correction() -> None:
    program = (
        "import sys; from studio.diffusion.strengths import Strengths; "
        "Strengths.from_json(Strengths.double(0.1, 0.2).to_json()); "
        "print([name for name in ('torch', 'pywt', 'numpy') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
