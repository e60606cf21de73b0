"""A document's state as one picture: its tiles over each other, exactly as the page shows them."""

from __future__ import annotations

import contextlib
import functools
import io
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image

from studio.errors import StudioError, UnreadablePicture
from studio.imaging import compositing
from studio.imaging.geometry import Bounds, Extent
from studio.imaging.plain_png import MAX_SIDE, Pixels, write_plain
from studio.project.document_values import TILE, Layer, State, Tiles
from studio.project.pixels_store import PixelStore

SPREAD = 2 * MAX_SIDE**2  # pixels between the outermost tiles of a layer that is written whole
LAYERS_LIMIT = 1024**3  # bytes of all layers unpacked
ASK = 0.25  # seconds after which whoever waits for a turn is asked whether it is still wanted
TILES_HELD = 64  # that are unpacked at once: one tile may stand in very many places

_LAYERED = threading.Lock()
_Reader = Callable[[str], Pixels]
_Gone = Callable[[], bool]


class NobodyWaits(StudioError):
    """Whoever asked for a picture has gone before it was done."""


def flat(state: State, pixels: PixelStore, owner: str, gone: _Gone | None = None) -> Pixels:
    """uint8 (H, W, 4): all visible layers.

    Raises StudioError if pixels were lost from the disk, and NobodyWaits as soon as `gone` says so, which is asked
    before every tile.
    """
    read = _reader(pixels, owner, gone)
    pieces = (piece for layer in state.layers if layer.visible for piece in _pieces(layer, state, read))
    return compositing.flatten(pieces, Extent(state.width, state.height))


@contextlib.contextmanager
def layers_turn(gone: _Gone | None = None) -> Iterator[None]:
    """Layers are unpacked and written for one person at a time: they take much memory. Others wait.

    Raises NobodyWaits as soon as `gone` says so while it waits.
    """
    while not _LAYERED.acquire(timeout=ASK):
        _check_wanted(gone)
    try:
        _check_wanted(gone)
        yield
    finally:
        _LAYERED.release()


def layers_of(state: State, pixels: PixelStore, owner: str, gone: _Gone | None = None) -> list[compositing.Layer]:
    """Every layer as one piece, from the bottom to the top, just large enough for its tiles. Raises as `flat` does.

    What lies outside of the document is there, too, unless it is far away. Raises StudioError, before anything is
    unpacked, for very many layers. To be called, and its result used, inside `layers_turn()`.
    """
    places = [_place(layer, state) for layer in state.layers]
    if sum(4 * place.width * place.height for place in places) > LAYERS_LIMIT:
        raise StudioError(
            f"The layers of this document are more than {LAYERS_LIMIT >> 30} GB unpacked: too much for one file. "
            "Merge some of them first."
        )
    read = _reader(pixels, owner, gone)
    return [_whole(layer, place, read) for layer, place in zip(state.layers, places, strict=True)]


def mask_pixels(tiles: Tiles, state: State, pixels: PixelStore, owner: str) -> Pixels:
    """uint8 (H, W): a mask over the whole document. Raises as `flat` does."""
    whole, read = np.zeros((state.height, state.width), np.uint8), _reader(pixels, owner, None)
    for (column, row), pixels_id in tiles.items():
        if _meets(column * TILE, row * TILE, state.width, state.height):
            _copy(whole, read(pixels_id), column * TILE, row * TILE)
    return whole


