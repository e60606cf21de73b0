"""The linear preview: exact where the decoder is linear, and tame where there is little to learn from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from studio.models.preview import FILE, LinearPreview, fit_linear_preview, read_preview, save_preview


def _decoder(channels: int, patch: int, seed: int = 0) -> LinearPreview:
    # small enough that no pixel leaves [-1, 1], where the preview would clamp it
    generator = torch.Generator().manual_seed(seed)
    return LinearPreview(torch.randn(channels + 1, 3 * patch**2, generator=generator) * 0.03, patch)


@pytest.mark.parametrize("patch", [1, 2, 8])
def test_a_linear_decoder_is_found_exactly(patch: int) -> None:
    decoder = _decoder(4, patch)
    latents = torch.randn(2, 4, 16, 12, generator=torch.Generator().manual_seed(1))
    found = fit_linear_preview(latents, decoder(latents), ridge=1e-9)
    # solved in double, stored in single precision
    torch.testing.assert_close(found.weight, decoder.weight, atol=1e-5, rtol=1e-4)
    new = torch.randn(1, 4, 5, 7, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(found(new), decoder(new), atol=1e-5, rtol=1e-4)


def test_pixels_are_as_large_as_the_picture_and_in_range() -> None:
    shown = _decoder(4, 8)(torch.randn(2, 4, 6, 10) * 100)
    assert shown.shape == (2, 3, 48, 80)
    assert shown.min() >= -1
    assert shown.max() <= 1


def test_one_latent_position_colours_one_patch_alone() -> None:
    decoder = _decoder(4, 4)
    latents = torch.zeros(1, 4, 3, 3)
    before = decoder(latents)
    latents[0, :, 1, 2] = 1.0
    changed = (decoder(latents) != before).any(dim=1)[0]
    assert changed[4:8, 8:12].all()
    changed[4:8, 8:12] = False
    assert not changed.any()


def test_fewer_positions_than_unknowns_still_give_a_finite_map_near_the_mean_colour() -> None:
    latents = torch.randn(1, 32, 2, 2, generator=torch.Generator().manual_seed(3))
    pixels = torch.full((1, 3, 16, 16), 0.25)
    found = fit_linear_preview(latents, pixels)
    assert torch.isfinite(found.weight).all()
    torch.testing.assert_close(found(torch.zeros(1, 32, 2, 2)), pixels, atol=1e-3, rtol=0)


def test_half_precision_latents_are_taken() -> None:
    decoder = _decoder(4, 2)
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(4)).half()
    found = fit_linear_preview(latents, decoder(latents))
    # the map minimises the squared error, so it beats the mean colour by far
    pixels = decoder(latents)
    error = functional.mse_loss(found(latents), pixels)
    assert error < 0.01 * pixels.var()


def test_a_map_kept_beside_a_pipeline_comes_back(tmp_path: Path) -> None:
    decoder = _decoder(4, 8)
    save_preview(decoder, tmp_path)
    found = read_preview(tmp_path)
    assert found is not None
    assert found.patch == 8
    # kept in half precision: 11 bits, for weights of about 0.1
    torch.testing.assert_close(found.weight, decoder.weight, atol=1e-4, rtol=1e-3)


def test_a_map_knows_which_latents_it_is_for() -> None:
    assert _decoder(4, 8).fits(torch.zeros(1, 4, 6, 6))
    assert not _decoder(4, 8).fits(torch.zeros(1, 16, 6, 6))
    assert not _decoder(4, 8).fits(torch.zeros(1, 4, 36))


@pytest.mark.parametrize(
    "tensors",
    [
        {"other": torch.zeros(5, 12)},
        {"weight": torch.zeros(5)},
        {"weight": torch.zeros(5, 13)},
        {"weight": torch.zeros(5, 15)},
        {"weight": torch.full((5, 12), torch.nan)},
    ],
    ids=["no weight", "a vector", "no colours", "no square", "no numbers"],
)
def test_a_file_that_makes_no_sense_is_no_map(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file(tensors, tmp_path / FILE)
    assert read_preview(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"no safetensors", b"\xff" * 64])
def test_a_broken_file_is_no_map(tmp_path: Path, content: bytes) -> None:
    assert read_preview(tmp_path) is None
    (tmp_path / FILE).write_bytes(content)
    assert read_preview(tmp_path) is None
