"""Selections that take thought: a wand's edge, cutting an object out (GrabCut), and edges that follow the picture.

Pixels in, masks out, with OpenCV. The same arguments give the same mask; the largest picture takes seconds.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from studio.errors import InvalidRequest
from studio.imaging.colour import WHITE, oklab, oklab_levels
from studio.imaging.geometry import Bounds, Extent
from studio.imaging.masks import HALF, Mask, squared_distances
from studio.imaging.png import Pixels

TOLERANCE_RANGE = (0, 255)  # 255 is the distance of black and white
RADIUS_RANGE = (1, 64)  # px that an edge may move by
INSIDE, OUTSIDE = 255, 64  # in a scribble; 0 says nothing

_ROWS = 256  # that are compared at a time
_CUT_SIDE = 400  # px of the copy that GrabCut works on
_CUT_ROUNDS = 5
_COLOURS = 5  # that GrabCut learns for each side
_SPREAD = 0.95  # of the marks on an object have colours this near to those that stand for them
_CUT_ROOM = 0.5  # of the box on each side: what is certainly outside, to learn from
_LEAST_ROOM = 16  # px
_TILE = 1024  # px of a piece that is refined at a time
_SMOOTH = 1e-4  # of white squared: what counts as an edge for the guided filter
_DOUBT = 0.02  # how much a pixel at the mask's border counts, where its place is what is asked
_HARDER = 0.1  # of the guided filter's faint ends, which are cut off on both sides


def wand(pixels: Pixels, x: int, y: int, tolerance: int, contiguous: bool = True) -> Mask:
    """Everything that looks like the pixel at column `x`, row `y`: 255, the rest 0.

    uint8 (H, W, 3) or (H, W, 4) -> (H, W). Colours are compared in OKLab; `tolerance` / 255 is the largest distance,
    of which black and white have 1. Transparency counts like lightness, and what is transparent altogether has no
    colour. 0 takes equal colours only, 255 everything. `contiguous` keeps what hangs together with the pixel by
    its four neighbours. The page's own wand (`assets/canvas_flood.js`) takes the same pixels.
    Raises InvalidRequest for a place outside or another tolerance.
    """
    height, width = pixels.shape[:2]
    for value, name, side in ((x, "x", width), (y, "y", height)):
        if not 0 <= value < side:
            raise InvalidRequest(f"{name} = {value} is outside of this picture of {width} × {height} pixels.", name)
    low, high = TOLERANCE_RANGE
    if not low <= tolerance <= high:
        raise InvalidRequest(f"The tolerance is a whole number from {low} to {high}, not {tolerance}.", "tolerance")
    if tolerance == high:
        return np.full((height, width), 255, np.uint8)
    aim = pixels[y : y + 1, x : x + 1]
    alike = np.empty((height, width), np.uint8)
    for top in range(0, height, _ROWS):
        alike[top : top + _ROWS] = _alike(pixels[top : top + _ROWS], aim, tolerance)
    if contiguous:
        beyond = np.zeros((height + 2, width + 2), np.uint8)
        cv2.floodFill(alike, beyond, (x, y), 2, flags=4)
        alike = (alike == 2).astype(np.uint8)
    return alike * np.uint8(255)


def cut_out_box(pixels: Pixels, box: Bounds) -> Mask:
    """The object in a rough box: 255 on it, 0 elsewhere, between at its edge. uint8 (H, W, 3 or 4) -> (H, W).

    Whatever is outside of the box is not part of it. Raises InvalidRequest for a box that misses the picture or leaves
    nothing outside.
    """
    height, width = pixels.shape[:2]
    inside = box.intersection(Bounds(0, 0, width, height))
    if inside is None:
        raise InvalidRequest(f"The box is outside of this picture of {width} × {height} pixels.", "box")
    if inside.extent == Extent(width, height):
        raise InvalidRequest(
            "The box holds the whole picture. Leave some of what is around the object outside.", "box"
        )
    across, down = (max(round(_CUT_ROOM * side), _LEAST_ROOM) for side in (inside.width, inside.height))
    near = Bounds(inside.x - across, inside.y - down, inside.width + 2 * across, inside.height + 2 * down)
    frame = near.intersection(Bounds(0, 0, width, height)) or inside
    hints = np.full((height, width), cv2.GC_BGD, np.uint8)
    hints[inside.slices] = cv2.GC_PR_FGD
    return _cut_out(pixels, hints, frame, "box")


def cut_out_scribble(pixels: Pixels, scribble: Mask) -> Mask:
    """The object that a scribble marks: 255 (from 160 on) is on it, 64 (from 32 on) is not, 0 is open.

    What is at the picture's border is taken for not on it, to begin with, but for what looks like the object there.
    Parts that hang together with no mark are left out.
    uint8 (H, W, 3 or 4) and (H, W) -> (H, W), as `cut_out_box`. Raises InvalidRequest for a scribble of another size,
    or without a mark on the object.
    """
    _check_size(scribble, pixels, "scribble")
    hints = np.full(scribble.shape, cv2.GC_PR_BGD, np.uint8)
    hints[(scribble >= OUTSIDE // 2) & (scribble < (INSIDE + OUTSIDE) // 2)] = cv2.GC_BGD
    on_it = scribble >= (INSIDE + OUTSIDE) // 2
    if not on_it.any():
        raise InvalidRequest("Nothing is marked. Scribble over a part of the object.", "scribble")
    hints[on_it] = cv2.GC_FGD
    return _cut_out(pixels, hints, Bounds(0, 0, scribble.shape[1], scribble.shape[0]), "scribble")


def refined(pixels: Pixels, mask: Mask, radius: int) -> Mask:
    """The mask with its edge moved to the picture's own edge within `radius` pixels, soft where that is soft.

    uint8 (H, W, 3 or 4) and (H, W) -> (H, W). Farther than `radius` from the mask's border (at 128) nothing changes.
    Within, a guided filter (He, Sun and Tang 2010) learns from the pixels farther away which colours are in the mask.
    Raises InvalidRequest for a mask of another size or a radius that is out of range.
    """
    _check_size(mask, pixels, "mask")
    low, high = RADIUS_RANGE
    if not low <= radius <= high:
        raise InvalidRequest(f"The radius is a whole number from {low} to {high}, not {radius}.", "radius")
    selected = mask >= HALF
    if selected.all() or not selected.any():
        return np.array(mask)
    near = radius * radius
    inside, outside = squared_distances(~selected, radius), squared_distances(selected, radius)
    border = np.where(selected, inside, outside) <= near
    result = np.array(mask)
    height, width = mask.shape
    for top in range(0, height, _TILE):
        for left in range(0, width, _TILE):
            rows, columns = slice(top, min(top + _TILE, height)), slice(left, min(left + _TILE, width))
            part = border[rows, columns]
            if not part.any():
                continue
            up, aside = min(top, 3 * radius), min(left, 3 * radius)
            wide = (slice(top - up, rows.stop + 3 * radius), slice(left - aside, columns.stop + 3 * radius))
            soft = _guided(_opaque(pixels[wide]), mask[wide], border[wide], radius)
            soft = soft[up : up + part.shape[0], aside : aside + part.shape[1]]
            result[rows, columns][part] = soft[part]
    return result


def _alike(pixels: Pixels, aim: Pixels, tolerance: int) -> Any:
    """Which pixels (H, W, C) look like the only one of `aim` (1, 1, C): bool (H, W). In whole numbers."""
    if tolerance == 0:
        same = (pixels == aim).all(axis=2)
        return same if pixels.shape[2] == 3 else same | ((pixels[..., 3] == 0) & (aim[..., 3] == 0))
    farthest = tolerance * tolerance * WHITE * WHITE // (TOLERANCE_RANGE[1] ** 2)
    off = _points(pixels) - _points(aim)
    return np.einsum("ijk,ijk->ij", off, off) <= farthest


def _points(pixels: Pixels) -> Any:
    """Colours as int32 points whose distance is how different they look: OKLab, and with alpha a fourth coordinate."""
    levels = oklab_levels(pixels[..., :3])
    if pixels.shape[2] == 3:
        return levels
    alpha = pixels[..., 3:].astype(np.int32)
    return np.concatenate([(levels * alpha + 127) // 255, (alpha * WHITE + 127) // 255], axis=2)


def _cut_out(pixels: Pixels, hints: np.ndarray[Any, Any], frame: Bounds, field: str) -> Mask:
    """GrabCut on a copy of the frame that is at most 400 pixels long, brought back to the picture's edges."""
    height, width = pixels.shape[:2]
    piece = _opaque(pixels[frame.slices])
    scale = min(_CUT_SIDE / max(frame.width, frame.height), 8.0)
    small = (max(round(frame.width * scale), 1), max(round(frame.height * scale), 1))
    shrinks = scale < 1
    copy = cv2.resize(piece, small, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST)
    marks = _small_hints(hints[frame.slices], small)
    marked = marks == cv2.GC_FGD
    cv2.setRNGSeed(1)
    if marked.any():
        _guess(copy, marks)
    inside = (marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD)
    if min(np.count_nonzero(inside), np.count_nonzero(~inside)) < _COLOURS:
        raise InvalidRequest("There is too little to tell the object from what is around it by.", field)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(np.ascontiguousarray(copy), marks, None, *models, _CUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
    inside = (marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD)
    if marked.any():
        _, parts = cv2.connectedComponents(inside.astype(np.uint8), connectivity=8)
        inside = np.isin(parts, np.unique(parts[marked]))
    found = inside * np.uint8(255)
    result = np.zeros((height, width), np.uint8)
    way = cv2.INTER_LINEAR if shrinks else cv2.INTER_AREA
    rough = cv2.resize(found, (frame.width, frame.height), interpolation=way)
    rough = np.where(rough >= HALF, 255, 0).astype(np.uint8)
    if shrinks:  # the copy knows the edge to about one of its pixels
        rough = refined(piece, rough, min(max(round(2 / scale), 2), RADIUS_RANGE[1]))
    given = hints[frame.slices]
    rough[given == cv2.GC_BGD] = 0
    rough[given == cv2.GC_FGD] = 255
    result[frame.slices] = rough
    return result


def _guess(copy: Pixels, marks: np.ndarray[Any, Any]) -> None:
    """In place: what is open is probably on the object where its colour is nearer to those marked on it.

    GrabCut takes what is open for not on the object, and would learn the object's own colours as those around it.
    """
    lab = oklab(copy)
    on_it, beside = marks == cv2.GC_FGD, marks == cv2.GC_BGD
    near = _distance(lab, lab[on_it])
    rim = np.ones_like(on_it)
    rim[1:-1, 1:-1] = False
    rim &= ~on_it
    if beside.any():  # a correction speaks of one thing beside the object, not of all that there is
        rim &= near > np.quantile(near[on_it], _SPREAD)
    far = np.full(lab.shape[:2], np.inf, np.float32)
    for samples in (beside, rim):
        if samples.any():
            np.minimum(far, _distance(lab, lab[samples]), out=far)
    marks[(marks == cv2.GC_PR_BGD) & (near < far) & np.isfinite(far)] = cv2.GC_PR_FGD


def _distance(lab: Any, samples: Any) -> Any:
    """Squared distances of all colours, (H, W, 3), to the nearest of a few that stand for the samples, (N, 3)."""
    count = min(_COLOURS, len(samples))
    ending = (cv2.TERM_CRITERIA_MAX_ITER, 10, 0.0)
    _, _, centres = cv2.kmeans(np.ascontiguousarray(samples), count, None, ending, 1, cv2.KMEANS_PP_CENTERS)
    off = np.full(lab.shape[:2], np.inf, np.float32)
    for centre in centres:
        np.minimum(off, np.sum((lab - centre) ** 2, axis=2), out=off)
    return off


def _small_hints(hints: np.ndarray[Any, Any], size: tuple[int, int]) -> np.ndarray[Any, Any]:
    """Hints at another size. What is certain counts in every cell that it touches, so that thin strokes stay."""
    result: np.ndarray[Any, Any] = cv2.resize(hints, size, interpolation=cv2.INTER_NEAREST)
    if size[0] < hints.shape[1]:
        for mark in (cv2.GC_BGD, cv2.GC_FGD):
            result[cv2.resize((hints == mark).astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0] = mark
    return result


def _guided(guide: Pixels, mask: Mask, border: Any, radius: int) -> Mask:
    """The mask near its border as a locally linear function of the guide's colours.

    uint8 (H, W, 3), (H, W), bool (H, W) -> uint8 (H, W). The function is learned in windows that reach `radius` beyond
    the border on both sides, almost only from what is not at the border.
    """
    image = guide.astype(np.float32) / 255
    values = mask.astype(np.float32) / 255
    trust = np.where(border, np.float32(_DOUBT), np.float32(1))
    side = 4 * radius + 1

    def total(plane: Any) -> Any:
        return cv2.boxFilter(plane, -1, (side, side), borderType=cv2.BORDER_REFLECT)

    share = total(trust)

    def mean(plane: Any) -> Any:
        weighed = plane * (trust if plane.ndim == 2 else trust[..., None])
        return total(weighed) / (share if plane.ndim == 2 else share[..., None])

    middle, level = mean(image), mean(values)
    together = mean(image * values[..., None]) - middle * level[..., None]
    pairs = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
    rr, rg, rb, gg, gb, bb = (
        mean(image[..., i] * image[..., j]) - middle[..., i] * middle[..., j] + (_SMOOTH if i == j else 0)
        for i, j in pairs
    )
    # the inverse of a symmetric 3 × 3 matrix, by its cofactors
    a, b, c = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    d, e, f = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
    determinant = rr * a + rg * b + rb * c
    x, y, z = together[..., 0], together[..., 1], together[..., 2]
    slope = np.stack([a * x + b * y + c * z, b * x + d * y + e * z, c * x + e * y + f * z], axis=2)
    slope /= np.maximum(determinant, _SMOOTH**3)[..., None]
    start = level - np.einsum("ijk,ijk->ij", slope, middle)
    even = (2 * radius + 1, 2 * radius + 1)
    slope, start = (cv2.boxFilter(plane, -1, even, borderType=cv2.BORDER_REFLECT) for plane in (slope, start))
    found = np.einsum("ijk,ijk->ij", slope, image) + start
    harder = (found - _HARDER) / (1 - 2 * _HARDER)
    levels: Mask = np.rint(np.clip(harder, 0, 1) * 255).astype(np.uint8)
    return levels


def _opaque(pixels: Pixels) -> Pixels:
    """Colours as they look over mid-grey."""
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[..., 3:].astype(np.float32) / 255
    return np.rint(pixels[..., :3] * alpha + 127 * (1 - alpha)).astype(np.uint8)


def _check_size(mask: Mask, pixels: Pixels, field: str) -> None:
    if mask.shape != pixels.shape[:2]:
        raise InvalidRequest(
            f"The {field} is {mask.shape[1]} × {mask.shape[0]} pixels; the picture is {pixels.shape[1]} × "
            f"{pixels.shape[0]}.",
            field,
        )