def state_of_picture(
    picture: Pixels, name: str, pixels: PixelStore, owner: str, facts: Mapping[str, Any] | None = None
) -> State:
    """A document of one layer, uint8 (H, W, 3) or (H, W, 4), whose pixels are kept now; `facts` are the layer's.

    Raises UnreadablePicture if a side is too long, StudioError without room.
    """
    height, width = picture.shape[:2]
    if max(width, height) > MAX_SIDE:
        raise UnreadablePicture(
            f"This picture is {width} × {height} pixels. Documents have at most {MAX_SIDE} a side: make it smaller "
            "first."
        )
    places, pngs = [], []
    for row in range(-(-height // TILE)):
        for column in range(-(-width // TILE)):
            tile = np.zeros((TILE, TILE, 4), np.uint8)
            piece = picture[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
            tile[: piece.shape[0], : piece.shape[1], 3] = 255
            tile[: piece.shape[0], : piece.shape[1], : piece.shape[2]] = piece
            if tile.any():
                places.append((column, row))
                pngs.append(write_plain(tile, level=3))
    ids = pixels.add_many(owner, pngs) if pngs else []
    shown = "".join(character for character in name if character.isprintable())
    layer = Layer("picture", shown, "picture", 0, 0, True, 100, dict(zip(places, ids, strict=True)), facts)
    return State(width, height, (layer,), layer.id)


def thumbnail(picture: Pixels, longest: int) -> bytes:
    """A small lossy WebP of uint8 (H, W, 3) or (H, W, 4), its longer side at most `longest` pixels."""
    small = Image.fromarray(picture)
    side = max(small.size)
    if side > longest:
        size = (max(1, round(small.width * longest / side)), max(1, round(small.height * longest / side)))
        small = small.resize(size, Image.Resampling.LANCZOS, reducing_gap=3)
    file = io.BytesIO()
    small.save(file, "WEBP", quality=82, method=4)
    return file.getvalue()


def _place(layer: Layer, state: State) -> Bounds:
    """Where a layer stands that is written whole."""
    columns, rows = [column for column, _ in layer.tiles] or [0], [row for _, row in layer.tiles] or [0]
    left, top = layer.x + min(columns) * TILE, layer.y + min(rows) * TILE
    right, bottom = layer.x + max(columns) * TILE + TILE, layer.y + max(rows) * TILE + TILE
    if not layer.tiles:
        right, bottom = left + 1, top + 1
    if (right - left) * (bottom - top) > SPREAD:  # scattered tiles: what is seen of them has to do
        left, top, right, bottom = 0, 0, state.width, state.height
    return Bounds(left, top, right - left, bottom - top)


def _whole(layer: Layer, place: Bounds, read: _Reader) -> compositing.Layer:
    whole = np.zeros((place.height, place.width, 4), np.uint8)
    for (column, row), pixels_id in layer.tiles.items():
        x, y = layer.x + column * TILE - place.x, layer.y + row * TILE - place.y
        if _meets(x, y, place.width, place.height):
            _copy(whole, read(pixels_id), x, y)
    return compositing.Layer(whole, place.x, place.y, layer.opacity, layer.visible, layer.name)


def _pieces(layer: Layer, state: State, read: _Reader) -> Iterator[compositing.Layer]:
    """The tiles of a layer, each as one piece: they never lie over each other. Those outside are left out."""
    for (column, row), pixels_id in layer.tiles.items():
        x, y = layer.x + column * TILE, layer.y + row * TILE
        if _meets(x, y, state.width, state.height):
            yield compositing.Layer(read(pixels_id), x, y, layer.opacity)


def _meets(x: int, y: int, width: int, height: int) -> bool:
    return -TILE < x < width and -TILE < y < height


def _reader(pixels: PixelStore, owner: str, gone: _Gone | None) -> _Reader:
    """Gives tiles by their ids, and holds the last of them."""

    @functools.lru_cache(TILES_HELD)
    def unpacked(pixels_id: str) -> Pixels:
        found = pixels.pixels(owner, pixels_id)
        if found is None:
            raise StudioError(f"The pixels {pixels_id} of this document are missing on the disk.")
        return found

    def read(pixels_id: str) -> Pixels:
        _check_wanted(gone)
        return unpacked(pixels_id)

    return read


def _check_wanted(gone: _Gone | None) -> None:
    if gone is not None and gone():
        raise NobodyWaits("Nobody waits for this picture any more.")


def _copy(target: Pixels, source: Pixels, x: int, y: int) -> None:
    """Puts `source` at column `x` and row `y`; what lies outside is left out."""
    height, width = target.shape[:2]
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + source.shape[1], width), min(y + source.shape[0], height)
    if left < right and top < bottom:
        target[top:bottom, left:right] = source[top - y : bottom - y, left - x : right - x]
