"""Holes filled before a model paints there: known pixels stay, and each way does what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from studio.imaging import prefill
from studio.imaging.membrane import stretched
from studio.imaging.prefill import GREY, WAYS, prefilled

shapes = st.tuples(st.integers(1, 20), st.integers(1, 20))


def pictures_with_holes() -> Any:
    return shapes.flatmap(
        lambda shape: st.tuples(
            arrays.arrays(np.uint8, (*shape, 3)),
            arrays.arrays(np.uint8, shape, elements=st.sampled_from([0, 64, 255])),
        )
    )


def ramp(side: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    y, x = np.indices((side, side))
    return np.stack([x * 255 // side, y * 255 // side, (x + y) * 127 // side], axis=2).astype(np.uint8)


def disc(side: int, radius: float) -> np.ndarray[Any, np.dtype[np.uint8]]:
    y, x = np.indices((side, side))
    return (((x - side / 2) ** 2 + (y - side / 2) ** 2 < radius**2) * 255).astype(np.uint8)


@pytest.mark.parametrize("way", WAYS)
@given(case=pictures_with_holes(), seed=st.integers(0, 3))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_known_pixels_stay_and_the_same_arguments_give_the_same_pixels(way: str, case: Any, seed: int) -> None:
    colours, hole = case
    kept = colours.copy(), hole.copy()
    filled = prefilled(colours, hole, way, seed)
    assert filled.dtype == np.uint8
    assert filled.shape == colours.shape
    np.testing.assert_array_equal(filled[hole == 0], colours[hole == 0])
    np.testing.assert_array_equal(prefilled(colours, hole, way, seed), filled)
    np.testing.assert_array_equal(colours, kept[0])
    np.testing.assert_array_equal(hole, kept[1])


@pytest.mark.parametrize("way", ["blur", "inpaint", "edge"])
@pytest.mark.parametrize("side", [3, 64, 521])
def test_one_colour_goes_on_as_it_is(way: str, side: int) -> None:
    plain = np.full((side, side, 3), (13, 200, 77), np.uint8)
    dirty = plain.copy()
    hole = disc(side, side / 3)
    dirty[hole > 0] = 255
    assert np.abs(prefilled(dirty, hole, way).astype(int) - plain).max() <= 1


@pytest.mark.parametrize(("way", "off"), [("blur", 1), ("inpaint", 14), ("edge", 30)])
def test_a_gradient_goes_on_about_as_well_as_the_way_can(way: str, off: int) -> None:
    picture, hole = ramp(128), disc(128, 40)
    dirty = np.where(hole[..., None] > 0, 0, picture).astype(np.uint8)
    assert np.abs(prefilled(dirty, hole, way).astype(int) - picture)[hole > 0].mean() <= off


def test_what_is_in_the_hole_does_not_shine_through() -> None:
    picture, hole = ramp(64), disc(64, 20)
    for way in ("blur", "inpaint", "edge", "noise"):
        black, white = (np.where(hole[..., None] > 0, level, picture).astype(np.uint8) for level in (0, 255))
        np.testing.assert_array_equal(prefilled(black, hole, way, 1), prefilled(white, hole, way, 1))


def test_the_nearest_colour_is_the_nearest() -> None:
    row = np.array([[[10] * 3, [0] * 3, [0] * 3, [0] * 3, [0] * 3, [90] * 3]], np.uint8)
    hole = np.array([[0, 255, 255, 255, 255, 0]], np.uint8)
    assert prefilled(row, hole, "edge")[0, :, 0].tolist() == [10, 10, 10, 90, 90, 90]


def test_noise_has_the_mean_and_covariance_of_what_is_known() -> None:
    random = np.random.default_rng(2)
    mixing = np.array([[20, 0, 0], [12, 10, 0], [-6, 5, 8]])
    known = np.clip(random.standard_normal((128, 128, 3)) @ mixing.T + (120, 100, 140), 0, 255).astype(np.uint8)
    hole = np.zeros((128, 128), np.uint8)
    hole[:, 64:] = 255
    drawn = prefilled(known, hole, "noise", 5)[:, 64:].reshape(-1, 3).astype(float)
    seen = known[:, :64].reshape(-1, 3).astype(float)
    # 8,192 draws: the mean is good to 25 / sqrt(8192) = 0.3, a variance to 1.6 percent; the bounds are four of these
    np.testing.assert_allclose(drawn.mean(axis=0), seen.mean(axis=0), atol=1.2)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(seen.T), atol=0.064 * 400)
    assert (prefilled(known, hole, "noise", 6)[:, 64:] != prefilled(known, hole, "noise", 5)[:, 64:]).any()


def test_where_nothing_is_known_there_is_grey() -> None:
    colours, hole = ramp(16), np.full((16, 16), 255, np.uint8)
    for way in ("blur", "inpaint", "edge"):
        assert (prefilled(colours, hole, way) == GREY).all()
    noise = prefilled(colours, hole, "noise")
    assert abs(float(noise.mean()) - GREY) < 8
    np.testing.assert_array_equal(prefilled(colours, hole, "none"), colours)


def test_a_soft_hole_mixes() -> None:
    row = np.array([[[0] * 3, [200] * 3, [200] * 3, [200] * 3]], np.uint8)
    mixed = prefilled(row, np.array([[0, 15, 72, 128]], np.uint8), "edge")[0, :, 0].tolist()
    assert mixed == [0, 200, 200, 200]  # 15 is known, and what 72 and 128 take is its colour
    mixed = prefilled(row, np.array([[0, 72, 128, 255]], np.uint8), "edge")[0, :, 0].tolist()
    assert mixed == [0, 100, 0, 0]


def test_a_faint_mask_over_everything_changes_nothing() -> None:
    colours = ramp(16)
    for way in WAYS:
        np.testing.assert_array_equal(prefilled(colours, np.full((16, 16), 15, np.uint8), way), colours)


def test_a_large_hole_is_inpainted_on_a_reduced_copy_and_meets_its_rim() -> None:
    picture = ramp(700)
    hole = np.zeros((700, 700), np.uint8)
    hole[100:600, 150:650] = 255  # 250,000 pixels
    filled = prefilled(np.where(hole[..., None] > 0, 0, picture).astype(np.uint8), hole, "inpaint").astype(int)
    rim = np.abs(filled[99, 150:650] - filled[100, 150:650])
    assert rim.max() <= 4
    assert np.abs(filled - picture)[hole > 0].mean() <= 20


def test_what_a_reduced_copy_blurs_is_there_again_at_the_rim(monkeypatch: pytest.MonkeyPatch) -> None:
    stripes = np.zeros((200, 200, 3), np.uint8)
    stripes[:, ::4] = stripes[:, 1::4] = 160
    hole = np.zeros((200, 200), np.uint8)
    hole[20:180, 20:180] = 255
    monkeypatch.setattr(prefill, "_INPAINT_LIMIT", 2000)  # a third of the size, on which the stripes are grey
    filled = prefilled(stripes, hole, "inpaint").astype(int)
    inside, outside = filled[20, 40:160, 0], filled[19, 40:160, 0]
    assert np.corrcoef(inside, outside)[0, 1] > 0.7


@pytest.mark.parametrize(
    ("colours", "hole", "way"),
    [
        (ramp(4), np.zeros((4, 4), np.uint8), "magic"),
        (ramp(4), np.zeros((4, 5), np.uint8), "blur"),
        (ramp(4)[..., :2], np.zeros((4, 4), np.uint8), "blur"),
        (ramp(4).astype(float), np.zeros((4, 4), np.uint8), "blur"),
    ],
)
def test_what_cannot_be_filled_is_refused(colours: Any, hole: Any, way: str) -> None:
    with pytest.raises(ValueError, match=r"filled by|Colours are"):
        prefilled(colours, hole, way)


@pytest.mark.parametrize("side", [16, 33, 128, 300])
def test_a_membrane_is_harmonic(side: int) -> None:
    """x, y and x² - y² solve Laplace's equation: the surface over a hole in them is they themselves."""
    y, x = np.indices((side, side)) / side
    truth = np.stack([x, y, x * x - y * y], axis=2).astype(np.float32)
    known = (x - 0.5) ** 2 + (y - 0.45) ** 2 > 0.35**2
    surface = stretched(np.where(known[..., None], truth, 7), known)
    np.testing.assert_array_equal(surface[known], truth[known])
    assert np.abs(surface - truth).max() < 0.012  # of a range of 1: coarse to fine, and no iteration to the end


def test_a_membrane_lies_between_what_holds_it() -> None:
    random = np.random.default_rng(1)
    values = random.random((37, 51, 2)).astype(np.float32)
    known = random.random((37, 51)) < 0.05
    surface = stretched(values, known)
    for channel in range(2):
        held = values[..., channel][known]
        assert held.min() - 1e-5 <= surface[..., channel].min()
        assert surface[..., channel].max() <= held.max() + 1e-5


def test_a_membrane_that_nothing_holds_is_flat() -> None:
    assert (stretched(np.ones((6, 7, 3), np.float32), np.zeros((6, 7), bool)) == 0).all()
