"""Wavelet bands: energy is kept, bands mean what they say, shares add up."""

from __future__ import annotations

import numpy as np
import pytest
import pywt
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from studio.diffusion.wavelets import band_energies, shares


@pytest.mark.parametrize("wavelet", ["haar", "db2", "sym4"])
@pytest.mark.parametrize("shape", [(32, 32), (3, 64, 48), (2, 4, 16, 32)])
def test_energy_of_all_bands_is_the_energy_of_the_picture(wavelet: str, shape: tuple[int, ...]) -> None:
    plane = np.random.default_rng(0).normal(size=shape)
    energies = band_energies(plane, wavelet, levels=3)
    # orthogonal filters are tabulated to about 12 digits
    assert energies.sum() == pytest.approx(np.square(plane).sum(), rel=1e-9)


def test_bands_are_those_of_pywavelets_coarse_to_fine() -> None:
    plane = np.random.default_rng(1).normal(size=(32, 48))
    low, *details = pywt.wavedec2(plane, "db2", mode="periodization", level=3)
    expected = [np.square(low).sum(), *(sum(np.square(d).sum() for d in level) for level in details)]
    np.testing.assert_allclose(band_energies(plane, "db2", levels=3), expected, rtol=1e-12)


def test_a_flat_plane_is_all_coarse_and_a_checkerboard_all_fine() -> None:
    flat = shares(band_energies(np.ones((32, 32)), "haar"))
    board = shares(band_energies(np.indices((32, 32)).sum(axis=0) % 2 * 2.0 - 1.0, "haar"))
    assert flat == [100.0, 0.0, 0.0, 0.0, 0.0]
    assert board == [0.0, 0.0, 0.0, 0.0, 100.0]


@pytest.mark.parametrize("side", [1, 2, 4, 8])
def test_small_planes_have_as_many_bands_and_keep_their_energy(side: int) -> None:
    plane = np.random.default_rng(2).normal(size=(3, side, side))
    energies = band_energies(plane, "haar", levels=4)
    assert energies.shape == (5,)
    assert energies.sum() == pytest.approx(np.square(plane).sum(), rel=1e-9)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(arrays(np.float64, st.integers(1, 6), elements=st.floats(0, 1e12)))
def test_shares_add_up_to_one_hundred(energies: np.ndarray) -> None:
    found = shares(energies)
    if energies.sum() > 0:
        assert sum(round(share * 10) for share in found) == 1000
        # largest remainder: none is off by a whole tenth
        np.testing.assert_allclose(found, energies / energies.sum() * 100, atol=0.1 + 1e-9)
    else:
        assert found == [0.0] * len(energies)


@pytest.mark.parametrize("energies", [[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]])
def test_no_energy_and_no_numbers_have_no_shares(energies: list[float]) -> None:
    assert shares(np.array(energies)) == [0.0, 0.0]
