"""What a model sees: the vectors that the page's script is tested with too, and what must hold for any mask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.imaging.context import context_around, working_size
from studio.imaging.geometry import Bounds, Extent

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "context.json").read_text())["cases"]
SQUARE = Extent(1024, 1024)


@st.composite
def masks_in_pictures(draw: Any) -> tuple[Bounds, Extent]:
    picture = Extent(draw(st.integers(1, 4096)), draw(st.integers(1, 4096)))
    width, height = draw(st.integers(1, picture.width)), draw(st.integers(1, picture.height))
    x, y = draw(st.integers(0, picture.width - width)), draw(st.integers(0, picture.height - height))
    return Bounds(x, y, width, height), picture


def test_contexts_are_what_the_rule_says() -> None:
    for case in VECTORS:
        found = context_around(
            Bounds(**case["mask"]),
            Extent(**case["picture"]),
            Extent(**case["best"]),
            case["margin"],
            Bounds(**case["chosen"]) if case["chosen"] else None,
        )
        assert found.frame == Bounds(**case["frame"]), case
        assert found.working == Extent(**case["working"]), case


@given(masks_in_pictures(), st.sampled_from([128, 512, 1024]), st.one_of(st.none(), st.integers(0, 300)))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_a_frame_holds_the_mask_and_lies_in_the_picture(
    given_case: tuple[Bounds, Extent], side: int, margin: int | None
) -> None:
    mask, picture = given_case
    context = context_around(mask, picture, Extent(side, side), margin)
    whole = Bounds(0, 0, picture.width, picture.height)
    assert context.frame.intersection(whole) == context.frame
    assert context.frame.intersection(mask) == mask
    for length in (context.working.width, context.working.height):
        assert length % 16 == 0
        assert 64 <= length <= 2048


@given(masks_in_pictures(), st.sampled_from([128, 512, 1024]))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_where_the_picture_is_large_enough_nothing_is_slim_or_stretched(
    given_case: tuple[Bounds, Extent], side: int
) -> None:
    mask, _ = given_case
    context = context_around(mask, Extent(9000, 9000), Extent(side, side))
    frame, working = context.frame, context.working
    assert max(frame.width, frame.height) <= 2.2 * min(frame.width, frame.height)
    assert 0.75 * side * side <= working.area <= 1.3 * side * side
    # the same scale in both directions, to within the pixel that rounding takes
    assert abs(frame.width * working.height - frame.height * working.width) <= max(working.width, working.height)
    # enlarged at most twofold, up to the rounding to multiples of 16
    assert working.width <= 2 * frame.width + 16


def test_a_picture_about_as_large_as_the_model_paints_is_seen_whole() -> None:
    mask, best = Bounds(5, 5, 9, 9), Extent(128, 128)
    assert context_around(mask, Extent(192, 192), best).frame == Bounds(0, 0, 192, 192)
    assert context_around(mask, Extent(200, 192), best).frame == Bounds(0, 0, 64, 64)
    assert context_around(mask, Extent(192, 192), best, 10).frame == Bounds(0, 0, 24, 24)
    assert context_around(mask, Extent(64, 300), best).frame == Bounds(0, 0, 64, 64)  # slim


def test_a_margin_is_room_on_each_side() -> None:
    context = context_around(Bounds(500, 400, 300, 300), Extent(2000, 2000), SQUARE, 50)
    assert context.frame == Bounds(450, 350, 400, 400)
    assert context.working == SQUARE


def test_a_small_mask_is_seen_with_what_is_around_it() -> None:
    context = context_around(Bounds(1000, 1000, 20, 20), Extent(4096, 4096), SQUARE)
    assert context.frame == Bounds(754, 754, 512, 512)


def test_at_a_border_the_frame_moves_into_the_picture() -> None:
    context = context_around(Bounds(0, 4090, 6, 6), Extent(4096, 4096), SQUARE)
    assert context.frame == Bounds(0, 3584, 512, 512)


def test_a_long_thin_mask_gets_a_squarer_frame() -> None:
    context = context_around(Bounds(500, 500, 1980, 4), Extent(3000, 2000), SQUARE, 10)
    assert context.working == Extent(1456, 720)  # 2000 × 1000 at this area is 1448.2 × 724.1
    assert context.frame == Bounds(479, 2, 2023, 1000)  # ... so a little wider than 2000


def test_the_whole_of_a_picture_of_the_best_size_is_worked_on_as_it_is() -> None:
    context = context_around(Bounds(0, 0, 512, 512), Extent(512, 512), Extent(512, 512))
    assert context.frame == Bounds(0, 0, 512, 512)
    assert context.working == Extent(512, 512)


def test_a_chosen_frame_is_taken_as_it_is_but_never_without_the_mask() -> None:
    mask, picture = Bounds(10, 10, 50, 50), Extent(300, 200)
    assert context_around(mask, picture, SQUARE, None, Bounds(0, 0, 90, 80)).frame == Bounds(0, 0, 90, 80)
    assert context_around(mask, picture, SQUARE, None, Bounds(40, 40, 90, 80)).frame == Bounds(10, 10, 120, 110)
    assert context_around(mask, picture, SQUARE, None, Bounds(500, 40, 90, 80)).frame == mask


def test_extreme_shapes_have_a_working_size_too() -> None:
    assert working_size(Extent(4096, 1), SQUARE) == Extent(2048, 64)
    assert working_size(Extent(1, 1), Extent(128, 128)) == Extent(128, 128)


def test_wrong_values_are_refused() -> None:
    with pytest.raises(ValueError, match="reach out"):
        context_around(Bounds(0, 0, 10, 11), Extent(10, 10), SQUARE)
    with pytest.raises(ValueError, match="margin"):
        context_around(Bounds(0, 0, 1, 1), Extent(10, 10), SQUARE, -1)
