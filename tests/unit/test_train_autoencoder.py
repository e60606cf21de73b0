"""The autoencoder's whitening, losses and crops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from studio.painter.autoencoder import Moments, build_autoencoder, draw_crops, reconstruction_loss, whiten
from studio.painter.preset import PRESETS
from studio.painter.shards import Pictures, Shard, open_pictures, to_floats

PRESET = PRESETS["smoke"]


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_latents_have_the_size_that_the_preset_promises(name: str) -> None:
    preset = PRESETS[name]
    latents = build_autoencoder(preset).encode(torch.zeros(1, 3, preset.picture, preset.picture)).latents
    assert latents.shape == (1, preset.latent_channels, preset.latent, preset.latent)


def test_whitening_gives_every_channel_mean_0_and_deviation_1() -> None:
    torch.manual_seed(0)
    autoencoder, pictures = build_autoencoder(PRESET), torch.rand(8, 3, 32, 32) * 2 - 1
    whiten(autoencoder, pictures)
    latents = autoencoder.encode(pictures).latents
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(4), atol=1e-5, rtol=0)


def test_whitening_hands_the_decoder_what_it_knew_inside_the_picture() -> None:
    """The first convolution gives the same where the latent is small and zero padding is far."""
    torch.manual_seed(0)
    autoencoder, pictures = build_autoencoder(PRESET), torch.rand(8, 3, 32, 32) * 2 - 1
    first = autoencoder.decoder.layers[0]
    with torch.no_grad():
        before = first(autoencoder.encode(pictures).latents)
        whiten(autoencoder, pictures)
        after = first(autoencoder.encode(pictures).latents)
    inside = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    torch.testing.assert_close(after[inside], before[inside], atol=1e-5, rtol=1e-4)


def test_moments_pull_a_channel_back_and_leave_a_unit_channel_alone() -> None:
    torch.manual_seed(0)
    shift = torch.tensor([0.0, 1.0]).requires_grad_()
    scale = torch.tensor([1.0, 2.0]).requires_grad_()
    moments = Moments.unit(2, torch.device("cpu"))
    for _ in range(400):
        shift.grad = scale.grad = None
        latents = torch.randn(64, 2, 4, 4) * scale.view(1, 2, 1, 1) + shift.view(1, 2, 1, 1)
        moments.loss(latents).backward()
        with torch.no_grad():
            shift -= 0.003 * shift.grad
            scale -= 0.003 * scale.grad
    assert shift.tolist() == pytest.approx([0, 0], abs=0.05)
    assert scale.tolist() == pytest.approx([1, 1], abs=0.05)


def test_reconstruction_loss_is_zero_for_the_same_picture_only() -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    from studio.painter.features import Perception

    torch.manual_seed(0)
    perception, picture = Perception(), torch.rand(2, 3, 32, 32) * 2 - 1
    assert float(reconstruction_loss(picture, picture, perception)) == pytest.approx(0, abs=1e-6)
    other = (picture + 0.1 * torch.randn_like(picture)).requires_grad_()
    loss = reconstruction_loss(other, picture, perception)
    assert float(loss.detach()) > 0.05
    loss.backward()
    assert other.grad is not None and other.grad.abs().sum() > 0


def test_perceptual_distance_grows_with_blur() -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    from studio.painter.features import Perception

    torch.manual_seed(0)
    perception, picture = Perception(), torch.rand(1, 3, 64, 64) * 2 - 1
    blurred = [torch.nn.functional.avg_pool2d(picture, size, 1, size // 2) for size in (1, 3, 5)]
    distances = [float(perception.distance(some, picture)) for some in blurred]
    assert distances[0] == pytest.approx(0, abs=1e-6)
    assert distances[1] > distances[0] and distances[2] > distances[1]


def _folder(path: Path, counts: list[int]) -> Pictures:
    random = np.random.default_rng(0)
    for number, count in enumerate(counts):
        np.save(path / f"s{number}.npy", random.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8))
        (path / f"s{number}.json").write_text("[" + ",".join(['"a lake"'] * count) + "]")
    return open_pictures(path)


def test_training_never_sees_the_validation_pictures(tmp_path: Path) -> None:
    pictures = _folder(tmp_path, [20, 10])
    assert pictures.validation == 5
    rows = {tuple(row) for row in pictures.training.tolist()}
    assert rows == {(0, i) for i in range(5, 20)} | {(1, i) for i in range(10)}
    np.testing.assert_array_equal(pictures.held_back(), pictures.shards[0].pictures[:5])


def test_a_shard_without_captions_is_not_read_yet(tmp_path: Path) -> None:
    _folder(tmp_path, [4, 4])
    (tmp_path / "s1.json").unlink()
    assert [shard.path.name for shard in open_pictures(tmp_path).shards] == ["s0.npy"]


def test_crops_are_pieces_of_the_pictures_or_their_mirror_images() -> None:
    picture = np.arange(6 * 6 * 3, dtype=np.uint8).reshape(1, 6, 6, 3)
    pictures = Pictures((Shard(Path("s0.npy"), picture),), 0)
    crops = draw_crops(pictures, pictures.training, 20, 4, np.random.default_rng(0))
    pieces = {
        view[y : y + 4, x : x + 4].tobytes()
        for view in (picture[0], picture[0][:, ::-1])
        for y in range(3)
        for x in range(3)
    }
    assert {crop.tobytes() for crop in crops} <= pieces


def test_floats_span_minus_one_to_one_with_channels_first() -> None:
    pixels = np.zeros((1, 2, 3, 3), np.uint8)
    pixels[0, 1, 2] = (255, 0, 255)
    floats = to_floats(pixels, torch.device("cpu"))
    assert floats.shape == (1, 3, 2, 3)
    assert floats[0, :, 1, 2].tolist() == [1, -1, 1]
