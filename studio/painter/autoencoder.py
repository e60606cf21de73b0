"""The painter's autoencoder: pictures to latents of zero mean and unit deviation, and back.

Trained on crops with pixel, gradient, low-pass and perceptual losses. Three things make its latents easy to
diffuse: noise on them, a decoder that also understands them at half scale, and channels that are held at mean
0 and deviation 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from diffusers import AutoencoderTiny
from torch import Tensor

from studio.painter.features import Perception
from studio.painter.preset import Preset
from studio.painter.progress import Every, Log, load_checkpoint, save_checkpoint, write_folder
from studio.painter.shards import Pictures, open_pictures, to_floats
from studio.painter.training import Progress, TrainingStage, average_weights, seeded
from studio.painter.warm_start import grow_autoencoder

NOISE = 0.07  # deviation of the noise on training latents, in units of their own
HALF_SCALE = 0.25  # share of steps that decode a half-size latent
SOFT_LIMIT = 2.5  # latents beyond this pay: the decoder's own clamp squeezes them
WEIGHTS = {"pixel": 1.0, "gradient": 0.4, "low": 0.5, "perceptual": 0.12, "limit": 0.1, "moments": 0.2}
WARM_UP = 50  # steps until the rate is full
LAST_RATE = 0.02  # share of the full rate that is left at the end
MEMORY = 0.999  # of the averaged weights, per step
MEASURE_EVERY = 300  # steps
RESCAN_EVERY = 240.0  # seconds


def build_autoencoder(preset: Preset) -> AutoencoderTiny:
    """An untrained autoencoder of the preset's size."""
    widths = (preset.coder_channels,) * len(preset.encoder_blocks)
    return AutoencoderTiny(
        encoder_block_out_channels=widths,
        decoder_block_out_channels=widths,
        latent_channels=preset.latent_channels,
        num_encoder_blocks=preset.encoder_blocks,
        num_decoder_blocks=preset.decoder_blocks,
        act_fn="relu",
        latent_magnitude=3,
        latent_shift=0.5,
    )


@torch.no_grad()
def whiten(autoencoder: AutoencoderTiny, pictures: Tensor) -> None:
    """Fold each latent channel's mean and deviation over (B, 3, H, W) pictures into the two convolutions
    around the latent.

    The encoder's side is exact. The decoder clamps smoothly before its first convolution, so it needs
    training afterwards.
    """
    latents = autoencoder.encode(pictures).latents
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))  # (C,)
    last, first = autoencoder.encoder.layers[-1], autoencoder.decoder.layers[0]
    last.weight /= deviation.view(-1, 1, 1, 1)
    last.bias.sub_(mean).div_(deviation)
    first.bias += torch.einsum("oihw,i->o", first.weight, mean)
    first.weight *= deviation.view(1, -1, 1, 1)


@dataclass(eq=False)
class Moments:
    """Running mean and variance of every latent channel, and the loss that holds them at 0 and 1.

    The loss of one small batch would also punish pictures for being different from each other. Here the
    running values say how far off a channel is, and the batch only says in which direction to move.
    """

    mean: Tensor  # (C,)
    variance: Tensor  # (C,)
    memory: float = 0.98

    @classmethod
    def unit(cls, channels: int, device: torch.device) -> Moments:
        return cls(torch.zeros(channels, device=device), torch.ones(channels, device=device))

    def loss(self, latents: Tensor) -> Tensor:
        """Scalar whose gradient pulls (B, C, h, w) latents towards mean 0 and variance 1. Updates the running
        values.
        """
        mean = latents.mean((0, 2, 3))
        square = latents.square().mean((0, 2, 3))
        with torch.no_grad():
            self.mean.lerp_(mean, 1 - self.memory)
            self.variance.lerp_(square - self.mean.square(), 1 - self.memory)
        return (2 * self.mean * mean + (self.variance - 1) * square).sum()


def reconstruction_loss(made: Tensor, wanted: Tensor, perception: Perception) -> Tensor:
    """Distance of (B, 3, H, W) pictures in [-1, 1]: pixels, gradients, two low-pass scales, and what
    EfficientNet sees.
    """
    error = made - wanted
    gradient = error.diff(dim=3).abs().mean() + error.diff(dim=2).abs().mean()
    low = sum((F.avg_pool2d(error, size).abs().mean() for size in (2, 4)), error.new_zeros(()))
    perceptual = perception.distance(made.clamp(-1, 1), wanted).mean()
    return (
        WEIGHTS["pixel"] * error.abs().mean()
        + WEIGHTS["gradient"] * gradient
        + WEIGHTS["low"] * low
        + WEIGHTS["perceptual"] * perceptual
    )


def autoencoder_loss(
    autoencoder: AutoencoderTiny, pictures: Tensor, perception: Perception, moments: Moments, half_scale: bool
) -> Tensor:
    """Training loss of one batch of (B, 3, H, W) crops.

    With `half_scale`, the decoder is given the latent at half its size and has to return the picture at half
    its size, so that a latent's scales mean the same as the picture's. Source: Kouzelis et al. 2025, EQ-VAE
    (arXiv:2502.09509).
    """
    latents = autoencoder.encode(pictures).latents.float()
    regular = WEIGHTS["limit"] * F.relu(latents.abs() - SOFT_LIMIT).square().mean()
    regular = regular + WEIGHTS["moments"] * moments.loss(latents) / latents.shape[1]
    if half_scale:
        latents, pictures = F.avg_pool2d(latents, 2), F.avg_pool2d(pictures, 2)
    noisy = latents + NOISE * torch.randn_like(latents)
    made = autoencoder.decode(noisy).sample.float()
    loss: Tensor = reconstruction_loss(made, pictures, perception) + regular
    return loss


