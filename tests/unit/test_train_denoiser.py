"""The denoiser's loss, weights, batches and schedule, against closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from studio.models.solvers import make_scheduler
from studio.painter.denoiser import (
    TIMESTEPS,
    build_scheduler,
    build_unet,
    computes_in_bfloat16,
    draw_batch,
    loss_weights,
    stratified_timesteps,
    velocity_error,
)
from studio.painter.latents import Latents
from studio.painter.preset import PRESETS
from studio.painter.warm_start import grown
from studio.requests import SOLVERS

ALPHAS = build_scheduler().alphas_cumprod


class OnePicture(nn.Module):
    """The exact denoiser of a world that has one picture: velocity = (a x - picture) / s."""

    def __init__(self, picture: Tensor, alphas: Tensor) -> None:
        super().__init__()
        self.picture = picture
        self.alphas = alphas

    def forward(self, noisy: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        signal = self.alphas[timesteps].view(-1, 1, 1, 1)
        return (signal.sqrt() * noisy - self.picture) / (1 - signal).sqrt()


def test_the_exact_denoiser_has_no_velocity_error() -> None:
    torch.manual_seed(0)
    picture = torch.randn(1, 4, 8, 8, dtype=torch.float64)
    timesteps = torch.tensor([0, 10, 500, 999])
    noise = torch.randn(4, 4, 8, 8, dtype=torch.float64)
    alphas = ALPHAS.double()
    clean = picture.expand(4, -1, -1, -1)

    model, tokens = OnePicture(picture, alphas), torch.zeros(4, 2).long()
    error = velocity_error(model, clean, noise, timesteps, tokens, alphas)
    # the velocity is read in float32: 7 digits of numbers around 1, squared
    torch.testing.assert_close(error.double(), torch.zeros(4, dtype=torch.float64), atol=1e-10, rtol=0)


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_reaches_the_only_picture_there_is(solver: str) -> None:
    torch.manual_seed(0)
    picture = torch.randn(1, 4, 4, 4)
    model = OnePicture(picture, ALPHAS)
    scheduler = make_scheduler(solver, {**build_scheduler().config, "_class_name": "DDIMScheduler"})  # as saved
    scheduler.set_timesteps(20)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(picture.shape, generator=generator) * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        velocity = model(scheduler.scale_model_input(x, t), t.long().reshape(1), torch.zeros(1, 1))
        extra = {"generator": generator} if solver in ("Euler a", "DDPM", "LCM", "DPM++ 2M SDE") else {}
        x = scheduler.step(velocity, t, x, **extra).prev_sample
    # ends at t = 0 with deviation 0.006, or at zero noise
    torch.testing.assert_close(x, picture, atol=0.05, rtol=0)


def test_weights_are_half_min_snr_and_half_even_and_one_on_average() -> None:
    every = torch.arange(TIMESTEPS)
    weights = loss_weights(every, ALPHAS)
    assert float(weights.mean()) == pytest.approx(1, abs=1e-5)
    snr = (ALPHAS / (1 - ALPHAS)).double()
    min_snr = torch.minimum(snr, torch.tensor(5.0)) / (snr + 1)
    torch.testing.assert_close(weights, ((min_snr / min_snr.mean() + 1) / 2).float(), atol=1e-5, rtol=1e-4)
    assert int(weights.argmax()) == int((snr - 5).abs().argmin())
    assert float(weights.min()) >= 0.5, "no part of the run is left out"


def test_timesteps_of_a_batch_cover_the_range_evenly() -> None:
    timesteps = stratified_timesteps(50, np.random.default_rng(3))
    assert sorted(timesteps // (TIMESTEPS // 50)) == list(range(50))
    assert list(timesteps) != sorted(timesteps)


def _latents(count: int = 12, validation: int = 4) -> Latents:
    values = torch.arange(count * 2, dtype=torch.float16).view(count, 2, 1, 1, 1).expand(-1, -1, 3, 2, 2)
    return Latents(values.contiguous(), validation, scale=0.5)


def test_a_batch_depends_on_step_and_rank_alone() -> None:
    latents, table = _latents(), torch.zeros(12, 9, 5, dtype=torch.int16)
    one, same, next_step, other = (
        draw_batch(latents, table, 6, step, rank) for step, rank in ((7, 0), (7, 0), (8, 0), (7, 1))
    )
    torch.testing.assert_close(one.noise, same.noise, atol=0, rtol=0)
    torch.testing.assert_close(one.clean, same.clean, atol=0, rtol=0)
    assert not torch.equal(one.noise, next_step.noise)
    assert not torch.equal(one.noise, other.noise)


def test_batches_leave_the_validation_pictures_out_and_keep_captions_with_their_pictures() -> None:
    latents = _latents()
    table = torch.arange(12, dtype=torch.int16).view(12, 1, 1).expand(-1, 9, 5).contiguous()
    rows, mirrored = set(), set()
    for step in range(60):
        batch = draw_batch(latents, table, 8, step, 0)
        values = (batch.clean[:, 0, 0, 0] / latents.scale).long()
        torch.testing.assert_close(values // 2, batch.tokens[:, 0])
        rows |= set((values // 2).tolist())
        mirrored |= set((values % 2).tolist())
    assert rows == set(range(4, 12))
    assert mirrored == {0, 1}


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_unet_returns_a_velocity_of_its_latents_shape(name: str) -> None:
    preset = PRESETS[name]
    latents = torch.zeros(1, preset.latent_channels, preset.latent, preset.latent)
    with torch.inference_mode():
        prompt_embeds = torch.zeros(1, preset.text_length, preset.text_width)
        assert build_unet(preset)(latents, 10, prompt_embeds).sample.shape == latents.shape


@pytest.mark.parametrize("layers", [(1, 1), (2, 1), (1, 3), (3, 2)])
def test_a_grown_unet_begins_with_the_old_ones_answers_and_can_learn_in_its_new_layers(
    layers: tuple[int, int],
) -> None:
    torch.manual_seed(0)
    preset = PRESETS["smoke"]
    old, new = build_unet(preset), build_unet(replace(preset, unet_layers=layers))
    new.load_state_dict(grown(old, new))
    inputs = (torch.randn(2, preset.latent_channels, 8, 8), torch.tensor([3, 900]))
    prompt_embeds = torch.randn(2, preset.text_length, preset.text_width)
    expected, made = old(*inputs, prompt_embeds).sample, new(*inputs, prompt_embeds).sample
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-5)

    torch.autograd.backward(made.square().mean())
    still = [
        name for name, p in new.named_parameters() if name.endswith("conv2.weight") and not p.grad.abs().sum() > 0
    ]
    assert not still


def test_mixed_precision_follows_what_the_device_can() -> None:
    assert computes_in_bfloat16(torch.device("cuda"))
    able = torch.cpu.get_capabilities()
    expected = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    assert computes_in_bfloat16(torch.device("cpu")) is expected
