"""Opening a stranger's picture for the canvas: any file that `png.read_picture` reads, as RGBA for a document."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from studio.errors import InvalidRequest
from studio.imaging.geometry import Extent
from studio.imaging.png import Pixels, read_picture

MAX_SIDE = 4096  # px, as of a document


@dataclass(frozen=True, eq=False)
class OpenedPicture:
    """sRGB pixels (H, W, 4), and a sentence on each thing that is not as it was in the file."""

    pixels: Pixels
    notes: tuple[str, ...]


def open_picture(data: bytes, fit: bool = False, max_side: int = MAX_SIDE) -> OpenedPicture:
    """The picture in a file, upright, in sRGB, 8 bits, with alpha.

    With `fit`, one with a side beyond `max_side` is reduced to it. Raises InvalidRequest (field "fit") for such a
    picture otherwise, and UnreadablePicture for a file that is broken, too large or no picture.
    """
    notes: list[str] = []
    pixels = read_picture(data, notes=notes)
    whole = Extent(pixels.shape[1], pixels.shape[0])
    small = whole.fitted(max_side)
    if small != whole:
        if not fit:
            raise InvalidRequest(
                f"This picture is {whole.width} × {whole.height} pixels; documents have at most {max_side} a side. "
                f"It can be opened at {small.width} × {small.height}.",
                "fit",
            )
        # reduces RGBA with colours weighted by their alpha
        picture = Image.fromarray(pixels).resize((small.width, small.height), Image.Resampling.LANCZOS)
        pixels = np.array(picture, dtype=np.uint8)
        notes.append(f"Its {whole.width} × {whole.height} pixels were reduced to {small.width} × {small.height}.")
    if pixels.shape[2] == 3:
        opaque = np.full((small.height, small.width, 1), 255, np.uint8)
        pixels = np.concatenate([pixels, opaque], axis=2)
    return OpenedPicture(pixels, tuple(notes))