def draw_crops(pictures: Pictures, rows: np.ndarray, count: int, side: int, random: np.random.Generator) -> np.ndarray:
    """`count` random crops, half of them mirrored, uint8 (count, side, side, 3), from the (shard, picture)
    rows given.
    """
    crops = []
    for shard, index in rows[random.integers(len(rows), size=count)]:
        picture = pictures.shards[shard].pictures[index]
        top, left = random.integers(picture.shape[0] - side + 1, size=2)
        crop = picture[top : top + side, left : left + side]
        crops.append(crop[:, ::-1] if random.random() < 0.5 else crop)
    return np.stack(crops)


@torch.no_grad()
def measure(autoencoder: AutoencoderTiny, pictures: Tensor, perception: Perception) -> dict[str, float]:
    """PSNR in dB and mean perceptual distance of whole pictures after a round trip; spread of the latents'
    channels.
    """
    errors, distances, latents = [], [], []
    for some in torch.split(pictures, 16):
        latent = autoencoder.encode(some).latents
        made = autoencoder.decode(latent).sample.clamp(-1, 1)
        errors.append((made - some).square().mean((1, 2, 3)))
        distances.append(perception.distance(made, some))
        latents.append(latent)
    every = torch.cat(latents)
    mean, deviation = every.mean((0, 2, 3)), every.std((0, 2, 3))
    return {
        "psnr": float((10 * (4 / torch.cat(errors).clamp_min(1e-12)).log10()).mean()),
        "perceptual": float(torch.cat(distances).mean()),
        "latent_mean": float(mean.abs().max()),
        "latent_low": float(deviation.min()),
        "latent_high": float(deviation.max()),
        "beyond": float((every.abs() > SOFT_LIMIT).float().mean()),
    }


def train_autoencoder(stage: TrainingStage) -> None:
    """Train on crops of the pictures in `stage.data` until the budget is spent or `stage.stop` is set; resumes.

    Leaves `out/autoencoder.pt` (everything) and `out/vae` (averaged weights, a diffusers folder). `stage.init` is such
    a folder. New shards join while it runs.
    """
    preset, out, device = stage.preset, stage.out, stage.device
    log = Log(out / "autoencoder.jsonl")
    checkpoint = out / "autoencoder.pt"
    state = load_checkpoint(checkpoint)
    pictures = open_pictures(stage.data)
    rows = pictures.training
    validation = to_floats(pictures.held_back(), device).contiguous(memory_format=torch.channels_last)
    perception = Perception().to(device)

    torch.manual_seed(0)
    autoencoder = build_autoencoder(preset)
    if stage.init is not None and not state:
        grow_autoencoder(AutoencoderTiny.from_pretrained(stage.init, low_cpu_mem_usage=False), autoencoder)
    autoencoder.to(device, memory_format=torch.channels_last)
    if stage.init is not None and not state:
        whiten(autoencoder, validation)
    averaged = build_autoencoder(preset).to(device, memory_format=torch.channels_last)
    averaged.load_state_dict(autoencoder.state_dict())
    moments = Moments.unit(preset.latent_channels, device)
    optimizer = torch.optim.AdamW(autoencoder.parameters(), preset.coder_rate, betas=(0.9, 0.95), weight_decay=1e-4)

    if state:
        autoencoder.load_state_dict(state["autoencoder"])
        averaged.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
        moments.mean.copy_(state["mean"])
        moments.variance.copy_(state["variance"])
    progress = Progress(stage, state, log)

    def save() -> None:
        state = {"autoencoder": autoencoder.state_dict(), "averaged": averaged.state_dict()}
        state |= {"optimizer": optimizer.state_dict(), "mean": moments.mean, "variance": moments.variance}
        save_checkpoint(checkpoint, state | progress.state())
        write_folder(out / "vae", averaged.save_pretrained)

    scanning = Every(RESCAN_EVERY)
    losses: list[float] = []
    while not (progress.over or stage.stop):
        if scanning.due():
            pictures = open_pictures(stage.data)
            rows = pictures.training
        for group in optimizer.param_groups:
            group["lr"] = progress.rate(preset.coder_rate, WARM_UP, LAST_RATE)
        random = seeded(progress.step)
        crops = to_floats(draw_crops(pictures, rows, preset.coder_batch, preset.crop, random), device)
        half_scale = bool(random.random() < HALF_SCALE)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            crops = crops.contiguous(memory_format=torch.channels_last)
            loss = autoencoder_loss(autoencoder, crops, perception, moments, half_scale)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(autoencoder.parameters(), 1.0)
        optimizer.step()
        progress.advance()
        average_weights(averaged, autoencoder, min(MEMORY, progress.step / (progress.step + 10)))
        if not half_scale:
            losses.append(loss.item())
        if progress.step % MEASURE_EVERY == 0:
            mean, speed = float(np.mean(losses)), progress.speed(preset.coder_batch)
            progress.log(loss=mean, speed=speed, pictures=len(rows), **measure(averaged, validation, perception))
            losses = []
        if progress.saving_is_due():
            save()
    save()
    progress.log(**measure(averaged, validation, perception), stopped=bool(stage.stop))
