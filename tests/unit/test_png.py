"""Our own PNGs: lossless, the same bytes each time, with their text inside."""

from __future__ import annotations

import io
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from studio.imaging.png import MAX_TEXT, REQUEST_KEY, read_picture, read_png_text, write_png


def noise(*shape: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("shape", [(1, 1, 3), (48, 64, 3), (31, 7, 4)])
def test_pixels_come_back_as_they_were(shape: tuple[int, ...]) -> None:
    pixels = noise(*shape)
    data = write_png(pixels, {REQUEST_KEY: "{}"})
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)
    np.testing.assert_array_equal(read_picture(data), pixels)


def test_the_same_picture_and_text_give_the_same_bytes() -> None:
    pixels = noise(32, 32, 3)
    text = {REQUEST_KEY: '{"prompt": "a lake"}', "Software": "wavebrush"}
    first = write_png(pixels, text)
    assert write_png(pixels.copy(), dict(text)) == first
    assert write_png(np.asfortranarray(pixels), text) == first
    assert write_png(pixels, {**text, "Software": "other"}) != first


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200))
@settings(max_examples=100, deadline=None)
def test_text_in_any_script_comes_back_as_it_was(text: str) -> None:
    assert read_png_text(write_png(noise(1, 1, 3), {REQUEST_KEY: text})) == {REQUEST_KEY: text}


def test_text_is_an_itxt_chunk_that_other_programs_read() -> None:
    data = write_png(noise(4, 4, 3), {REQUEST_KEY: "møte 🌊"})
    assert b"iTXt" + REQUEST_KEY.encode() in data
    assert Image.open(io.BytesIO(data)).info[REQUEST_KEY] == "møte 🌊"


def test_no_text_is_no_text() -> None:
    assert read_png_text(write_png(noise(4, 4, 3))) == {}


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.float32),
    ],
)
def test_arrays_that_are_no_pixels_are_refused(pixels: Any) -> None:
    with pytest.raises(ValueError, match="uint8"):
        write_png(pixels)


@pytest.mark.parametrize("key", ["", "x" * 80, " lead", "trail ", "two  spaces", "new\nline", "снег", "\xa0", "\x7f"])
def test_keys_that_png_does_not_allow_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match="cannot be a key"):
        write_png(noise(1, 1, 3), {key: "text"})


@pytest.mark.parametrize("text", ["a\0b", "x" * MAX_TEXT])
def test_text_that_would_not_be_read_back_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cannot be kept"):
        write_png(noise(1, 1, 3), {REQUEST_KEY: text})


def test_a_smooth_picture_is_packed_well() -> None:
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (256, 256, 3)).copy()
    assert len(write_png(ramp)) < len(zlib.compress(ramp.tobytes(), 9))
