"""The painter's denoiser: a text encoder and a UNet that learn together to say what is picture and what is
noise.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTokenizer

from studio.painter.crew import Member
from studio.painter.latents import Latents, load_latents
from studio.painter.preset import Preset
from studio.painter.progress import Log, load_checkpoint, save_checkpoint
from studio.painter.shards import Shard, captions
from studio.painter.text import build_text_encoder, load_tokenizer, tokenize, train_tokenizer
from studio.painter.training import Progress, TrainingStage, average_weights
from studio.painter.warm_start import warm_start

GAMMA = 5.0  # min-SNR, Hang et al. 2023 (arXiv:2303.09556)
MEMORY = 0.9995  # of the averaged weights
LOG_EVERY = 50  # steps
MEASURE_EVERY = 500  # steps
TIMESTEPS = 1000
FUSED = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH)


def build_scheduler() -> DDIMScheduler:
    """The noise schedule of training and, through its configuration, of every solver.

    Cosine, whose last signal-to-noise ratio is 2e-9: rescaling to zero would gain nothing and not every
    solver knows it.
    """
    return DDIMScheduler(
        num_train_timesteps=TIMESTEPS,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        clip_sample=False,
        timestep_spacing="trailing",
        rescale_betas_zero_snr=False,
        steps_offset=1,  # unused by trailing steps, but pipelines complain about 0
    )


def build_unet(preset: Preset) -> UNet2DConditionModel:
    """An untrained UNet of the preset's size on (B, C, preset.latent, preset.latent) latents."""
    return UNet2DConditionModel(
        sample_size=preset.latent,
        in_channels=preset.latent_channels,
        out_channels=preset.latent_channels,
        block_out_channels=preset.unet_channels,
        layers_per_block=preset.unet_layers,
        down_block_types=tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in preset.unet_attention),
        up_block_types=tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(preset.unet_attention)),
        cross_attention_dim=preset.text_width,
        attention_head_dim=preset.unet_heads,  # despite its name, the number of heads
        norm_num_groups=preset.unet_groups,
    )


