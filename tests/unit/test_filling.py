"""Fills without a model: what the model is shown, what is put back, and that nothing outside of the mask changes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.diffusion.known import _Fitted
from studio.diffusion.steps import Step
from studio.errors import InvalidRequest
from studio.filling import Filling
from studio.imaging import masks
from studio.imaging.compositing import paste
from studio.imaging.context import context_around
from studio.imaging.geometry import Bounds, Extent
from studio.imaging.plain_png import digest_of
from studio.models import catalogue
from studio.picture import Picture
from studio.requests import Fill, TextToImage

CARD = catalogue.find("painter")
WORDS = TextToImage("a lighthouse", num_inference_steps=4)


def noise(height: int, width: int, channels: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def box(height: int, width: int, x: int, y: int, w: int, h: int, value: int = 255) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    mask[y : y + h, x : x + w] = value
    return mask


def painted(filling: Filling, seed: int = 1) -> Picture:
    """What an engine might have made of it."""
    working = filling.working
    return Picture(noise(working.height, working.width, 3, seed), filling.painting, 0.1)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_no_byte_outside_of_the_mask_changes(data: st.DataObject) -> None:
    draw = data.draw
    height, width = draw(st.integers(16, 90)), draw(st.integers(16, 90))
    x, y = draw(st.integers(0, width - 4)), draw(st.integers(0, height - 4))
    mask = box(height, width, x, y, draw(st.integers(4, 40)), draw(st.integers(4, 40)))
    mask[mask > 0] = noise(height, width, 1, 3)[..., 0][mask > 0] | 1
    source = noise(height, width, draw(st.sampled_from((3, 4))), 2)
    fill = Fill(
        WORDS,
        grow=draw(st.integers(0, 6)),
        feather=draw(st.integers(0, 6)),
        match_colour=draw(st.booleans()),
        margin=draw(st.none() | st.integers(0, 50)),
    )
    filling = Filling.of(fill, source, mask, CARD)
    done = filling.finished(painted(filling))
    after = paste(source, done.layer.pixels, done.layer.x, done.layer.y)
    acting = masks.effective(mask, fill.grow, fill.feather)
    differs = (after != source).any(axis=2)
    assert not differs[acting == 0].any()
    assert done.count.outside_changed == 0
    assert done.count.changed == differs.sum()
    assert done.count.untouched == (acting == 0).sum()
    # and the layer's alpha is the mask that acts, no more and no less
    whole = np.zeros((height, width), np.uint8)
    spot = done.layer.bounds
    whole[spot.slices] = done.layer.pixels[..., 3]
    np.testing.assert_array_equal(whole, acting)


def test_the_frame_and_the_working_size_are_those_of_the_rule() -> None:
    mask = box(600, 800, 300, 200, 150, 100)
    filling = Filling.of(Fill(WORDS, feather=0, grow=10), noise(600, 800, 3), mask, CARD)
    bounds = masks.bounds(masks.grown(mask, 10))
    assert bounds is not None
    rule = context_around(bounds, Extent(800, 600), Extent(CARD.width, CARD.height))
    assert (filling.frame, filling.working) == (rule.frame, rule.working)
    assert filling.fill.context == rule.frame


def test_a_frame_that_a_person_drew_is_kept_and_holds_the_whole_mask() -> None:
    mask = box(600, 800, 300, 200, 150, 100)
    drawn = Bounds(310, 150, 300, 300)
    filling = Filling.of(Fill(WORDS, context=drawn), noise(600, 800, 3), mask, CARD)
    assert filling.frame == Bounds(300, 150, 310, 300)


def test_the_resolved_request_makes_the_same_filling_again() -> None:
    mask, source = box(300, 400, 100, 80, 60, 50), noise(300, 400)
    first = Filling.of(Fill(WORDS, grow=3), source, mask, CARD)
    again = Filling.of(Fill.from_json(first.fill.to_json()), source, mask, CARD, first.working)
    assert again.fill == first.fill
    assert (again.source_digest, again.mask_digest) == (first.source_digest, first.mask_digest)
    np.testing.assert_array_equal(again.seen, first.seen)
    np.testing.assert_array_equal(again.opening, first.opening)


def test_the_model_sees_the_known_pixels_and_not_what_is_under_the_mask() -> None:
    source = np.full((128, 128, 4), 200, np.uint8)
    source[..., 3] = 255
    mask = box(128, 128, 40, 40, 48, 48)
    source[40:88, 40:88, :3] = (255, 0, 0)
    for way in ("blur", "inpaint", "edge"):
        filling = Filling.of(Fill(WORDS, prefill=way, context=Bounds(0, 0, 128, 128)), source, mask, CARD)
        assert filling.working == Extent(128, 128)
        np.testing.assert_array_equal(filling.seen[mask == 0], source[..., :3][mask == 0])
        assert np.abs(filling.seen[mask > 0].astype(int) - 200).max() <= 8  # nothing of the red
    kept = Filling.of(Fill(WORDS, prefill="none", context=Bounds(0, 0, 128, 128)), source, mask, CARD)
    np.testing.assert_array_equal(kept.seen, source[..., :3])


def test_transparent_pixels_are_unknown_to_the_model_but_stay_as_they_are() -> None:
    source = np.full((128, 128, 4), 120, np.uint8)
    source[..., 3] = 255
    source[:, 96:] = (255, 0, 255, 0)  # a colour that nobody sees
    mask = box(128, 128, 90, 0, 30, 128)
    for way in ("none", "auto"):
        fill = Fill(WORDS, "expand", prefill=way, context=Bounds(0, 0, 128, 128))
        filling = Filling.of(fill, source, mask, CARD)
        assert (filling.opening[:, 106:] == 1).all() and (filling.opening[:, :90] == 0).all()
        assert np.abs(filling.seen.astype(int) - 120).max() <= 2
        done = filling.finished(painted(filling))
        after = paste(source, done.layer.pixels, done.layer.x, done.layer.y)
        np.testing.assert_array_equal(after[:, 120:], source[:, 120:])


def test_what_the_model_may_paint_is_the_mask_and_soft_ones_hold_it_back() -> None:
    mask = box(128, 128, 30, 30, 60, 60)
    whole = Bounds(0, 0, 128, 128)
    opening = Filling.of(Fill(WORDS, context=whole), noise(128, 128, 3), mask, CARD).opening
    np.testing.assert_array_equal(opening, mask / 255)
    half = Filling.of(Fill(WORDS, context=whole), noise(128, 128, 3), mask // 2, CARD).opening
    np.testing.assert_allclose(half, opening * (127 / 255), atol=1e-6)


@pytest.mark.parametrize("steps", [4, 20, 50])
def test_a_hole_is_the_model_s_from_the_first_step_on(steps: int) -> None:
    """What the picture comes to be is settled there: a hole that waits comes out as its pre-fill."""
    mask = box(128, 128, 38, 40, 50, 48)
    opening = Filling.of(Fill(WORDS, context=Bounds(0, 0, 128, 128)), noise(128, 128, 3), mask, CARD).opening
    step = Step(0, steps, 1, 999.0, None, *[torch.zeros(1, 4, 16, 16)] * 3)
    fitted = _Fitted.of(step.x, step.x, torch.from_numpy(opening).double(), step)
    touched = mask.reshape(16, 8, 16, 8).any(axis=(1, 3))
    np.testing.assert_array_equal(fitted.last_held, np.where(touched, 0, np.inf))
    assert fitted.share is not None
    assert sorted(set(fitted.share[0, 0].flatten().tolist())) == [0.0, 0.25, 1.0]  # two of eight pixels at either side


def test_a_mask_over_everything_is_text_to_image() -> None:
    mask = np.full((128, 128), 255, np.uint8)
    filling = Filling.of(Fill(WORDS), noise(128, 128), mask, CARD)
    assert (filling.opening == 1).all()
    done = filling.finished(painted(filling))
    np.testing.assert_array_equal(done.layer.pixels[..., :3], painted(filling).pixels)
    assert done.count.untouched == 0


def test_a_seed_changes_nothing_but_itself() -> None:
    filling = Filling.of(Fill(WORDS), noise(128, 128), box(128, 128, 30, 30, 40, 40), CARD)
    other = filling.with_seed(9)
    assert other.painting == dataclasses.replace(filling.painting, seed=9)
    assert other.source is filling.source


@pytest.mark.parametrize(
    ("size", "mask", "changes", "field", "words"),
    [
        ((64, 64), (64, 64, 0), {}, "mask", "empty"),
        ((64, 64), (32, 64, 255), {}, "mask", "64 × 32"),
        ((1, 1), (1, 1, 255), {}, "source", "1 × 1"),
        ((64, 64), (64, 64, 100), {"grow": 5}, "mask", "faint|left"),
        ((64, 64), (64, 64, 100), {"grow": -5}, "mask", "shrink"),
    ],
)
def test_what_cannot_be_filled_is_refused_in_words(
    size: tuple[int, int], mask: tuple[int, int, int], changes: dict[str, int], field: str, words: str
) -> None:
    height, width, value = mask
    with pytest.raises(InvalidRequest, match=words) as problem:
        Filling.of(Fill(WORDS, **changes), noise(*size), np.full((height, width), value, np.uint8), CARD)
    assert problem.value.field == field


def test_a_working_size_of_another_shape_is_refused_with_one_that_would_do() -> None:
    mask = box(128, 128, 30, 30, 40, 40)
    with pytest.raises(InvalidRequest, match="256 × 256") as problem:
        Filling.of(Fill(WORDS), noise(128, 128), mask, CARD, Extent(256, 64))
    assert problem.value.field == "width"


def test_models_that_want_coarser_sides_are_painted_at_those() -> None:
    card = dataclasses.replace(CARD, width=512, height=512, multiple=32)
    for width, height in ((900, 610), (700, 400), (1000, 1000), (313, 999)):
        mask = box(height, width, 100, 100, 90, 70)
        working = Filling.of(Fill(WORDS), noise(height, width, 3), mask, card).working
        assert working.width % 32 == working.height % 32 == 0 and min(working.width, working.height) > 0
        usual = Filling.of(Fill(WORDS), noise(height, width, 3), mask, dataclasses.replace(card, multiple=16)).working
        assert max(abs(working.width - usual.width), abs(working.height - usual.height)) <= 16
    assert catalogue.find("sana").multiple == 32
    assert catalogue.find("sdxl").multiple == 16


def test_digests_tell_pixels_apart_and_know_the_same_ones_again() -> None:
    pixels = noise(20, 30)
    assert digest_of(pixels) == digest_of(pixels[::-1][::-1])
    assert digest_of(pixels) != digest_of(pixels.reshape(30, 20, 4))
    pixels[0, 0, 0] ^= 1
    assert digest_of(pixels) != digest_of(noise(20, 30))
