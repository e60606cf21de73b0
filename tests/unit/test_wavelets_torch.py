"""Bands of tensors: those of PyWavelets, back again without loss, whatever the size, dtype and boundary."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import pywt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.diffusion.strengths import check_wavelet
from studio.diffusion.wavelets import (
    PERIODIZATION,
    ZERO,
    Bands,
    add_bands,
    add_blocks,
    band_energies,
    band_energy,
    merge_bands,
    projections,
    split_bands,
)
from studio.errors import StudioError

few = settings(max_examples=25, deadline=None, derandomize=True)
ORTHOGONAL = ["haar", "db2", "db3", "db4", "sym8", "coif2", "db20", "coif17"]
boundaries = st.sampled_from([PERIODIZATION, ZERO])
TIGHT = 1e-9  # float64; some filters are tabulated to ten digits only


@st.composite
def cases(draw: st.DrawFn, axes: int | None = None) -> tuple[torch.Tensor, str, int, int]:
    """A plane or line of any size, odd ones too, with a wavelet and levels that it can bear."""
    axes = axes or draw(st.sampled_from([1, 2]))
    size = [draw(st.integers(2, 33)) for _ in range(axes)]
    lead = draw(st.lists(st.integers(1, 3), max_size=2))
    levels = draw(st.integers(1, min(5, min(size).bit_length() - 1)))
    seed = draw(st.integers(0, 10_000))
    plane = torch.randn(*lead, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return plane, draw(st.sampled_from(ORTHOGONAL)), levels, axes


def _from_pywt(
    plane: torch.Tensor, wavelet: str, levels: int, axes: int, boundary: str
) -> tuple[np.ndarray, list[np.ndarray]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a filter is longer than the plane: so it is
        if axes == 2:
            low, *details = pywt.wavedec2(plane.numpy(), wavelet, mode=boundary, level=levels)
            return low, [np.stack(detail) for detail in details]
        low, *details = pywt.wavedec(plane.numpy(), wavelet, mode=boundary, level=levels)
        return low, [detail[None] for detail in details]


@few
@given(cases(), boundaries)
def test_bands_are_those_of_pywavelets(case: tuple[torch.Tensor, str, int, int], boundary: str) -> None:
    bands = split_bands(*case, boundary)
    low, details = _from_pywt(*case, boundary)
    np.testing.assert_allclose(bands.low, low, atol=1e-11)
    assert len(bands.details) == len(details)
    for mine, theirs in zip(bands.details, details, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-11)


@few
@given(cases(), boundaries)
def test_merging_gives_the_plane_back(case: tuple[torch.Tensor, str, int, int], boundary: str) -> None:
    plane = case[0]
    merged = merge_bands(split_bands(*case, boundary))
    assert merged.shape == plane.shape and merged.dtype == plane.dtype
    torch.testing.assert_close(merged, plane, rtol=0, atol=TIGHT)


@few
@given(cases())
def test_energy_adds_up_over_bands_where_sides_can_be_halved(case: tuple[torch.Tensor, str, int, int]) -> None:
    plane, wavelet, levels, axes = case
    unit = 2**levels
    plane = plane.repeat_interleave(unit, -1)
    plane = plane.repeat_interleave(unit, -2) if axes == 2 else plane
    plane = plane + torch.linspace(-1, 1, plane.numel(), dtype=plane.dtype).view_as(plane).cos()
    energy = band_energy(plane, wavelet, levels, axes)
    assert energy.shape == (*plane.shape[:-axes], levels + 1)
    total = plane.square().sum(tuple(range(-axes, 0)))
    torch.testing.assert_close(energy.sum(-1), total, rtol=1e-8, atol=0)


def test_energies_of_tensors_are_those_of_arrays() -> None:
    plane = torch.randn(3, 32, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for wavelet in ("haar", "db2", "sym4"):
        np.testing.assert_allclose(
            band_energy(plane, wavelet, 4).sum(0), band_energies(plane.numpy(), wavelet, 4), rtol=1e-10
        )


@few
@given(cases(), boundaries)
def test_projections_are_single_bands_in_space(case: tuple[torch.Tensor, str, int, int], boundary: str) -> None:
    bands = split_bands(*case, boundary)
    images = projections(*case, boundary)
    for band, image in enumerate(images):
        torch.testing.assert_close(image, merge_bands(bands.only(band)), rtol=0, atol=TIGHT)
    torch.testing.assert_close(torch.stack(images).sum(0), case[0], rtol=0, atol=TIGHT)


@few
@given(cases(), boundaries, st.lists(st.floats(-2, 2), min_size=6, max_size=6))
def test_adding_weighted_bands_is_scaling_and_merging(
    case: tuple[torch.Tensor, str, int, int], boundary: str, weights: list[float]
) -> None:
    plane, wavelet, levels, axes = case
    weights = weights[: levels + 1]
    base = plane.flip(-1).sin()
    expected = base + merge_bands(split_bands(*case, boundary).scaled(weights))
    torch.testing.assert_close(add_bands(base, plane, weights, wavelet, axes, boundary), expected, rtol=0, atol=TIGHT)


@few
@given(cases(), st.floats(-2, 2), st.floats(-2, 2))
def test_block_means_are_one_haar_level(case: tuple[torch.Tensor, str, int, int], low: float, high: float) -> None:
    plane, _, _, axes = case
    base = plane.cos()
    expected = base + merge_bands(split_bands(plane, "haar", 1, axes, ZERO).scaled((low, high)))
    torch.testing.assert_close(add_blocks(base, plane.clone(), low, high, axes), expected, rtol=0, atol=1e-12)


@few
@given(cases(), boundaries, st.floats(-3, 3))
def test_splitting_is_linear(case: tuple[torch.Tensor, str, int, int], boundary: str, factor: float) -> None:
    plane, *how = case
    other = plane.flip(-1)
    together = split_bands(plane + factor * other, *how, boundary)
    for mine, theirs, both in zip(
        split_bands(plane, *how, boundary), split_bands(other, *how, boundary), together, strict=True
    ):
        torch.testing.assert_close(mine + factor * theirs, both, rtol=0, atol=TIGHT)


@pytest.mark.parametrize("wavelet", [w for w in pywt.wavelist(kind="discrete") if pywt.Wavelet(w).orthogonal])
def test_every_orthogonal_wavelet_comes_back(wavelet: str) -> None:
    if wavelet == "dmey":
        with pytest.raises(StudioError, match="not orthogonal"):
            check_wavelet(wavelet)
        return
    plane = torch.randn(2, 16, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for boundary in (PERIODIZATION, ZERO):
        # sym19 and sym20 are tabulated to ten digits
        torch.testing.assert_close(merge_bands(split_bands(plane, wavelet, 2, 2, boundary)), plane, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float16, 2e-3), (torch.bfloat16, 2e-2), (torch.float32, 2e-6), (torch.float64, 1e-12)],
)
def test_planes_keep_their_dtype_and_half_precision_is_computed_in_single(
    dtype: torch.dtype, tolerance: float
) -> None:
    plane = torch.randn(2, 15, 17, generator=torch.Generator().manual_seed(2)).to(dtype)
    bands = split_bands(plane, "db4", 2)
    assert bands.low.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    merged = merge_bands(bands)
    assert merged.dtype == dtype
    torch.testing.assert_close(merged, plane, rtol=0, atol=tolerance)


def test_a_checkerboard_is_all_finest_detail_and_a_ramp_has_every_band() -> None:
    ramp = torch.linspace(0, 1, 16).expand(16, 16)
    board = (torch.arange(16)[:, None] + torch.arange(16)) % 2 * 2.0 - 1
    images = torch.stack(projections(torch.stack([ramp, board]), "haar", 3))
    assert images.shape == (4, 2, 16, 16)
    torch.testing.assert_close(images.sum(0), torch.stack([ramp, board]), rtol=0, atol=1e-6)
    torch.testing.assert_close(images[3, 1], board, rtol=0, atol=1e-6)
    assert images[:3, 1].abs().max() < 1e-6
    assert (images[:, 0].abs().amax(dim=(1, 2)) > 1e-2).all()


def test_a_band_can_be_put_in_the_place_of_another() -> None:
    generator = torch.Generator().manual_seed(3)
    mine, theirs = (split_bands(torch.randn(4, 16, 16, generator=generator), "db2", 2) for _ in range(2))
    mixed = mine.with_band(0, theirs.low).with_band(2, theirs[2])
    assert mixed.levels == 2 and len(mixed) == 3
    torch.testing.assert_close(
        merge_bands(mixed), merge_bands(theirs.only(0, 2)) + merge_bands(mine.only(1)), rtol=0, atol=1e-5
    )
    with pytest.raises(StudioError, match=r"Band 1 is shaped \(3, 4, 4, 4\)"):
        mine.with_band(1, theirs.low)
    for band in (3, -1, True):
        with pytest.raises(StudioError, match="There is no band"):
            mine.with_band(band, theirs.low)
    with pytest.raises(StudioError, match="3 bands, but 2 weights"):
        mine.scaled((1.0, 2.0))


def test_latents_that_are_laid_out_otherwise_in_memory_have_the_same_bands() -> None:
    plane = torch.randn(2, 4, 16, 12, generator=torch.Generator().manual_seed(4))
    spread = plane.contiguous(memory_format=torch.channels_last)
    for wavelet in ("haar", "db4"):
        torch.testing.assert_close(
            add_bands(spread, spread, (0.1, 0.2, 0.3), wavelet), add_bands(plane, plane, (0.1, 0.2, 0.3), wavelet)
        )
    torch.testing.assert_close(
        add_blocks(spread, spread.clone(), 0.1, 0.2), add_blocks(plane, plane.clone(), 0.1, 0.2)
    )


def test_gradients_pass_through_the_bands() -> None:
    plane = torch.randn(6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5), requires_grad=True)

    def of_weighted(x: torch.Tensor) -> torch.Tensor:
        return add_bands(x, x * 2, (0.3, -0.1), "db2") + add_blocks(x, x * 2, 0.3, -0.1)

    assert torch.autograd.gradcheck(of_weighted, (plane,))


def test_gradients_pass_through_bands_that_were_made_without_them_before() -> None:
    plane = torch.randn(34, 38, generator=torch.Generator().manual_seed(6))
    with torch.inference_mode():
        merge_bands(split_bands(plane, "db5", 2))
    plane.requires_grad_()
    merge_bands(split_bands(plane, "db5", 2)).sum().backward()
    assert plane.grad is not None
    torch.testing.assert_close(plane.grad, torch.ones_like(plane), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("plane", "wavelet", "levels", "axes", "words"),
    [
        (torch.zeros(8, 8), "har", 1, 2, "Did you mean 'haar'"),
        (torch.zeros(8, 8), "bior2.2", 1, 2, "not orthogonal"),
        (torch.zeros(8, 8), "haar", 6, 2, "1 to 5"),
        (torch.zeros(8, 15), "haar", 4, 2, "4 wavelet levels cannot be made of 8 × 15 latents: at most 3 can"),
        (torch.zeros(8, 1), "haar", 1, 2, "too small for any"),
        (torch.zeros(7), "haar", 1, 2, "fewer than 2 axes"),
        (torch.zeros(8, 8), "haar", 1, 3, "1 or 2 axes"),
        (torch.zeros(8, 8, dtype=torch.uint8), "haar", 1, 2, "floating-point"),
    ],
)
def test_what_cannot_be_split_is_said(plane: torch.Tensor, wavelet: str, levels: int, axes: int, words: str) -> None:
    with pytest.raises(StudioError, match=words):
        split_bands(plane, wavelet, levels, axes)


def test_only_two_boundaries_are_known() -> None:
    with pytest.raises(StudioError, match="'symmetric' is no boundary"):
        split_bands(torch.zeros(8, 8), boundary="symmetric")


def test_bands_are_a_plain_value() -> None:
    bands = split_bands(torch.zeros(8, 8), "haar", 2)
    assert isinstance(bands, Bands)
    assert [tuple(band.shape) for band in bands] == [(2, 2), (3, 2, 2), (3, 4, 4)]
    assert bands.sizes == ((8, 8), (4, 4))
