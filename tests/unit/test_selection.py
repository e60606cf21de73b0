"""The wand, GrabCut and refined edges, on pictures whose answer is known."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.errors import InvalidRequest
from studio.imaging import selection
from studio.imaging.colour import WHITE, oklab, oklab_levels
from studio.imaging.geometry import Bounds
from studio.imaging.selection import cut_out_box, cut_out_scribble, refined, wand

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "wand.json").read_text())

Array = np.ndarray[Any, np.dtype[Any]]


def blob(side: int, noise: float = 10) -> tuple[Array, Array]:
    """A wavy disc on another colour, and where it is."""
    y, x = np.indices((side, side))
    radius = side * (0.25 + 0.03 * np.sin(9 * np.arctan2(y - side / 2, x - side / 2)))
    inside = np.hypot(x - side / 2, y - side / 2) < radius
    picture = np.where(inside[..., None], (200, 90, 60), (70, 120, 150)).astype(float)
    picture += np.random.default_rng(0).normal(0, noise, picture.shape)
    return picture.clip(0, 255).round().astype(np.uint8), inside


def overlap(mask: Array, truth: Array) -> float:
    found = mask >= 128
    return float((found & truth).sum() / (found | truth).sum())


# ---- colours ----


def test_oklab_gives_the_numbers_that_were_published_with_it() -> None:
    """Black, white, and the corners of sRGB as other implementations have them (CSS Color 4)."""
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    wanted = [
        [0, 0, 0],
        [1, 0, 0],
        [0.62796, 0.22486, 0.12585],
        [0.86644, -0.23389, 0.17950],
        [0.45201, -0.03246, -0.31153],
    ]
    np.testing.assert_allclose(oklab(colours)[0], wanted, atol=2e-5)


@given(st.tuples(*[st.integers(0, 255)] * 3), st.integers(0, 2), st.sampled_from([-1, 1]))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_the_nearest_different_colours_are_told_apart(colour: tuple[int, int, int], channel: int, by: int) -> None:
    other = list(colour)
    other[channel] += by
    if not 0 <= other[channel] <= 255:
        return
    row = np.array([[colour] * 37 + [other] * 37], np.uint8)  # in the middle and at the end of what is vectorised
    assert (wand(row, 0, 0, 0)[0] > 0).tolist() == [True] * 37 + [False] * 37
    assert (wand(row, 73, 0, 0)[0] > 0).tolist() == [False] * 37 + [True] * 37


# ---- wand ----


def test_the_wand_takes_the_pixels_that_the_pages_own_takes() -> None:
    """The scripts of the page are held to the same cases (tests/node/vectors.test.js)."""
    for case in VECTORS["cases"]:
        picture = np.array(case["pixels"], np.uint8).reshape(case["height"], case["width"], 4)
        mask = wand(picture, case["x"], case["y"], case["tolerance"], case["contiguous"])
        assert mask.ravel().tolist() == case["mask"], (case["tolerance"], case["contiguous"])


def test_whole_numbers_say_what_oklab_says() -> None:
    values = np.array(VECTORS["colours"])
    levels = oklab_levels(values[None, :, :3].astype(np.uint8))
    np.testing.assert_array_equal(levels[0], values[:, 3:])
    exact = oklab(values[None, :, :3].astype(np.uint8))
    np.testing.assert_allclose(levels / WHITE, exact, atol=1e-3)  # light near black is known to 1 / 65535 only


def test_the_wand_takes_what_hangs_together_or_everything_alike() -> None:
    picture = np.zeros((9, 12, 3), np.uint8)
    picture[1:4, 1:4] = picture[5:8, 6:11] = (200, 30, 90)
    picture[4, 4] = (200, 30, 90)  # touches the first by a corner only
    first, both = wand(picture, 2, 2, 0), wand(picture, 2, 2, 0, contiguous=False)
    wanted = np.zeros((9, 12), np.uint8)
    wanted[1:4, 1:4] = 255
    np.testing.assert_array_equal(first, wanted)
    wanted[5:8, 6:11] = wanted[4, 4] = 255
    np.testing.assert_array_equal(both, wanted)


@pytest.mark.parametrize("contiguous", [True, False])
def test_more_tolerance_takes_more(contiguous: bool) -> None:
    picture, _ = blob(40)
    taken = [wand(picture, 20, 20, tolerance, contiguous) > 0 for tolerance in (0, 5, 20, 60, 120, 254, 255)]
    for less, more in itertools.pairwise(taken):
        assert (more | ~less).all()
    assert taken[0][20, 20]
    assert taken[-1].all()


def test_tolerance_is_a_distance_of_which_black_and_white_have_255() -> None:
    grey = np.array([[[0] * 3, [255] * 3]], np.uint8)
    assert wand(grey, 0, 0, 254).tolist() == [[255, 0]]
    assert wand(grey, 0, 0, 255).tolist() == [[255, 255]]
    half = np.array([[[0] * 3, [99] * 3]], np.uint8)  # OKLab lightness 0.4997
    assert wand(half, 0, 0, 127).tolist() == [[255, 0]]
    assert wand(half, 0, 0, 128).tolist() == [[255, 255]]


def test_hidden_colours_of_transparent_pixels_do_not_count() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 4), dtype=np.uint8)
    picture[..., 3] = 255
    picture[2:6, 2:6, 3] = 0
    mask = wand(picture, 3, 3, 0)
    assert (mask > 0).tolist() == (picture[..., 3] == 0).tolist()
    picture[..., :3] = 7
    assert (wand(picture, 0, 0, 0) > 0).tolist() == (picture[..., 3] == 255).tolist()


def test_the_largest_tolerance_takes_everything() -> None:
    row = np.array([[[0, 0, 0, 0], [255, 255, 255, 255]]], np.uint8)
    assert wand(row, 0, 0, 254).tolist() == [[255, 0]]
    assert wand(row, 0, 0, 255).tolist() == [[255, 255]]


def test_a_single_pixel_is_selected() -> None:
    assert wand(np.zeros((1, 1, 3), np.uint8), 0, 0, 0).tolist() == [[255]]


@pytest.mark.parametrize(
    ("arguments", "field"), [((8, 0, 0), "x"), ((-1, 0, 0), "x"), ((0, 6, 0), "y"), ((0, 0, 256), "tolerance")]
)
def test_the_wand_says_what_is_out_of_range(arguments: tuple[int, int, int], field: str) -> None:
    with pytest.raises(InvalidRequest) as problem:
        wand(np.zeros((6, 8, 3), np.uint8), *arguments)
    assert problem.value.field == field


# ---- cutting out ----


@pytest.mark.parametrize("side", [24, 150, 600])  # enlarged, about as large as what is worked on, and reduced
def test_a_box_around_an_object_finds_it(side: int) -> None:
    picture, truth = blob(side)
    box = Bounds(side // 6, side // 6, side - 2 * (side // 6), side - 2 * (side // 6))
    mask = cut_out_box(picture, box)
    assert overlap(mask, truth) > 0.98
    np.testing.assert_array_equal(cut_out_box(picture, box), mask)
    outside = mask.copy()
    outside[box.slices] = 0
    assert not outside.any()


def test_a_box_may_reach_out_of_the_picture() -> None:
    picture, truth = blob(120)
    mask = cut_out_box(picture, Bounds(-40, 20, 140, 80))
    assert overlap(mask, truth) > 0.97


def test_what_is_outside_of_the_box_is_not_taken() -> None:
    picture, _ = blob(601)
    box = Bounds(150, 301, 303, 163)  # from the middle of the object on
    mask = cut_out_box(picture, box)
    assert mask[box.slices].any()
    mask[box.slices] = 0
    assert not mask.any()


def test_of_two_alike_the_marked_one_is_taken() -> None:
    picture = np.full((60, 120, 3), (40, 90, 160), np.uint8)
    picture[20:40, 20:45] = picture[20:40, 75:100] = (210, 180, 60)
    picture += np.random.default_rng(0).integers(0, 12, picture.shape, dtype=np.uint8)
    scribble, truth = np.zeros((60, 120), np.uint8), np.zeros((60, 120), bool)
    scribble[28:32, 28:36] = 255
    truth[20:40, 20:45] = True
    assert overlap(cut_out_scribble(picture, scribble), truth) > 0.95


@pytest.mark.parametrize("column", [750, 751, 752, 753])
def test_the_thinnest_stroke_counts_on_a_reduced_copy(column: int) -> None:
    picture = np.full((80, 1600, 3), (40, 90, 160), np.uint8)
    picture[20:60, 600:900] = (210, 180, 60)
    picture += np.random.default_rng(0).integers(0, 12, picture.shape, dtype=np.uint8)
    truth = np.zeros((80, 1600), bool)
    truth[20:60, 600:900] = True
    scribble = np.zeros((80, 1600), np.uint8)
    scribble[22:58, column] = 255  # a quarter of a pixel of what is worked on
    assert overlap(cut_out_scribble(picture, scribble), truth) > 0.95


def test_a_scribble_finds_the_object_and_is_obeyed() -> None:
    picture, truth = blob(700)
    scribble = np.zeros((700, 700), np.uint8)
    scribble[345:355, 280:420] = 255
    scribble[40:42, 40:660] = 64  # thinner than a pixel of what is worked on
    scribble[500:520, 500:520] = 255  # whoever says that this is on it is right
    mask = cut_out_scribble(picture, scribble)
    assert (mask[scribble == 255] == 255).all()
    assert (mask[scribble == 64] == 0).all()
    assert overlap(mask, truth) > 0.95
    np.testing.assert_array_equal(cut_out_scribble(picture, scribble), mask)


def test_nothing_transparent_disturbs() -> None:
    picture, truth = blob(120)
    alpha = np.where(truth, 255, 0).astype(np.uint8)[..., None]
    mask = cut_out_box(np.concatenate([picture, alpha], axis=2), Bounds(15, 15, 90, 90))
    assert overlap(mask, truth) > 0.98


@pytest.mark.parametrize(
    ("box", "words"),
    [
        (Bounds(200, 10, 5, 5), "outside of this picture"),
        (Bounds(0, 0, 64, 64), "whole picture"),
        (Bounds(-5, -5, 200, 200), "whole picture"),
    ],
)
def test_a_box_that_tells_nothing_is_refused(box: Bounds, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words) as problem:
        cut_out_box(blob(64)[0], box)
    assert problem.value.field == "box"


def test_a_mark_beside_the_object_corrects_what_it_lies_on_and_nothing_else() -> None:
    rows, columns = np.mgrid[:128, :128]
    red = (columns - 44) ** 2 + (rows - 60) ** 2 < 22**2
    yellow = (columns - 88) ** 2 + (rows - 60) ** 2 < 22**2
    picture = np.full((128, 128, 3), (60, 110, 60), np.uint8)
    picture += np.random.default_rng(1).integers(0, 20, picture.shape, dtype=np.uint8)
    picture[red], picture[yellow] = (200, 50, 40), (220, 190, 40)
    scribble = np.zeros((128, 128), np.uint8)
    scribble[55:66, 36:96] = 255
    assert overlap(cut_out_scribble(picture, scribble), red | yellow) > 0.95
    scribble[53:68, 67:100] = 64  # the yellow one is not meant; the meadow, which no mark speaks of, still is not
    assert overlap(cut_out_scribble(picture, scribble), red) > 0.95
    picture[red] = (60, 110, 60)  # no colour of its own: an object that looks like what is around it
    scribble[:] = 0
    scribble[:12, :12], scribble[100:, 40:80] = 255, 64
    assert cut_out_scribble(picture, scribble)[0, 0] == 255  # and runs to the border


def test_a_scribble_that_tells_nothing_is_refused() -> None:
    picture, _ = blob(64)
    outside = np.full((64, 64), 64, np.uint8)
    for scribble in (np.zeros((64, 64), np.uint8), outside):
        with pytest.raises(InvalidRequest, match="Nothing is marked"):
            cut_out_scribble(picture, scribble)
    with pytest.raises(InvalidRequest, match="64 × 32 pixels; the picture is 64 × 64"):
        cut_out_scribble(picture, outside[:32])
    with pytest.raises(InvalidRequest, match="too little to tell"):
        cut_out_scribble(picture, np.full((64, 64), 255, np.uint8))


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (3, 3)])
def test_tiny_pictures_are_cut_or_refused_in_words(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    scribble = np.zeros(shape, np.uint8)
    scribble[0, 0] = 255
    for cut in (lambda: cut_out_scribble(picture, scribble), lambda: cut_out_box(picture, Bounds(0, 0, 1, 1))):
        try:
            assert cut().shape == shape
        except InvalidRequest as problem:
            assert "Leave some" in str(problem) or "too little" in str(problem)


def test_plain_pictures_have_an_answer_too() -> None:
    plain = np.full((50, 50, 3), 80, np.uint8)
    assert cut_out_box(plain, Bounds(10, 10, 20, 20)).shape == (50, 50)
    assert refined(plain, cv2.circle(np.zeros((50, 50), np.uint8), (25, 25), 10, 255, -1), 4).shape == (50, 50)


# ---- refined edges ----


@pytest.mark.parametrize(("grow", "least"), [(9, 0.99), (-9, 0.96)])
def test_a_rough_edge_moves_to_the_pictures_own(grow: int, least: float) -> None:
    picture, truth = blob(400)
    kernel = np.ones((2 * abs(grow) + 1,) * 2, np.uint8)
    change = cv2.dilate if grow > 0 else cv2.erode
    rough = change(truth.astype(np.uint8) * 255, kernel)
    assert overlap(rough, truth) < 0.86
    assert overlap(refined(picture, rough, 16), truth) > least


def test_beyond_the_radius_nothing_changes() -> None:
    picture, truth = blob(300)
    rough = cv2.dilate(truth.astype(np.uint8) * 255, np.ones((9, 9), np.uint8))
    rough[10:13, 10:13] = 90  # a soft value far from the border
    mask = refined(picture, rough, 5)
    moved = mask != rough
    border = cv2.dilate(rough, np.ones((11, 11), np.uint8)) != cv2.erode(rough, np.ones((11, 11), np.uint8))
    assert moved.any()
    assert not (moved & ~border).any()
    assert (mask[10:13, 10:13] == 90).all()


def test_a_large_picture_is_refined_in_pieces_without_a_seam() -> None:
    picture = np.zeros((40, 1100, 3), np.uint8)
    picture[20:] = (180, 160, 140)
    picture += np.random.default_rng(0).integers(0, 20, picture.shape, dtype=np.uint8)
    rough = np.zeros((40, 1100), np.uint8)
    rough[17:] = 255
    mask = refined(picture, rough, 5)
    assert (mask[20:] > 200).all()
    assert (mask[:20] < 50).all()


@pytest.mark.parametrize("turned", [False, True])
def test_pieces_give_what_the_whole_gives(turned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (60, 1100, 3), dtype=np.uint8)  # nothing to hold on to: soft everywhere
    rough = np.zeros((60, 1100), np.uint8)
    rough[cv2.blur(random.random((60, 1100)), (9, 9)) > 0.5] = 255
    if turned:
        picture, rough = picture.swapaxes(0, 1).copy(), rough.T.copy()
    pieces = refined(picture, rough, 5)
    assert len(np.unique(pieces)) > 100
    monkeypatch.setattr(selection, "_TILE", 4096)
    np.testing.assert_allclose(pieces.astype(int), refined(picture, rough, 5), atol=1)


@pytest.mark.parametrize("level", [0, 255, 60])
def test_a_mask_without_a_border_stays(level: int) -> None:
    mask = np.full((20, 20), level, np.uint8)
    np.testing.assert_array_equal(refined(blob(20)[0], mask, 5), mask)


@pytest.mark.parametrize("radius", [0, 65, -3])
def test_a_radius_out_of_range_is_refused(radius: int) -> None:
    with pytest.raises(InvalidRequest, match="1 to 64") as problem:
        refined(blob(20)[0], np.zeros((20, 20), np.uint8), radius)
    assert problem.value.field == "radius"


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="19 × 20 pixels; the picture is 20 × 20"):
        refined(blob(20)[0], np.zeros((20, 19), np.uint8), 4)
