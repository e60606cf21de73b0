"""Noise, blending and filters, compared with plain references."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio.painter.canvas import Canvas, colour, mix, rectangle
from studio.painter.noise import noise_field, noise_line, rescaled
from studio.painter.sheet import main
from studio.painter.styles import PIXEL_ART_CELLS, Motif, few_colours, painted_in, smoothed


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("shape", [(64, 64), (128, 128), (40, 96)])
@pytest.mark.parametrize("octaves", [1, 3, 6])
def test_noise_has_the_shape_asked_for_and_a_deviation_of_about_one(shape: tuple[int, int], octaves: int) -> None:
    fields = [noise_field(random(seed), shape, (6, 6), octaves) for seed in range(20)]
    assert all(field.shape == shape and field.dtype == np.float32 for field in fields)
    assert 0.6 < np.std(fields) < 1.4
    assert abs(np.mean(fields)) < 0.2


def test_noise_is_smooth() -> None:
    field = noise_field(random(), (128, 128), (3, 3), 1)
    assert np.abs(np.diff(field, axis=0)).max() < 0.25


def test_noise_repeats_with_its_generator() -> None:
    np.testing.assert_array_equal(noise_field(random(5), (64, 64), (4, 4)), noise_field(random(5), (64, 64), (4, 4)))


def test_noise_without_octaves_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="octave"):
        noise_field(random(), (64, 64), (4, 4), 0)


def test_a_sharp_line_bends_at_its_points_only() -> None:
    line = noise_line(random(), 256, 4, 1, sharp=True)
    bends = np.abs(np.diff(line, 2)) > 1e-4
    assert 1 <= bends.sum() <= 12


def test_rescaled_runs_from_zero_to_one() -> None:
    line = rescaled(noise_line(random(3), 256, 4))
    assert line.min() == 0
    assert line.max() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("a_is_tone", [True, False])
@pytest.mark.parametrize("b_is_tone", [True, False])
def test_mix_is_linear_whatever_the_shapes(a_is_tone: bool, b_is_tone: bool) -> None:
    rng = random(2)
    a = rng.random(3 if a_is_tone else (8, 9, 3), dtype=np.float32)
    b = rng.random(3 if b_is_tone else (8, 9, 3), dtype=np.float32)
    amount = rng.random((8, 9, 1), dtype=np.float32)
    np.testing.assert_allclose(mix(a, b, amount), a + (b - a) * amount, atol=1e-6)  # float32 rounding


def test_mix_of_two_tones_by_a_number() -> None:
    np.testing.assert_allclose(mix(colour("000000"), colour("ffffff"), 0.25), [0.25] * 3)


@pytest.mark.parametrize("one_tone", [True, False])
def test_blend_is_linear_and_touches_its_box_only(one_tone: bool) -> None:
    rng = random(4)
    canvas = Canvas(64, rng.integers(0, 256, (64, 64, 3)).astype(np.uint8))
    before = canvas.pixels.astype(float)
    where = (slice(10, 30), slice(5, 25))
    tone = rng.random(3 if one_tone else (20, 20, 3), dtype=np.float32)
    opacity = rng.random((20, 20), dtype=np.float32)
    canvas.blend(tone, opacity, where)
    expected = before.copy()
    expected[where] += (tone * 255 - expected[where]) * opacity[..., None]
    np.testing.assert_allclose(canvas.pixels, expected, atol=0.51)  # rounding to whole numbers
    expected[where] = before[where] = 0
    outside = canvas.pixels.astype(float)
    outside[where] = 0
    np.testing.assert_array_equal(outside, before)


def test_shapes_may_leave_the_canvas() -> None:
    canvas = Canvas(64)
    white = np.ones(3, np.float32)
    canvas.polygon(rectangle(-90, -90, 20, 20), white, 0.5)
    canvas.polygon(rectangle(300, 300, 400, 400), white, 0.5)
    canvas.disc(256, 256, 40, white)
    canvas.line([(-50, 128), (400, 128)], white, 3)
    canvas.glow(-100, -100, 5, white, 1.0)
    assert canvas.pixels[0, 0].tolist() == [128, 128, 128]
    assert canvas.pixels[63, 63].min() > 200
    assert canvas.pixels[32].min() > 100


def test_a_rectangle_covers_its_pixels_exactly() -> None:
    canvas = Canvas(256)
    canvas.polygon(rectangle(64, 64, 128, 128), np.ones(3, np.float32))
    assert canvas.pixels[70:120, 70:120].min() == 255
    assert canvas.pixels[:60].max() == canvas.pixels[:, 132:].max() == 0


def test_smoothing_is_the_calmest_of_four_squares() -> None:
    picture = random(6).random((24, 24, 3), dtype=np.float32)
    side = 5
    found = smoothed(picture, 5, 1.0)
    wide = np.pad(picture, ((4, 4), (4, 4), (0, 0)), mode="reflect").astype(float)
    for row, column in ((0, 0), (3, 20), (12, 12), (23, 23)):
        corners = [(row + 4, column + 4), (row, column + 4), (row + 4, column), (row, column)]
        squares = [wide[top : top + side, left : left + side].reshape(-1, 3) for top, left in corners]
        calmest = min(squares, key=lambda square: square.var(0).sum())
        np.testing.assert_allclose(found[row, column], calmest.mean(0), atol=1e-5)


def test_few_colours_finds_the_colours_of_a_simple_picture() -> None:
    picture = np.zeros((80, 80, 3), np.float32)
    picture[:40, :40], picture[40:, :40], picture[:, 40:] = (1, 0, 0), (0, 1, 0), (0, 0, 1)
    centres, labels = few_colours(picture, 3)
    np.testing.assert_allclose(centres[labels], picture, atol=0.02)


def motif(draws: list[int]) -> Motif:
    pixels = np.full((128, 128, 3), 120, np.uint8)
    pixels[70:] = (60, 140, 70)

    def star(canvas: Canvas) -> None:
        draws.append(canvas.size)
        canvas.disc(60, 60, 6, np.ones(3, np.float32))

    return Motif(pixels, np.zeros((128, 128), np.float32), random(1), star)


@pytest.mark.parametrize(
    "style", ["oil", "watercolor", "flat", "ink", "pixel", "impressionist", "woodblock", "digital", "pastel"]
)
def test_every_style_draws_the_details_once(style: str) -> None:
    draws: list[int] = []
    pixels = painted_in(style, motif(draws))
    assert draws == [PIXEL_ART_CELLS if style == "pixel" else 128]
    assert pixels.dtype == np.uint8
    assert pixels[28:32, 28:32].mean() > pixels[5:20, 60:].mean() + 30  # the star shines


def test_pixel_art_is_made_of_whole_dots() -> None:
    pixels = painted_in("pixel", motif([]))
    dots = pixels.reshape(64, 2, 64, 2, 3)
    np.testing.assert_array_equal(dots, np.broadcast_to(dots[:, :1, :, :1], dots.shape))


def test_flat_pictures_have_few_colours() -> None:
    pixels = painted_in("flat", motif([]))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) < 120  # plain areas, and smooth edges between them


def test_a_sheet_is_written(tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    assert main([str(out), "--count", "3", "--size", "64", "--terrain", "lake", "--columns", "2"]) == 0
    with Image.open(out) as sheet:
        assert sheet.size == (2 * 68, 2 * (64 + 68))
