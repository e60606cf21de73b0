"""The picture of the gap: it is a PNG, draws what it is given, and nothing makes it fail."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from studio.imaging.gap_plot import PANEL, SCALE, TOP, WIDTH, Curve, Panel, _tick, gap_plot

ORANGE, BLUE = (0xC2, 0x41, 0x0C), (0x1D, 0x6F, 0xB8)


def drawn(positions: Sequence[float], panels: Sequence[Panel]) -> np.ndarray:
    with Image.open(io.BytesIO(gap_plot("A model", positions, panels, "gap"))) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def heights(pixels: np.ndarray, colour: tuple[int, int, int], panel: int) -> np.ndarray:
    """Rows of one panel in which a colour stands, 0 being the panel's middle and up positive."""
    top = (TOP + panel * PANEL) * SCALE
    rows, _ = np.nonzero((pixels[top : top + PANEL * SCALE] == colour).all(-1))
    return PANEL * SCALE / 2 - rows


def test_curves_stand_above_and_below_zero_in_their_panels() -> None:
    flat = [0.0, 0.0, 0.0]
    panels = [
        Panel("low", [Curve("before", [0.1, 0.2, 0.3], flat), Curve("after", [-0.1, -0.2, -0.3], flat)]),
        Panel("details", [Curve("before", [-0.3, -0.2, -0.1], flat)]),
    ]
    pixels = drawn([0.9, 0.5, 0.1], panels)
    assert pixels.shape[1] == WIDTH * SCALE
    assert heights(pixels, ORANGE, 0).min() > 0 > heights(pixels, BLUE, 0).max()
    assert heights(pixels, ORANGE, 1).max() < 0
    assert heights(pixels, BLUE, 1).size == 0


@pytest.mark.parametrize("value", [0.0, 1e-12, 1e-5, 3.0, 1e6])
@pytest.mark.parametrize("count", [1, 2, 200])
def test_any_size_and_number_of_values_is_drawn(value: float, count: int) -> None:
    curve = Curve("before", [value] * count, [value / 10] * count)
    pixels = drawn(np.linspace(1, 0, count).tolist(), [Panel("low", [curve])])
    assert (pixels == ORANGE).all(-1).any()


@pytest.mark.parametrize("reach", [1e-6, 0.0085, 0.01, 0.0199, 0.02, 0.05, 0.085, 0.1, 0.5, 0.99, 1, 3, 7])
def test_two_to_five_ticks_fit_into_the_reach(reach: float) -> None:
    assert 2 <= reach / _tick(reach) < 5.0001
