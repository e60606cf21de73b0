"""Arrays to picture files: PNG, GIF, sprites, contact sheets. Knows no run."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from studio.imaging.geometry import Extent

Pixels = NDArray[np.uint8]

GAP = 12  # px between the cells of a contact sheet
LABEL = 20  # px below each cell
PAPER, INK = (24, 24, 24), (190, 190, 190)
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def quick_png(pixels: Pixels) -> bytes:
    """uint8 (H, W, 3) or (H, W) -> a lossless PNG, packed for speed: eight times faster than tight, and larger."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def pixels_of(plane: NDArray[np.float32]) -> Pixels:
    """Float (3, H, W) in [-1, 1] -> uint8 (H, W, 3), as `imaging.pixels.to_uint8` rounds."""
    levels = (plane + np.float32(1)) * np.float32(127.5)
    pixels: Pixels = np.clip(np.rint(levels), 0, 255).astype(np.uint8).transpose(1, 2, 0)
    return pixels


def luma(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """(3, H, W) -> (H, W)."""
    return np.tensordot(_LUMA, plane, axes=1)


def signed(values: NDArray[np.float32], scale: float) -> Pixels:
    """Values around 0 as grey around 128: -scale is black, +scale is white. Any shape."""
    grey: Pixels = np.clip(np.rint(127.5 + 127.5 * values / max(scale, 1e-12)), 0, 255).astype(np.uint8)
    return grey


def magnitude(values: NDArray[np.float32], scale: float) -> Pixels:
    """Absolute values: 0 is black, scale is white. Any shape."""
    grey: Pixels = np.clip(np.rint(255 * np.abs(values) / max(scale, 1e-12)), 0, 255).astype(np.uint8)
    return grey


def coloured(grey: Pixels) -> Pixels:
    """(H, W) -> (H, W, 3)."""
    return np.repeat(grey[..., None], 3, axis=-1)


def fitted(pixels: Pixels, longest: int) -> Pixels:
    """(H, W, 3) with no side beyond `longest`, by area averages; never enlarged."""
    height, width = pixels.shape[:2]
    small = Extent(width, height).fitted(longest)
    if (small.width, small.height) == (width, height):
        return pixels
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(picture.resize((small.width, small.height), Image.Resampling.BOX), dtype=np.uint8)


def resized(values: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """(H, W) at another size: area averages where it gets smaller, straight lines where it gets larger."""
    way = Image.Resampling.BOX if values.shape[1] >= width else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(values).resize((width, height), way), dtype=np.float32)


def enlarged(pixels: Pixels, longest: int) -> Pixels:
    """Whole multiples with hard pixels, as large as fits into `longest`."""
    factor = max(longest // max(pixels.shape[:2]), 1)
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def stacked(tiles: Sequence[Pixels]) -> Pixels:
    """Tiles (h, w, 3) of equal size, top to bottom."""
    return np.concatenate(tiles, axis=0)


def grid(tiles: Sequence[Pixels], columns: int) -> Pixels:
    """Tiles (h, w, 3) of equal size in rows of `columns`; what is left over is black."""
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    sheet = np.zeros((rows * height, columns * width, 3), dtype=np.uint8)
    for index, tile in enumerate(tiles):
        top, left = index // columns * height, index % columns * width
        sheet[top : top + height, left : left + width] = tile
    return sheet


def contact_sheet(tiles: Sequence[Pixels], labels: Sequence[str], columns: int) -> bytes:
    """A PNG of all tiles (h, w, 3) on dark paper, each with its label below."""
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * (width + GAP) + GAP, rows * (height + LABEL + GAP) + GAP), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for index, (tile, label) in enumerate(zip(tiles, labels, strict=True)):
        left = GAP + index % columns * (width + GAP)
        top = GAP + index // columns * (height + LABEL + GAP)
        sheet.paste(Image.fromarray(np.ascontiguousarray(tile)), (left, top))
        pen.text((left + width / 2, top + height + LABEL / 2 + 1), label, fill=INK, font=font, anchor="mm")
    file = io.BytesIO()
    sheet.save(file, "PNG", compress_level=6)
    return file.getvalue()


def hundredths(fps: float) -> int:
    """How long a picture of a GIF is shown, in hundredths of a second. Browsers slow down what is below two."""
    return max(round(100 / fps), 2)


def animation(frames: Sequence[Pixels], fps: float, hold: float = 1.5) -> bytes:
    """A looping GIF of frames (H, W, 3); the last one is held for `hold` seconds more."""
    each = hundredths(fps) * 10
    durations = [each] * len(frames)
    durations[-1] += round(hold * 100) * 10
    # one palette for all of them, so that nothing flickers
    small = [np.asarray(fitted(frame, 64)) for frame in frames]
    best = Image.fromarray(np.concatenate(small, axis=0)).quantize(256, Image.Quantize.MEDIANCUT)
    pictures = [
        Image.fromarray(np.ascontiguousarray(frame)).quantize(palette=best, dither=Image.Dither.FLOYDSTEINBERG)
        for frame in frames
    ]
    file = io.BytesIO()
    pictures[0].save(
        file, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0, optimize=False
    )
    return file.getvalue()


def sheet_columns(count: int) -> int:
    """As many columns as rows or a few more, at most ten."""
    return min(max(math.ceil(math.sqrt(count * 1.4)), 1), 10)
