"""A document as one picture: tiles of layers at any place come to what whole layers over each other come to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from document_room import DocumentRoom, room

from studio.errors import StudioError, UnreadablePicture
from studio.imaging import compositing
from studio.imaging.geometry import Extent
from studio.imaging.plain_png import write_plain
from studio.project.document_values import Layer, State
from studio.project.flattening import flat, layers_of, mask_pixels, state_of_picture

RANDOM = np.random.default_rng(7)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[DocumentRoom]:
    with room(tmp_path) as found:
        yield found


def _layer(
    made: DocumentRoom,
    number: int,
    x: int,
    y: int,
    places: list[tuple[int, int]],
    opacity: int = 100,
    visible: bool = True,
) -> Layer:
    tiles = {}
    for place in places:
        tile = RANDOM.integers(0, 256, (256, 256, 4), dtype=np.uint8)
        tile[..., 3] = RANDOM.choice([0, 1, 128, 254, 255], (256, 256))
        tiles[place] = made.pixels.add("me", write_plain(tile, 1))[0]
    return Layer(f"l{number}", f"Layer {number}", "paint", x, y, visible, opacity, tiles)


def _state(made: DocumentRoom) -> State:
    return State(
        300,
        280,
        (
            _layer(made, 0, 0, 0, [(0, 0), (1, 0), (0, 1), (1, 1)]),
            _layer(made, 1, -300, 17, [(1, 0)], opacity=37),
            _layer(made, 2, 5, 5, [(0, 0)], visible=False),
            _layer(made, 3, 100, -90, [(-1, 0), (1, 1)], opacity=63),
            _layer(made, 4, 9000, 0, [(0, 0)]),
            _layer(made, 5, 0, 0, []),
        ),
    )


def test_tiles_come_to_what_whole_layers_come_to(made: DocumentRoom) -> None:
    state = _state(made)
    expected = np.zeros((280, 300, 4), np.uint8)
    for layer in state.layers:
        if not layer.visible:
            continue
        canvas = np.zeros((2000, 2000, 4), np.uint8)  # the document lies at 500, 500 of it
        for (column, row), pixels_id in layer.tiles.items():
            x, y = 500 + layer.x + column * 256, 500 + layer.y + row * 256
            if x < 1700:
                canvas[y : y + 256, x : x + 256] = made.pixels.pixels("me", pixels_id)
        expected = compositing.over(expected, canvas[500:780, 500:800], layer.opacity)
    assert np.array_equal(flat(state, made.pixels, "me"), expected)
    pieces = layers_of(state, made.pixels, "me")
    assert np.array_equal(compositing.flatten(pieces, Extent(300, 280)), expected)
    assert [piece.name for piece in pieces] == [layer.name for layer in state.layers]
    assert pieces[0].pixels.shape == (512, 512, 4)
    assert (pieces[3].x, pieces[3].y, pieces[3].pixels.shape) == (-156, -90, (512, 768, 4))


def test_scattered_tiles_do_not_fill_the_memory(made: DocumentRoom) -> None:
    layer = _layer(made, 0, 0, 0, [(-128, -128), (0, 0), (127, 127)])
    state = State(300, 280, (layer,))
    (piece,) = layers_of(state, made.pixels, "me")
    assert (piece.x, piece.y, piece.pixels.shape) == (0, 0, (280, 300, 4))
    assert np.array_equal(compositing.flatten([piece], Extent(300, 280)), flat(state, made.pixels, "me"))


def test_a_mask_is_its_tiles_and_zero_elsewhere(made: DocumentRoom) -> None:
    tile = RANDOM.integers(0, 256, (256, 256), dtype=np.uint8)
    mask = mask_pixels({(1, 0): made.pixels.add("me", write_plain(tile))[0]}, State(300, 280), made.pixels, "me")
    assert np.array_equal(mask[:256, 256:], tile[:, :44])
    assert not mask[:, :256].any()
    assert not mask[256:].any()


@pytest.mark.parametrize("shape", [(1, 1, 3), (256, 256, 4), (257, 300, 3), (70, 600, 4)], ids=str)
def test_a_picture_becomes_a_document_of_the_same_pixels(made: DocumentRoom, shape: tuple[int, int, int]) -> None:
    picture = RANDOM.integers(0, 256, shape, dtype=np.uint8)
    if shape[2] == 4:
        picture[:, :, 3] = np.maximum(picture[:, :, 3], 1)
        picture[:, : shape[1] // 2] = 0
    state = state_of_picture(picture, "Boat\n", made.pixels, "me")
    assert (state.width, state.height, state.layers[0].name) == (shape[1], shape[0], "Boat")
    result = flat(state, made.pixels, "me")
    assert np.array_equal(result[..., : shape[2]], picture)
    assert shape[2] == 4 or (result[..., 3] == 255).all()


def test_what_cannot_be_is_said(made: DocumentRoom) -> None:
    with pytest.raises(UnreadablePicture, match="4096"):
        state_of_picture(np.zeros((1, 4097, 3), np.uint8), "", made.pixels, "me")
    state = State(9, 9, (Layer("a", "", "paint", 0, 0, True, 100, {(0, 0): "0" * 32}),))
    with pytest.raises(StudioError, match="missing"):
        flat(state, made.pixels, "me")
