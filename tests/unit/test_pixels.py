from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from studio.errors import StudioError
from studio.imaging.pixels import to_float, to_uint8


def noise(*shape: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_every_level_survives_the_way_in_and_out() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    np.testing.assert_array_equal(to_uint8(to_float(levels))[0], levels)


def test_black_is_minus_one_and_white_is_one() -> None:
    assert to_float(np.array([[[0, 255, 255]]], dtype=np.uint8)).flatten().tolist() == [-1.0, 1.0, 1.0]


def test_axes_turn_from_rows_columns_channels_to_channels_rows_columns() -> None:
    pixels = noise(4, 5, 3)
    images = to_float(pixels)
    assert images.shape == (1, 3, 4, 5)
    assert images[0, 2, 1, 3].item() == pytest.approx(pixels[1, 3, 2] / 127.5 - 1)
    assert to_float(noise(2, 4, 5, 3)).shape == (2, 3, 4, 5)


def test_the_tensor_does_not_share_memory_with_the_pixels() -> None:
    pixels = noise(4, 4, 3)
    images = to_float(pixels)
    pixels[:] = 0
    assert images.std() > 0


def test_values_outside_of_the_range_are_clipped_and_the_rest_rounded_to_nearest() -> None:
    values = torch.tensor([-7.0, -1.0, 0.5 / 127.5 - 1.001 / 127.5 + 0.001 / 127.5, 1.0, 3.0, float("inf")])
    assert to_uint8(values.reshape(1, 1, 1, -1)).flatten().tolist() == [0, 0, 127, 255, 255, 255]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_are_taken(dtype: torch.dtype) -> None:
    assert to_uint8(torch.ones(1, 3, 2, 2, dtype=dtype)).tolist() == np.full((1, 2, 2, 3), 255).tolist()
    assert to_float(noise(2, 2, 3), dtype).dtype == dtype


def test_nan_is_told_in_words() -> None:
    with pytest.raises(StudioError, match="NaN"):
        to_uint8(torch.full((1, 3, 2, 2), float("nan")))


@pytest.mark.parametrize("pixels", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_arrays_that_are_no_pixels_are_refused(pixels: Any) -> None:
    with pytest.raises(ValueError, match="uint8"):
        to_float(pixels)


@pytest.mark.parametrize("images", [torch.zeros(3, 4, 4), torch.zeros(1, 3, 4, 4, dtype=torch.uint8)])
def test_tensors_that_are_no_images_are_refused(images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="float"):
        to_uint8(images)