class Denoiser(nn.Module):
    """Noisy latents and a caption in, velocity out."""

    def __init__(self, preset: Preset, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.text_encoder = build_text_encoder(preset, tokenizer)
        self.unet = build_unet(preset)

    def forward(self, noisy: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        """Velocity (B, C, h, w) for noisy latents, timesteps (B,) and token numbers (B, L)."""
        prompt_embeds = self.text_encoder(tokens).last_hidden_state  # (B, L, width)
        velocity: Tensor = self.unet(noisy, timesteps, prompt_embeds).sample
        return velocity


def stratified_timesteps(count: int, random: np.random.Generator) -> np.ndarray:
    """`count` timesteps that cover the range evenly, one in each of `count` equal parts, in random order."""
    places = (random.permutation(count) + random.random(count)) / count
    return (places * TIMESTEPS).astype(np.int64)


def velocity_error(
    model: nn.Module, clean: Tensor, noise: Tensor, timesteps: Tensor, tokens: Tensor, alphas: Tensor
) -> Tensor:
    """Mean squared error of the velocity, (B,). `alphas` is the schedule's cumulative product, (1000,)."""
    signal = alphas[timesteps].view(-1, 1, 1, 1)
    a, s = signal.sqrt(), (1 - signal).sqrt()
    velocity = a * noise - s * clean
    error: Tensor = (model(a * clean + s * noise, timesteps, tokens).float() - velocity).square().mean((1, 2, 3))
    return error


def loss_weights(timesteps: Tensor, alphas: Tensor) -> Tensor:
    """Weight of each sample's velocity error, (B,), 1 on average over all timesteps: half min-SNR, half even.

    Min-SNR alone is nearly 0 at both ends, where a small model that sees few pictures settles composition (mostly
    noise) and the texture that tells the styles apart (mostly picture).
    """
    snr = alphas / (1 - alphas)
    weights = snr.clamp(max=GAMMA) / (snr + 1)
    return (weights[timesteps] / weights.mean() + 1) / 2


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether mixed precision pays: on GPUs, and on CPUs with instructions for it (1.4 times as many samples)."""
    if device.type != "cpu":
        return device.type == "cuda"
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


@dataclass(frozen=True, eq=False)
class Batch:
    clean: Tensor  # float (B, C, h, w), deviation 1
    tokens: Tensor  # int64 (B, L)
    timesteps: Tensor  # int64 (B,)
    noise: Tensor  # float (B, C, h, w)


def draw_batch(latents: Latents, table: Tensor, count: int, step: int, rank: int) -> Batch:
    """The batch of one step: pictures, mirror, caption variant, timesteps and noise depend on (step, rank)
    alone.
    """
    device = latents.values.device
    random = np.random.default_rng((step, rank))
    rows = torch.from_numpy(random.integers(latents.validation, len(latents.values), size=count))
    mirrored = torch.from_numpy(random.integers(2, size=count))
    variants = torch.from_numpy(random.integers(table.shape[1], size=count))
    clean = latents.values[rows.to(device), mirrored.to(device)].float() * latents.scale
    generator = torch.Generator(device).manual_seed(step * 64 + rank)
    return Batch(
        clean,
        table[rows, variants].long().to(device),
        torch.from_numpy(stratified_timesteps(count, random)).to(device),
        torch.randn(clean.shape, generator=generator, device=device),
    )


@torch.no_grad()
def validate(model: nn.Module, latents: Latents, table: Tensor, alphas: Tensor) -> dict[str, float]:
    """Velocity error on the validation pictures per quarter of the timesteps: full captions, fixed noise."""
    device = latents.values.device
    clean = latents.values[: latents.validation, 0].float() * latents.scale
    tokens = table[: latents.validation, 0].long().to(device)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)).to(device)
    places = torch.from_numpy(stratified_timesteps(len(clean), np.random.default_rng(0)))
    quarters = {}
    for quarter in range(4):
        timesteps = ((places + quarter * TIMESTEPS) // 4).to(device)
        errors = velocity_error(model, clean, noise, timesteps, tokens, alphas)
        quarters[f"quarter_{quarter + 1}"] = float(errors.mean())
    return quarters


def token_table(shards: list[Shard], tokenizer: CLIPTokenizer) -> Tensor:
    """Token numbers of every picture's captions, int16 (N, V, L), the full sentence first."""
    sentences = [variants for shard in shards for variants in captions(shard)]
    count = min(len(variants) for variants in sentences)
    distinct = {sentence: None for variants in sentences for sentence in variants[:count]}
    numbers = {sentence: number for number, sentence in enumerate(distinct)}
    tokens = tokenize(tokenizer, list(distinct))
    rows = torch.tensor([[numbers[sentence] for sentence in variants[:count]] for variants in sentences])
    return tokens[rows]


def prepare_tokenizer(preset: Preset, shards: list[Shard], folder: Path) -> CLIPTokenizer:
    """The tokenizer in `folder`, trained on the captions of `shards` when there is none yet. Later captions
    keep it.
    """
    if folder.exists():
        return load_tokenizer(folder)
    return train_tokenizer((s for shard in shards for variants in captions(shard) for s in variants), preset, folder)


def train_denoiser(stage: TrainingStage, member: Member) -> None:
    """Train until the budget is spent or `stage.stop` is set; resumes from `out/denoiser.pt`, which holds
    everything. `stage.init` is an older painter's folder.

    One process with everything it draws is repeatable: a stopped and resumed run equals an uninterrupted one
    of as many steps, save for the learning rate where the budget counts seconds.
    """
    preset, out, device = stage.preset, stage.out, stage.device
    log = Log(out / "denoiser.jsonl")
    checkpoint = out / "denoiser.pt"
    state = load_checkpoint(checkpoint)
    latents, shards = load_latents(stage.data, out, device)
    tokenizer = load_tokenizer(out / "tokenizer")
    table = token_table(shards, tokenizer)
    alphas = build_scheduler().alphas_cumprod.to(device)

    torch.manual_seed(0)
    model = Denoiser(preset, tokenizer)
    if stage.init is not None and not state:
        known = warm_start(model.text_encoder, model.unet, tokenizer, stage.init)
        if member.leads:
            log.write(step=0, seconds=0.0, known_tokens=known, vocabulary=len(tokenizer))
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = copy.deepcopy(model).requires_grad_(False)
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, preset.rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    if state:
        model.load_state_dict(state["model"])
        averaged.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
    member.share_parameters(parameters)

    def save() -> None:
        state = {
            "model": model.state_dict(),
            "averaged": averaged.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        save_checkpoint(checkpoint, state | progress.state() | {"samples": samples, "pictures": len(table)})

    def facts() -> dict[str, float]:
        averaged.eval()
        return validate(averaged, latents, table, alphas)

    progress = Progress(stage, state, log)
    samples: int = state.get("samples", 0)
    losses: list[float] = []
    count, mixed = preset.batch // member.size, computes_in_bfloat16(device)
    # on a CPU the fused attention's way back is slow for so few tokens
    attention = [SDPBackend.MATH] if device.type == "cpu" else list(FUSED)
    if member.leads:
        progress.log(pictures=len(table), parameters=sum(p.numel() for p in parameters))
    stopping = progress.over
    while not stopping:
        rate = progress.rate(preset.rate, preset.warm_up)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = draw_batch(latents, table, count, progress.step, member.rank)
        weights = loss_weights(batch.timesteps, alphas)
        clean = batch.clean.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed), sdpa_kernel(attention):
            error = velocity_error(model, clean, batch.noise, batch.timesteps, batch.tokens, alphas)
        loss = (error * weights).mean()
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        asked = bool(stage.stop) or member.orphaned
        asked, spent = member.average(parameters, asked, progress.seconds)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0, error_if_nonfinite=True)
        optimizer.step()
        progress.advance(spent)
        samples += count * member.size
        average_weights(averaged, model, min(MEMORY, (1 + progress.step) / (10 + progress.step)))
        losses.append(loss.item())
        stopping = asked or progress.over
        if not member.leads:
            continue
        if progress.step % LOG_EVERY == 0:
            progress.log(loss=float(np.mean(losses)), speed=progress.speed(count * member.size), rate=rate)
            losses = []
        if progress.step % MEASURE_EVERY == 0:
            progress.log(samples=samples, **facts())
        if progress.saving_is_due():
            save()
    if member.leads:
        save()
        progress.log(samples=samples, stopped=bool(stage.stop), **facts())
