"""Tones of new pixels brought to those around them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from studio.imaging.rim import matched

Array = np.ndarray[Any, np.dtype[np.uint8]]


def scene(side: int, seed: int = 0) -> Array:
    """A smooth picture with some texture."""
    random = np.random.default_rng(seed)
    rough = random.integers(50, 200, (6, 6, 3)).astype(np.float32)
    smooth = cv2.resize(rough, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + random.normal(0, 3, smooth.shape), 0, 255).astype(np.uint8)


def hole(side: int, kind: str = "disc") -> Array:
    y, x = np.indices((side, side))
    inside = {
        "disc": (x - side * 0.45) ** 2 + (y - side * 0.5) ** 2 < (side * 0.25) ** 2,
        "half plane": x > side * 0.6,
        "corner": (x < side * 0.4) & (y < side * 0.5),
    }[kind]
    return (inside * 255).astype(np.uint8)


def shifted(picture: Array, by: Any) -> Array:
    return np.clip(picture + np.asarray(by, np.float32), 0, 255).round().astype(np.uint8)


def off(found: Array, wanted: Array, mask: Array) -> float:
    """Mean difference of tones in the mask, signs kept over 7 × 7 pixels so that texture does not count."""
    inside = (mask > 0).astype(np.float32)[..., None]
    difference = cv2.blur((found.astype(np.float32) - wanted) * inside, (7, 7))
    return float((np.abs(difference) / np.maximum(cv2.blur(inside, (7, 7)), 1e-6)[..., None])[mask > 0].mean())


@pytest.mark.parametrize("kind", ["disc", "half plane", "corner"])
@pytest.mark.parametrize("side", [64, 128, 700])
def test_a_shift_of_tones_is_undone(side: int, kind: str) -> None:
    truth, mask = scene(side), hole(side, kind)
    fresh = shifted(truth, (14, -9, 6))
    assert off(fresh, truth, mask) > 8
    assert off(matched(fresh, truth, mask), truth, mask) < 0.6


def test_a_shift_that_differs_from_place_to_place_is_mostly_undone() -> None:
    side = 128
    truth, mask = scene(side), hole(side)
    y, x = np.indices((side, side))
    tilt = np.stack([(x - 64) / 5, (y - 64) / 5, (64 - x) / 6], axis=2)
    fresh = shifted(truth, tilt)
    before = off(fresh, truth, mask)
    assert off(matched(fresh, truth, mask), truth, mask) < before / 4


def test_other_contents_inside_keep_their_own_tones() -> None:
    truth, other, mask = scene(128), scene(128, 9), hole(128)
    wanted = np.where(mask[..., None] > 0, other, truth)
    assert off(matched(shifted(wanted, (10, 10, -10)), truth, mask), wanted, mask) < 1.5


def test_where_the_tones_fit_little_is_moved() -> None:
    truth, mask = scene(128), hole(128)
    noisy = np.clip(truth + np.random.default_rng(4).normal(0, 6, truth.shape), 0, 255).astype(np.uint8)
    moved = np.abs(matched(noisy, truth, mask).astype(int) - noisy)
    assert moved.max() <= 3


def test_an_object_that_ends_at_the_rim_does_not_bleed_inward() -> None:
    """A part of what is around is another thing in the fresh picture: no shift of tones, so none is continued."""
    truth, mask = scene(128), hole(128)
    fresh = truth.copy()
    fresh[40:56, 68:] = 255  # a bright bar that touches the hole
    plain = off(fresh, truth, (mask > 0) & (fresh == truth).all(axis=2))
    assert off(matched(fresh, truth, mask), fresh, mask) < 2.5 + plain


def test_outside_of_the_mask_nothing_moves() -> None:
    truth, mask = scene(100), hole(100)
    mask[mask > 0] = np.random.default_rng(0).integers(1, 256, np.count_nonzero(mask), dtype=np.uint8)
    fresh = shifted(truth, (20, 20, 20))
    kept = fresh.copy()
    result = matched(fresh, truth, mask)
    np.testing.assert_array_equal(result[mask == 0], fresh[mask == 0])
    assert (result[mask > 0] != fresh[mask > 0]).any()
    np.testing.assert_array_equal(fresh, kept)


def test_transparent_pixels_say_nothing() -> None:
    truth, mask = scene(128), hole(128, "half plane")
    alpha = np.full((128, 128, 1), 255, np.uint8)
    alpha[:64] = 0
    source = np.concatenate([truth, alpha], axis=2)
    source[:64, :, :3] = 0  # as pixels that nobody sees may be
    fresh = shifted(truth, (12, 12, 12))
    assert off(matched(fresh, source, mask), truth, mask) < 1


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (64, 64)])
def test_nothing_moves_where_nothing_can_be_compared(shape: tuple[int, int]) -> None:
    fresh = np.full((*shape, 3), 90, np.uint8)
    source = np.full((*shape, 3), 120, np.uint8)
    np.testing.assert_array_equal(matched(fresh, source, np.full(shape, 255, np.uint8)), fresh)
    see_through = np.zeros((*shape, 4), np.uint8)
    mask = np.zeros(shape, np.uint8)
    mask[0, 0] = 255
    np.testing.assert_array_equal(matched(fresh, see_through, mask), fresh)
    np.testing.assert_array_equal(matched(fresh, source, np.zeros(shape, np.uint8)), fresh)


def test_shapes_that_do_not_fit_are_refused() -> None:
    good, mask = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8)
    for fresh, source, over in (
        (good, np.zeros((4, 5, 3), np.uint8), mask),
        (np.zeros((4, 4, 4), np.uint8), good, mask),
        (good, good, np.zeros((5, 4), np.uint8)),
    ):
        with pytest.raises(ValueError, match="do not fit"):
            matched(fresh, source, over)
