"""Masks: the vectors that the page's script is tested with too, exact distances, and what must hold for any mask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from studio.imaging import masks
from studio.imaging.geometry import Bounds
from studio.imaging.masks import REACH, effective, feathered, grown, mask_of, squared_distances

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "masks.json").read_text())["cases"]
any_mask = arrays.arrays(
    np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.sampled_from([0, 0, 1, 127, 128, 255])
)


def brute(targets: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Squared distances to the nearest target, by looking at all of them."""
    rows, columns = np.nonzero(targets)
    y, x = np.indices(targets.shape)
    squares = (y[..., None] - rows) ** 2 + (x[..., None] - columns) ** 2
    return squares.min(axis=-1)


@pytest.mark.parametrize("kind", sorted({case["kind"] for case in VECTORS}))
def test_masks_become_what_the_rule_says(kind: str) -> None:
    for case in VECTORS:
        if case["kind"] != kind:
            continue
        mask = np.array(case["mask"], np.uint8).reshape(case["height"], case["width"])
        result = effective(mask, case["grow"], case["feather"])
        assert result.dtype == np.uint8
        assert result.ravel().tolist() == case["effective"], (case["grow"], case["feather"])
        assert masks.area(result) == case["area"]
        assert masks.bounds(result) == (Bounds(**case["bounds"]) if case["bounds"] else None)


@pytest.mark.parametrize("count", [1, 3, 40])
def test_distances_are_exact_up_to_the_reach(count: int) -> None:
    random = np.random.default_rng(count)
    targets = np.zeros((70, 400), bool)
    targets[random.integers(0, 70, count), random.integers(0, 400, count)] = True
    true = brute(targets)
    for reach in (1, 17, REACH):
        squares = squared_distances(targets, reach)
        near = true <= reach * reach
        np.testing.assert_array_equal(squares[near], true[near])
        assert (squares[~near] > reach * reach).all()


@pytest.mark.parametrize("shape", [(3, 2100), (2100, 3)])
def test_distances_are_exact_across_the_pieces_of_a_large_picture(shape: tuple[int, int]) -> None:
    targets = np.zeros(shape, bool)
    for place in (300, 305, 1023, 1031, 1600):
        targets[(place, 1) if shape[0] > shape[1] else (1, place)] = True
    true = brute(targets)
    squares = squared_distances(targets)
    near = true <= REACH * REACH
    assert 0 < near.sum() < near.size
    np.testing.assert_array_equal(squares[near], true[near])
    assert (squares[~near] > REACH * REACH).all()


@pytest.mark.parametrize("turned", [False, True])
def test_a_target_as_far_as_the_reach_is_seen_across_two_pieces(turned: bool) -> None:
    targets = np.zeros((3, 1400), bool)
    targets[1, [768, 1290]] = True  # 1024 - 256, and 10 beyond 1023 + 256
    squares = squared_distances(targets.T).T if turned else squared_distances(targets)
    assert squares[1, 1024] == REACH * REACH
    assert squares[1, 1034] == REACH * REACH
    assert squares[1, 1033] > REACH * REACH


def test_nobody_is_near_where_there_is_no_target() -> None:
    assert (squared_distances(np.zeros((4, 5), bool), 7) > 49).all()


@given(any_mask, st.integers(0, 5))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_shrinking_a_mask_is_growing_what_it_leaves_out(mask: Any, pixels: int) -> None:
    hard = grown(mask, 1) if pixels else np.where(mask >= 128, 255, 0).astype(np.uint8)
    np.testing.assert_array_equal(grown(hard, -pixels), 255 - grown(255 - hard, pixels))


@given(any_mask, st.integers(1, 6), st.integers(0, 9))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_feathering_never_adds(mask: Any, grow: int, feather: int) -> None:
    wide = grown(mask, grow)
    soft = effective(mask, grow, feather)
    assert (soft <= wide).all()
    np.testing.assert_array_equal(feathered(mask, 0), mask)
    np.testing.assert_array_equal(feathered(mask, 1), mask)  # every pixel inside is at least 1 from the nearest 0


def test_growing_a_point_makes_a_disc() -> None:
    mask = np.zeros((41, 41), np.uint8)
    mask[20, 20] = 200
    y, x = np.indices(mask.shape)
    np.testing.assert_array_equal(grown(mask, 13) > 0, (x - 20) ** 2 + (y - 20) ** 2 <= 169)


def test_the_pictures_border_neither_shrinks_nor_softens_a_mask() -> None:
    full = np.full((6, 9), 255, np.uint8)
    np.testing.assert_array_equal(effective(full, -5, 0), full)
    np.testing.assert_array_equal(effective(full, 0, 200), full)
    half = full.copy()
    half[:, 6:] = 0
    soft = effective(half, -2, 3)
    assert (soft == soft[0]).all()  # the rows at the border are like those in the middle
    assert soft[0].tolist() == [255, 255, 189, 66, 0, 0, 0, 0, 0]  # smoothstep of 2/3 and 1/3


def test_the_arguments_are_left_as_they_were() -> None:
    mask = np.random.default_rng(0).integers(0, 256, (9, 9), dtype=np.uint8)
    kept = mask.copy()
    for grow, feather in ((0, 0), (2, 3), (-1, 0)):
        effective(mask, grow, feather)[:] = 7
    np.testing.assert_array_equal(mask, kept)


@pytest.mark.parametrize("pixels", [REACH + 1, -REACH - 1])
def test_beyond_the_reach_is_refused(pixels: int) -> None:
    mask = np.zeros((2, 2), np.uint8)
    with pytest.raises(ValueError, match="256"):
        grown(mask, pixels)
    with pytest.raises(ValueError, match="256"):
        feathered(mask, pixels)
    with pytest.raises(ValueError, match="256"):
        squared_distances(mask > 0, pixels)


@pytest.mark.parametrize("bad", [np.zeros((2, 2, 1), np.uint8), np.zeros((2, 2), np.float32)])
def test_what_is_no_mask_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="uint8"):
        grown(bad, 0)
    with pytest.raises(ValueError, match="uint8"):
        feathered(bad, 1)


def test_a_picture_is_a_mask_by_its_transparency_or_else_its_brightness() -> None:
    greys = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    np.testing.assert_array_equal(mask_of(greys)[0], np.arange(256))
    for alpha in (255, 128, 0):
        uniform = np.concatenate([greys, np.full((1, 256, 1), alpha, np.uint8)], axis=2)
        np.testing.assert_array_equal(mask_of(uniform)[0], np.arange(256))
    varying = np.concatenate([greys, greys[:, ::-1, :1]], axis=2)
    np.testing.assert_array_equal(mask_of(varying)[0], np.arange(255, -1, -1))
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    assert mask_of(colours)[0].tolist() == [54, 182, 19, 255]
