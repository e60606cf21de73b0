"""Layers over layers: the vectors that the page's script is tested with too, and what must hold for any pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.imaging.compositing import Layer, flatten, over, paste
from studio.imaging.geometry import Extent

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "compositing.json").read_text())
byte = st.integers(0, 255)
pixel = st.tuples(byte, byte, byte, byte)


def one(value: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.array(value, np.uint8).reshape(1, 1, 4)


def noise(*shape: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("opacity", sorted({row[0] for row in VECTORS["over"]}))
def test_over_gives_the_numbers_of_the_formula(opacity: int) -> None:
    rows = [row[1:] for row in VECTORS["over"] if row[0] == opacity]
    bottom, top, result = (np.array([row[part] for row in rows], np.uint8) for part in range(3))
    np.testing.assert_array_equal(over(bottom, top, opacity), result)


@pytest.mark.parametrize("case", VECTORS["flatten"])
def test_layers_are_laid_from_bottom_to_top(case: dict[str, Any]) -> None:
    layers = [
        Layer(
            np.array(layer["pixels"], np.uint8).reshape(layer["height"], layer["width"], 4),
            layer["x"],
            layer["y"],
            layer["opacity"],
            layer["visible"],
        )
        for layer in case["layers"]
    ]
    flat = flatten(layers, Extent(case["width"], case["height"]))
    assert flat.shape == (case["height"], case["width"], 4)
    assert flat.ravel().tolist() == case["flat"]


@given(pixel, pixel)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_what_is_transparent_changes_nothing_that_is_seen(bottom: Any, top: Any) -> None:
    unseen = one((*top[:3], 0))
    seen = one(bottom if bottom[3] else (0, 0, 0, 0))
    np.testing.assert_array_equal(over(one(bottom), unseen), seen)
    np.testing.assert_array_equal(over(one(bottom), one(top), 0), seen)


@given(pixel, pixel)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_what_is_opaque_replaces_what_is_below(bottom: Any, top: Any) -> None:
    solid = one((*top[:3], 255))
    np.testing.assert_array_equal(over(one(bottom), solid), solid)


@given(pixel, pixel, st.integers(0, 100))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_mixture_lies_between_and_covers_no_less(bottom: Any, top: Any, opacity: int) -> None:
    result = over(one(bottom), one(top), opacity)[0, 0].astype(int)
    assert result[3] >= bottom[3]
    if bottom[3] and top[3]:
        for channel in range(3):
            assert min(bottom[channel], top[channel]) <= result[channel] <= max(bottom[channel], top[channel])


def test_large_pictures_are_worked_on_in_pieces_alike() -> None:
    bottom, top = noise(700, 800, 4), noise(700, 800, 4, seed=1)
    whole = over(bottom, top, 37)
    for row in (0, 327, 328, 699):  # around the end of the first piece
        np.testing.assert_array_equal(over(bottom[row], top[row], 37), whole[row])
    layers = [Layer(bottom), Layer(top[:690], 3, 5, 37)]
    np.testing.assert_array_equal(
        flatten(layers, Extent(800, 700))[5:695, 3:],
        over(over(np.zeros_like(bottom), bottom)[5:695, 3:], top[:690, :797], 37),
    )


def test_the_arguments_are_left_as_they_were() -> None:
    bottom, top = noise(4, 5, 4), noise(4, 5, 4, seed=1)
    kept = bottom.copy(), top.copy()
    over(bottom, top)
    paste(bottom, top, 1, 1)
    flatten([Layer(bottom), Layer(top)], Extent(5, 4))
    np.testing.assert_array_equal(bottom, kept[0])
    np.testing.assert_array_equal(top, kept[1])


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(("x", "y"), [(2, 3), (-2, -1), (7, 6), (20, 0), (0, -9)])
def test_pasting_touches_only_where_the_piece_is(channels: int, x: int, y: int) -> None:
    picture, piece = noise(8, 9, channels), noise(4, 5, 4, seed=1)
    piece[1:3, 1:4, 3] = 0
    pasted = paste(picture, piece, x, y)
    assert pasted.shape == picture.shape
    for row in range(8):
        for column in range(9):
            inside = 0 <= row - y < 4 and 0 <= column - x < 5
            if inside and piece[row - y, column - x, 3]:
                below = picture[row, column].tolist() + ([255] if channels == 3 else [])
                expected = over(one(below), one(piece[row - y, column - x]))[0, 0]
                assert pasted[row, column].tolist() == expected[:channels].tolist()
            else:
                assert pasted[row, column].tolist() == picture[row, column].tolist()


def test_a_faint_piece_leaves_hidden_colours_alone_where_it_rounds_to_nothing() -> None:
    picture = one((9, 8, 7, 0))
    np.testing.assert_array_equal(paste(picture, one((200, 200, 200, 1)), 0, 0, 40), picture)


def test_the_faintest_piece_that_acts_is_seen() -> None:
    assert paste(one((255, 255, 255, 255)), one((0, 0, 0, 1)), 0, 0)[0, 0].tolist() == [254, 254, 254, 255]


def test_hidden_layers_are_left_out() -> None:
    below, above = Layer(one((1, 2, 3, 255))), Layer(one((9, 9, 9, 255)), visible=False)
    assert flatten([below, above], Extent(1, 1))[0, 0].tolist() == [1, 2, 3, 255]


def test_what_cannot_be_laid_over_each_other_is_refused() -> None:
    good = noise(2, 2, 4)
    with pytest.raises(ValueError, match="do not lie over"):
        over(good, noise(2, 3, 4))
    for bad in (noise(2, 2, 3), good.astype(np.float32)):
        with pytest.raises(ValueError, match="uint8"):
            over(good, bad)
        with pytest.raises(ValueError, match="uint8"):
            flatten([Layer(bad)], Extent(2, 2))
    with pytest.raises(ValueError, match="uint8"):
        paste(noise(2, 2), good, 0, 0)
    for opacity in (-1, 101):
        with pytest.raises(ValueError, match="0 to 100 percent"):
            over(good, good, opacity)
