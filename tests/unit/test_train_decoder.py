"""The decoder's discriminator, its crops with their latents, and how an older autoencoder grows."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from studio.errors import StudioError
from studio.painter.autoencoder import build_autoencoder
from studio.painter.decoder import (
    Discriminator,
    Encoded,
    adversarial_loss,
    detail,
    discriminator_loss,
    joined_gradient,
)
from studio.painter.latents import encoder_fingerprint
from studio.painter.preset import PRESETS
from studio.painter.shards import Shard
from studio.painter.warm_start import grow_autoencoder

PRESET = PRESETS["smoke"]


@pytest.mark.parametrize(("reduction", "coarse"), [(4, 8), (8, 4), (16, 2)])
def test_the_judge_says_something_of_every_patch_and_of_every_latent_cell(reduction: int, coarse: int) -> None:
    discriminator = Discriminator(5, reduction, width=4)
    verdicts = discriminator(torch.zeros(2, 3, 32, 32), torch.zeros(2, 5, 32 // reduction, 32 // reduction))
    assert [tuple(each.shape) for each in verdicts] == [(2, 1, 8, 8), (2, 1, coarse, coarse)]


def test_the_judge_looks_at_the_latent_too() -> None:
    torch.manual_seed(0)
    discriminator, pictures = Discriminator(5, 8, width=4), torch.rand(1, 3, 32, 32)
    verdicts = [discriminator(pictures, torch.full((1, 5, 4, 4), value)) for value in (0.0, 1.0)]
    assert all(not torch.equal(a, b) for a, b in zip(*verdicts, strict=True))


def test_a_judge_that_is_sure_and_right_pays_nothing_and_the_decoder_pays_for_being_seen() -> None:
    sure, against = [torch.full((1, 1, 2, 2), 3.0)], [torch.full((1, 1, 2, 2), -3.0)]
    assert float(discriminator_loss(sure, against)) == 0
    assert float(discriminator_loss(against, sure)) == 8
    assert float(adversarial_loss(against)) == 3 > float(adversarial_loss(sure))


def test_the_two_gradients_are_added_at_the_share_asked_for_whatever_their_lengths() -> None:
    made = torch.zeros(1, 3, 4, 4, requires_grad=True)
    to_the_left, up = torch.zeros_like(made), torch.zeros_like(made)
    to_the_left[..., 0], up[:, 1] = 2.0, 1000.0
    near, fooled = (made * to_the_left).sum(), (made * up).sum()
    joined = joined_gradient(made, near, fooled, 0.5)
    torch.testing.assert_close(joined - to_the_left, up * (0.5 * to_the_left.norm() / up.norm()))
    torch.testing.assert_close(joined_gradient(made, near, fooled, 0.0), to_the_left)


def test_a_picture_comes_with_its_own_latent_mirrored_or_not() -> None:
    """Every pixel says which latent cell of which picture it belongs to, and every latent says which cell it is."""
    numbers = np.arange(3 * 6 * 6).reshape(3, 6, 6)
    pictures = numbers.repeat(4, 1).repeat(4, 2)[..., None].repeat(3, 3).astype(np.uint8)
    latents = np.stack([numbers, numbers[:, :, ::-1]], axis=1)[:, :, None].astype(np.float16)
    encoded = Encoded([Shard(Path("s0.npy"), pictures)], [latents], np.array([[0, 0], [0, 2]]))
    drawn, of_them = encoded.draw(40, np.random.default_rng(0))
    assert drawn.shape == (40, 24, 24, 3) and of_them.shape == (40, 1, 6, 6)
    np.testing.assert_array_equal(drawn[:, ::4, ::4, 0], of_them[:, 0])
    assert {values.tobytes() for values in of_them} == {
        np.float32(latents[picture, view]).tobytes() for picture in (0, 2) for view in (0, 1)
    }


def test_a_grown_autoencoder_keeps_the_old_one_and_its_encoder_to_the_bit(tmp_path: Path) -> None:
    torch.manual_seed(0)
    old = build_autoencoder(dataclasses.replace(PRESET, decoder_blocks=(1, 1, 0)))
    new = build_autoencoder(dataclasses.replace(PRESET, decoder_blocks=(2, 1, 1)))
    grow_autoencoder(old, new)
    for name, autoencoder in (("old", old), ("new", new)):
        autoencoder.save_pretrained(tmp_path / name)
    assert encoder_fingerprint(tmp_path / "old") == encoder_fingerprint(tmp_path / "new")
    # the block added after another one passes on what that rectified; the one added alone rectifies
    x, y = torch.randn(1, 4, 8, 8), []
    for autoencoder in (old, new):
        layers = list(autoencoder.decoder.layers)
        first = torch.nn.Sequential(
            *layers[: next(i for i, k in enumerate(layers) if isinstance(k, torch.nn.Upsample))]
        )
        y.append(first(x))
    torch.testing.assert_close(*y)
    last = new.decoder.layers[-2]
    torch.testing.assert_close(last(y[0]), y[0].relu())
    torch.testing.assert_close(new.decoder.layers[-1].weight, old.decoder.layers[-1].weight)


def test_an_autoencoder_of_another_width_is_refused() -> None:
    wide = build_autoencoder(dataclasses.replace(PRESET, coder_channels=24))
    with pytest.raises(StudioError, match="other sizes"):
        grow_autoencoder(wide, build_autoencoder(PRESET))


def test_detail_is_1_for_the_same_picture_and_0_for_a_flat_one() -> None:
    class Back(torch.nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor = factor

        def encode(self, pictures: torch.Tensor) -> object:
            return type("Encoded", (), {"latents": pictures})

        def decode(self, latents: torch.Tensor) -> object:
            return type("Decoded", (), {"sample": latents * self.factor})

    torch.manual_seed(0)
    pictures = torch.rand(4, 3, 32, 32) * 2 - 1
    assert detail(Back(1.0), pictures) == pytest.approx([1, 1, 1])  # type: ignore[arg-type]
    assert detail(Back(0.5), pictures) == pytest.approx([0.5, 0.5, 0.5])  # type: ignore[arg-type]
    assert detail(Back(0.0), pictures) == [0, 0, 0]  # type: ignore[arg-type]
