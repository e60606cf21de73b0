"""Nine ways to paint a finished picture again: brush lines, washes, flat shapes, ink, big pixels, prints and chalk.

A style takes the pixels, a map of what must stay crisp, and a function that draws small bright or dark things; it
calls that function when its own medium would, so that stars, birds and lit windows are never painted over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from studio.painter.canvas import Canvas, colour, mix
from studio.painter.noise import Array, blurred, noise_field

Pixels = npt.NDArray[np.uint8]
PIXEL_ART_CELLS = 64
CHANNEL_SUM = np.ones((1, 3), np.float32)


@dataclass(frozen=True, eq=False)
class Motif:
    """What a style works from: pixels uint8 (size, size, 3), focus (size, size) from 0 to 1, details to draw last."""

    pixels: Pixels
    focus: Array
    rng: np.random.Generator
    draw_details: Callable[[Canvas], None]

    @property
    def size(self) -> int:
        """Side in pixels."""
        return len(self.pixels)

    @property
    def scale(self) -> float:
        """Pixels per unit."""
        return self.size / 256

    def noise(self, cells: float, octaves: int, aspect: float = 1.0) -> Array:
        """Noise over the whole picture, `cells` down and `cells * aspect` across, never finer than two pixels."""
        down = min(cells, self.size / 2)
        return noise_field(self.rng, (self.size, self.size), (down, min(cells * aspect, self.size / 2)), octaves)

    def with_details(self, picture: Array) -> Array:
        """The float picture with stars, birds, windows and the like drawn on it."""
        canvas = Canvas(self.size, to_pixels(picture))
        self.draw_details(canvas)
        return to_float(canvas.pixels)


def to_float(pixels: Pixels) -> Array:
    """uint8 to float from 0 to 1."""
    return pixels.astype(np.float32) * np.float32(1 / 255)


def to_pixels(picture: Array) -> Pixels:
    """Float from 0 to 1 to uint8."""
    return (np.clip(picture, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def smoothed(picture: Array, units: float, scale: float) -> Array:
    """Kuwahara filter: a pixel becomes the mean of the calmest of four squares, `units` wide, beside it."""
    side = max(3, int(units * scale) | 1) if units * scale > 1.2 else 2
    size, reach = picture.shape[0], side - 1
    wide = cv2.copyMakeBorder(picture, reach, reach, reach, reach, cv2.BORDER_REFLECT_101)
    mean = cv2.blur(wide, (side, side), anchor=(0, 0))  # of the square that begins at each pixel
    spread = cv2.transform(cv2.blur(cv2.multiply(wide, wide), (side, side), anchor=(0, 0)), CHANNEL_SUM)
    spread -= cv2.transform(cv2.multiply(mean, mean), CHANNEL_SUM)
    result: Array = mean[reach : reach + size, reach : reach + size].copy()
    least = spread[reach : reach + size, reach : reach + size]
    for top, left in ((reach, 0), (0, reach), (0, 0)):
        other = spread[top : top + size, left : left + size]
        calmer = other < least
        least = np.minimum(other, least)
        np.copyto(result, mean[top : top + size, left : left + size], where=calmer[..., None])
    return result


def saturated(picture: Array, amount: float) -> Array:
    """Colours moved away from grey; 1 changes nothing."""
    grey = picture.mean(2, keepdims=True)
    vivid: Array = np.clip(grey + (picture - grey) * np.float32(amount), 0, 1)
    return vivid


def grey_of(picture: Array) -> Array:
    """Brightness (H, W)."""
    grey: Array = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return grey


def brushed(
    motif: Motif,
    picture: Array,
    length: float,
    width: float,
    coverage: float,
    jitter: float,
    flow: Array | None = None,
) -> Array:
    """Cover a float picture with short straight brush lines that follow its forms.

    `length` and `width` in units; `coverage` is how often, on average, a pixel is painted over; `jitter` how much
    single strokes differ in colour. Strokes get shorter where edges are strong.
    """
    rng, size, scale = motif.rng, motif.size, motif.scale
    thickness = max(1, round(width * scale))
    count = int(coverage * size * size / (length * scale * thickness))
    soft = blurred(grey_of(picture), max(1.0, 3 * scale))
    gradient_x, gradient_y = cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)
    wander = motif.noise(2, 2) if flow is None else flow
    columns, rows = rng.integers(size, size=count), rng.integers(size, size=count)
    across, down, turns = gradient_x[rows, columns], gradient_y[rows, columns], wander[rows, columns]
    strengths = np.hypot(across, down)
    angles = np.where(strengths < 0.02, 0.6 * turns, np.arctan2(across, -down) + 0.5 * turns)
    reach = 0.5 * length * scale * rng.uniform(0.6, 1.2, count) * (1 - 0.6 * np.minimum(1, strengths * 4))
    tones = blurred(picture, max(0.6, scale))[rows, columns]
    tint = rng.normal(0, jitter * 0.55, (count, 3)) + rng.normal(0, jitter * 1.1, (count, 1))
    tones = tones + tint * np.minimum(0.95, 0.35 + tones.mean(1, keepdims=True))
    step = np.stack([np.cos(angles) * reach, np.sin(angles) * reach], 1)
    centres = np.stack([columns, rows], 1).astype(np.float64)
    starts = np.rint((centres - step) * 16).astype(np.int32).tolist()
    ends = np.rint((centres + step) * 16).astype(np.int32).tolist()
    colours = np.clip(tones * 255 + 0.5, 0, 255).astype(np.uint8).tolist()
    painted = to_pixels(picture)
    line, smooth = cv2.line, cv2.LINE_AA
    for start, end, tone in zip(starts, ends, colours, strict=True):
        line(painted, start, end, tone, thickness, smooth, 4)
    return to_float(painted)


def few_colours(picture: Array, count: int) -> tuple[Array, npt.NDArray[np.int64]]:
    """The `count` colours that suit a picture best, float (count, 3), and the index of the nearest for every pixel."""
    sample = cv2.resize(picture, (40, 40), interpolation=cv2.INTER_AREA).reshape(-1, 3)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 10, 0.002)
    start = np.zeros((len(sample), 1), np.int32)
    _, _, centres = cv2.kmeans(sample, count, start, criteria, 1, cv2.KMEANS_PP_CENTERS)
    flat = picture.reshape(-1, 3)
    distance = (centres * centres).sum(1) - 2 * (flat @ centres.T)
    return centres, distance.argmin(1).reshape(picture.shape[:2])


def _median(labels: Array | Pixels, scale: float) -> Pixels:
    smooth: Pixels = cv2.medianBlur(labels.astype(np.uint8), 5 if scale > 0.75 else 3)
    return smooth


def _simplified(motif: Motif, units: float) -> Array:
    calm = to_pixels(smoothed(to_float(motif.pixels), units, motif.scale))
    return to_float(cv2.bilateralFilter(calm, 7 if motif.scale > 0.75 else 5, 26, 7 * motif.scale))


def _sharpen_focus(motif: Motif, painted: Array, crisp: Array, amount: float) -> Array:
    return mix(painted, crisp, (motif.focus * np.float32(amount))[..., None])


def digital(motif: Motif) -> Array:
    """The picture as it is, with a little grain."""
    grain = motif.rng.standard_normal((motif.size, motif.size, 1), dtype=np.float32) * np.float32(0.006)
    return motif.with_details(to_float(motif.pixels) + grain)


def oil(motif: Motif) -> Array:
    """Two layers of brush lines, broad and fine, with the relief of thick paint."""
    source = to_float(motif.pixels)
    calm = smoothed(source, 5, motif.scale)
    wander = motif.noise(2, 2)
    painted = brushed(motif, calm, 20, 4.9, 1.6, 0.022, wander)
    painted = brushed(motif, painted, 11, 2.8, 1.1, 0.02, wander)
    painted = mix(painted, smoothed(painted, 3, motif.scale), 0.35)
    painted = _sharpen_focus(motif, painted, calm, 0.8)
    height = grey_of(painted) + np.float32(0.02) * motif.noise(60, 2)
    kernel = np.array([[-1, -1, 0], [-1, 0, 1], [0, 1, 1]], np.float32)
    relief = np.clip(cv2.filter2D(height, -1, kernel), -0.5, 0.5)
    return motif.with_details(saturated(painted + np.float32(0.09) * relief[..., None], 1.18))


def impressionist(motif: Motif) -> Array:
    """Short dabs of strong colour."""
    calm = smoothed(to_float(motif.pixels), 5, motif.scale)
    wander = motif.noise(2, 2)
    painted = brushed(motif, calm, 15, 6.4, 1.1, 0.03, wander)
    painted = brushed(motif, painted, 8, 3.4, 1.3, 0.038, wander)
    painted = _sharpen_focus(motif, mix(painted, calm, 0.12), calm, 0.6)
    return motif.with_details(saturated(painted, 1.28))


def watercolor(motif: Motif) -> Array:
    """Washes that pool at their edges, on rough paper with a white border."""
    scale, size = motif.scale, motif.size
    calm = smoothed(to_float(motif.pixels), 5, scale)
    grid_x, grid_y = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
    shift = np.float32(1.5 * scale)
    wobble_x, wobble_y = motif.noise(14, 3), motif.noise(14, 3)
    washed = cv2.remap(
        calm, grid_x + shift * wobble_x, grid_y + shift * wobble_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    washed = _sharpen_focus(motif, washed, calm, 0.5)
    grey = grey_of(washed)
    edges = np.abs(grey - blurred(grey, max(1.0, 2.2 * scale)))
    paper, pools = motif.noise(70, 2), motif.noise(3, 5)
    brightness = blurred(grey, 6 * scale)
    washed = washed * np.float32(0.88) + np.float32(0.12) * colour("8fa0c8") * (1 - brightness[..., None])
    pigment = 0.86 + (0.12 * pools + 0.05 * paper) * np.clip(brightness * 1.3, 0.15, 1)
    washed = saturated(1 - (1 - washed) * pigment[..., None].astype(np.float32), 1.18)
    washed = motif.with_details(np.clip(washed - edges[..., None] * np.float32(0.9), 0, 1))
    x, y = grid_x / np.float32(scale), grid_y / np.float32(scale)
    side = np.float32(255)
    border = np.minimum(np.minimum(x, side - x), np.minimum(y, side - y)) + np.float32(2.4) * motif.noise(9, 4)
    inside = np.clip((border - 6) / 4, 0, 1)[..., None]
    return mix(colour("fbf7ee") * (1 - np.float32(0.012) * paper[..., None]), washed, inside)


def flat(motif: Motif) -> Array:
    """A few plain colours with smooth outlines."""
    simple = _simplified(motif, 3)
    centres, labels = few_colours(simple, 16)
    plain = np.clip(centres[labels] * 255, 0, 255).astype(np.uint8)
    picture = to_float(_median(plain, motif.scale))
    crisp = to_float(motif.pixels)
    picture = _sharpen_focus(motif, picture, crisp, 0.55)
    return motif.with_details(saturated(picture, 1.3))


def ink(motif: Motif) -> Array:
    """Washes of black ink on warm paper, darker along edges."""
    scale, size = motif.scale, motif.size
    calm = smoothed(to_float(motif.pixels), 4, scale)
    grey = grey_of(motif.with_details(calm))
    low, high = np.quantile(grey[::2, ::2], [0.02, 0.92])
    grey = np.clip((grey - low) / max(float(high - low), 0.12), 0, 1) ** np.float32(0.85)
    grid_x, grid_y = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
    wobble = motif.noise(16, 3) * np.float32(1.2 * scale)
    bled = cv2.remap(grey, grid_x + wobble, grid_y + wobble[::-1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    bled = bled + (grey - bled) * motif.focus
    edges = np.clip(blurred(bled, max(1.0, 1.8 * scale)) - bled, 0, 1)
    stepped = np.round(bled * 5) / 5 * np.float32(0.5) + bled * np.float32(0.5)
    value = np.clip(1 - (1 - stepped) * (0.86 + 0.09 * motif.noise(4, 5)) - 2.4 * edges, 0.04, 1).astype(np.float32)
    paper = colour("f6efe0") * (1 + np.float32(0.012) * motif.noise(80, 2))[..., None]
    return mix(np.broadcast_to(colour("17171c"), paper.shape), paper, value[..., None])


def pixel(motif: Motif) -> Array:
    """64 x 64 big dots of few tones, with an ordered dither."""
    cells = PIXEL_ART_CELLS
    calm = smoothed(to_float(motif.pixels), 3, motif.scale)
    small = cv2.resize(calm, (cells, cells), interpolation=cv2.INTER_AREA)
    bayer = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], np.float32) / 16 - np.float32(
        0.47
    )
    dither = np.tile(bayer, (cells // 4, cells // 4))[..., None] * np.float32(0.28)
    dotted = np.round(saturated(small, 1.3) * 8 + dither) / np.float32(8)
    canvas = Canvas(cells, to_pixels(dotted))
    motif.draw_details(canvas)
    big: Pixels = cv2.resize(canvas.pixels, (motif.size, motif.size), interpolation=cv2.INTER_NEAREST)
    return to_float(big)


def woodblock(motif: Motif) -> Array:
    """Few colours, dark key lines, the grain of a wooden block and warm paper."""
    simple = _simplified(motif, 4)
    centres, labels = few_colours(simple, 12)
    printed = centres[_median(labels.astype(np.uint8), motif.scale)]
    printed = _sharpen_focus(motif, printed, to_float(motif.pixels), 0.6)
    tone = printed @ np.array([0.3, 0.6, 0.1], np.float32)
    step = np.maximum(
        np.abs(np.diff(tone, axis=0, prepend=tone[:1])), np.abs(np.diff(tone, axis=1, prepend=tone[:, :1]))
    )
    lines = blurred(np.clip((step - 0.12) / 0.1, 0, 1).astype(np.float32), 0.5 + 0.3 * motif.scale) * np.float32(1.3)
    inked = saturated(mix(printed, simple, 0.35), 1.35)
    inked = np.clip((inked - 0.5) * 1.12 + 0.5, 0, 1) * colour("fff3dc") * np.float32(0.92) + colour(
        "f0e2c4"
    ) * np.float32(0.08)
    grain = (0.03 * motif.noise(3, 3, 0.1) + 0.03 * motif.noise(80, 1, 0.1)) * np.clip(tone * 1.6, 0.12, 1)
    inked = inked * (1 + grain)[..., None].astype(np.float32)
    inked = mix(inked, colour("1c2238"), np.clip(lines, 0, 0.85)[..., None])
    return motif.with_details(inked)


def pastel(motif: Motif) -> Array:
    """Soft strokes of chalk that let the paper through."""
    calm = smoothed(to_float(motif.pixels), 5, motif.scale)
    drawn = _sharpen_focus(motif, brushed(motif, calm, 13, 3, 1.35, 0.022), calm, 0.6)
    tooth = np.clip(0.10 + 0.07 * motif.noise(90, 2), 0, 0.4) * np.clip(0.35 + grey_of(drawn), 0, 1)
    return motif.with_details(saturated(mix(drawn, colour("f6efe4"), tooth[..., None].astype(np.float32)), 1.2))


_STYLES: dict[str, Callable[[Motif], Array]] = {
    "oil": oil,
    "watercolor": watercolor,
    "flat": flat,
    "ink": ink,
    "pixel": pixel,
    "impressionist": impressionist,
    "woodblock": woodblock,
    "digital": digital,
    "pastel": pastel,
}


def painted_in(style: str, motif: Motif) -> Pixels:
    """The motif in a style, uint8 (size, size, 3)."""
    return to_pixels(_STYLES[style](motif))
