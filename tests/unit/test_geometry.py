from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.imaging.geometry import Bounds, Extent

sides = st.integers(1, 5000)
bounds = st.builds(Bounds, st.integers(0, 9), st.integers(0, 9), st.integers(1, 9), st.integers(1, 9))


def pixels_of(rectangle: Bounds) -> set[tuple[int, int]]:
    rows, columns = range(rectangle.y, rectangle.bottom), range(rectangle.x, rectangle.right)
    return {(x, y) for x in columns for y in rows}


@given(sides, sides, st.integers(1, 600))
def test_a_fitted_extent_keeps_its_shape_and_never_grows(width: int, height: int, longest: int) -> None:
    extent = Extent(width, height)
    fitted = extent.fitted(longest)
    assert max(fitted.width, fitted.height) == min(longest, max(width, height))
    scale = max(fitted.width, fitted.height) / max(width, height)
    assert abs(fitted.width - width * scale) <= 0.5 or fitted.width == 1
    assert abs(fitted.height - height * scale) <= 0.5 or fitted.height == 1


@given(bounds, bounds)
def test_an_intersection_is_what_both_rectangles_cover(one: Bounds, other: Bounds) -> None:
    both = one.intersection(other)
    assert (pixels_of(both) if both else set()) == pixels_of(one) & pixels_of(other)
    assert other.intersection(one) == both


def test_bounds_index_rows_first() -> None:
    rectangle = Bounds(3, 5, 10, 20)
    assert rectangle.slices == (slice(5, 25), slice(3, 13))
    assert rectangle.extent == Extent(10, 20)
    assert rectangle.extent.area == 200


@pytest.mark.parametrize("sides", [(0, 4), (4, 0), (-1, 4)])
def test_empty_extents_and_rectangles_are_refused(sides: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1 pixel"):
        Extent(*sides)
    with pytest.raises(ValueError, match="at least 1 pixel"):
        Bounds(0, 0, *sides)


def test_bounds_outside_of_the_picture_give_no_slices() -> None:
    with pytest.raises(ValueError, match="reaches out"):
        _ = Bounds(-1, 0, 4, 4).slices
