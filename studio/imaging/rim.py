"""Colours of new pixels brought to those around them, so that no seam shows where they meet. Pixels only.

A model also paints what is around the hole, and there one can see by how much its colours are off: autoencoders and
inpainting models shift tones, by a few levels and not everywhere alike. That difference, smoothed, is continued into
the hole. Compared with a median, a gain and offset, a plane, and the plain membrane of Poisson editing on the bundled
model's autoencoder with tones shifted, tilted and contents displaced: a smoothed membrane comes closest to the truth,
and where no tone is off it does next to no harm, which the plain one does at every edge that ends at the rim.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from studio.imaging.geometry import Extent
from studio.imaging.masks import Mask, squared_distances
from studio.imaging.membrane import stretched
from studio.imaging.png import Pixels

_SIDE = 256  # px; the difference is smooth, so it is found on a copy of this longer side
_REACH, _SMOOTH, _SKIPPED = 8, 16, 43  # parts of the longer side: band around the rim, smoothing, what is skipped
_TRUST = 2.0  # spreads around the median within which a difference counts in full
_LEAST = 16  # pixels of the band; fewer tell nothing
_FAINT = 1e-3  # share of weight near a pixel from which its smoothed difference is used


def matched(fresh: Pixels, source: Pixels, mask: Mask) -> Pixels:
    """`fresh` with its tones inside of the mask moved to fit the source around it.

    uint8 (H, W, 3), (H, W, 3) or (H, W, 4), and (H, W) -> (H, W, 3). Both show the same frame; transparent pixels of
    the source say nothing. Where the mask is 0 the result is `fresh`. Nothing is moved where there is too little
    around the mask to compare. Raises ValueError for other shapes.
    """
    sound = fresh.ndim == 3 and fresh.shape[2] == 3 and source.ndim == 3 and source.shape[2] in (3, 4)
    if not sound or fresh.shape[:2] != source.shape[:2] or fresh.shape[:2] != mask.shape:
        raise ValueError(f"Shapes that do not fit: fresh {fresh.shape}, source {source.shape}, mask {mask.shape}.")
    field = _field(fresh, source, mask)
    if field is None:
        return np.array(fresh)
    moved = np.rint(fresh + field).clip(0, 255).astype(np.uint8)
    return np.where(mask[..., None] > 0, moved, fresh)


def _field(fresh: Pixels, source: Pixels, mask: Mask) -> Any:
    """By how much each pixel's colours are to be moved, float32 (H, W, 3); None where nothing can be told."""
    height, width = mask.shape
    small = Extent(width, height).fitted(_SIDE)
    side = max(small.width, small.height)
    opaque = np.full_like(mask, 255) if source.shape[2] == 3 else source[..., 3]
    hole = _reduced((mask > 0).astype(np.float32), small) > 0
    known = ~hole & (_reduced(opaque, small) == 255)
    squares = squared_distances(hole, max(side // _REACH, 2))
    skipped = side // _SKIPPED  # here the model's autoencoder mixes both sides
    band = known & (squares <= max(side // _REACH, 2) ** 2) & (squares > skipped * skipped)
    if np.count_nonzero(band) < _LEAST:
        return None
    difference = _reduced(source[..., :3], small) - _reduced(fresh, small)
    typical = np.median(difference[band], axis=0)
    off = np.abs(difference - typical)
    spread = 1.48 * np.median(off[band], axis=0) + 1  # levels; 1.48 makes it a standard deviation for normal errors
    weight = np.minimum(1, np.min(_TRUST * spread / np.maximum(off, 1e-6), axis=2)) ** 2 * band
    sigma = max(side / _SMOOTH, 1)
    share = cv2.GaussianBlur(weight.astype(np.float32), (0, 0), sigma)[..., None]
    smooth = cv2.GaussianBlur((difference * weight[..., None]).astype(np.float32), (0, 0), sigma)
    rim = ~hole & (squares <= max(sigma / 2, 2) ** 2) & (share[..., 0] > _FAINT)
    if not rim.any():
        return None
    field = stretched(np.where(rim[..., None], smooth / np.maximum(share, _FAINT), 0), rim)
    return cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR)


def _reduced(values: Any, small: Extent) -> Any:
    return cv2.resize(values.astype(np.float32), (small.width, small.height), interpolation=cv2.INTER_AREA)
