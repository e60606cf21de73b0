"""What stands in a hole before a model paints there, so that it begins with something plausible.

Small models follow what they are given: colours that continue those around the hole make for fewer seams than whatever
was there before. Pixels only; the same arguments give the same pixels.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from studio.imaging.geometry import Extent
from studio.imaging.masks import HALF, Mask
from studio.imaging.membrane import stretched
from studio.imaging.png import Pixels

WAYS = ("none", "blur", "inpaint", "edge", "noise")
GREY = 127  # where nothing at all is known
_TOUCHED = 16  # of 255: from here on a pixel's own colour is not trusted any more
_RADIUS = 3  # px; what inpainting looks at around each pixel
_INPAINT_LIMIT = 120_000  # unknown pixels; larger holes are inpainted on a reduced copy, which differs little


def prefilled(colours: Pixels, hole: Mask, way: str, seed: int = 0) -> Pixels:
    """The colours, uint8 (H, W, 3), with those in the hole made up; `hole`, uint8 (H, W), is 255 in its midst.

    Pixels below 16 in the hole are known and stay as they are; from 128 on they are made up altogether, and mixed
    between. The ways:

    - none: the colours as they are.
    - blur: a smooth surface from the known colours around.
    - inpaint: lines of equal brightness continued inward (Bertalmio, Bertozzi and Sapiro 2001, as OpenCV has it;
      closer to rendered pictures than its other method, which does not even keep plain colours).
    - edge: everywhere the nearest known colour.
    - noise: random colours, drawn by `seed`, with the mean and covariance of the known ones.

    Where nothing is known, mid-grey takes its place (for noise: grey noise). Raises ValueError for another way or
    other arrays.
    """
    if way not in WAYS:
        raise ValueError(f"A hole is filled by one of {', '.join(WAYS)}, not {way!r}.")
    if colours.dtype != np.uint8 or colours.ndim != 3 or colours.shape[2] != 3 or hole.shape != colours.shape[:2]:
        raise ValueError(f"Colours are uint8 (H, W, 3) and holes (H, W), not {colours.shape} and {hole.shape}.")
    unknown = hole >= _TOUCHED
    if way == "none" or not unknown.any():
        return np.array(colours)
    if unknown.all():  # a faint mask over everything: what it hardly touches is all that is known
        unknown = hole >= HALF
    if way == "noise":
        filled = _noise(colours, unknown, seed)
    elif unknown.all():
        filled = np.full_like(colours, GREY)
    else:
        filled = {"blur": _blurred, "inpaint": _inpainted, "edge": _nearest}[way](colours, unknown)
    share = np.clip((hole.astype(np.float32) - _TOUCHED) / (HALF - _TOUCHED), 0, 1)[..., None]
    mixed: Pixels = np.rint(colours + (filled - colours.astype(np.float32)) * share).astype(np.uint8)
    return mixed


def _blurred(colours: Pixels, unknown: Any) -> Any:
    return stretched(colours.astype(np.float32), ~unknown)


def _inpainted(colours: Pixels, unknown: Any) -> Any:
    count = int(np.count_nonzero(unknown))
    if count <= _INPAINT_LIMIT:
        return cv2.inpaint(np.ascontiguousarray(colours), unknown.astype(np.uint8), _RADIUS, cv2.INPAINT_NS)
    height, width = unknown.shape
    part = (_INPAINT_LIMIT / count) ** 0.5
    small = Extent(max(int(width * part), 1), max(int(height * part), 1))
    known = cv2.resize((~unknown).astype(np.float32), (small.width, small.height), interpolation=cv2.INTER_AREA)
    seen = np.where(unknown[..., None], 0, colours).astype(np.float32)
    seen = cv2.resize(seen, (small.width, small.height), interpolation=cv2.INTER_AREA)
    seen = np.rint(seen / np.maximum(known, 1e-6)[..., None]).clip(0, 255).astype(np.uint8)
    holes = known < 0.5
    if holes.all():
        return _blurred(colours, unknown)
    reduced = cv2.inpaint(seen, holes.astype(np.uint8), _RADIUS, cv2.INPAINT_NS)
    rough = cv2.resize(reduced, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    # what the reduction blurred is missing at the rim: the difference there fades inward
    return np.clip(rough + stretched(colours - rough, ~unknown), 0, 255)


def _nearest(colours: Pixels, unknown: Any) -> Any:
    """By OpenCV's 5 × 5 distances, which are within 2 % of the true ones."""
    _, labels = cv2.distanceTransformWithLabels(
        unknown.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    known = ~unknown
    by_label = np.zeros((int(labels.max()) + 1, 3), np.uint8)
    by_label[labels[known]] = colours[known]
    return by_label[labels]


def _noise(colours: Pixels, unknown: Any, seed: int) -> Any:
    random = np.random.default_rng(seed)
    drawn = random.standard_normal((*unknown.shape, 3), dtype=np.float32)
    known = colours[~unknown].astype(np.float64)
    if len(known) < 2:
        return np.clip(GREY + 48 * drawn, 0, 255)
    values, vectors = np.linalg.eigh(np.cov(known, rowvar=False))
    # each colour's axis is turned to point at bright: a sign that eigh leaves open would change the pixels
    vectors = vectors * np.where(vectors.sum(axis=0) < 0, -1, 1)
    spread = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return np.clip(known.mean(axis=0) + drawn @ spread.astype(np.float32), 0, 255)
