"""The painter's decoder, taught to give back texture: brush strokes, paper, grain.

A decoder that is only asked to be close to the picture answers with the mean of what a latent can stand for, and the
mean of textures is flat. So a small network is taught to tell decoded pictures from rendered ones, given the latent,
and the decoder to pass. The encoder stays as it is, and with it every latent and whatever learned from latents.

Source: Isola et al. 2017 (arXiv:1611.07004) for judging patches under a condition; Lim and Ye 2017 (arXiv:1705.02894)
for the hinge loss; Esser et al. 2021 (arXiv:2012.09841) for its weight relative to the reconstruction's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from diffusers import AutoencoderTiny
from torch import Tensor, nn

from studio.painter.autoencoder import LAST_RATE, NOISE, WARM_UP, build_autoencoder, measure
from studio.painter.denoiser import computes_in_bfloat16
from studio.painter.features import Perception
from studio.painter.latents import encoded_shards
from studio.painter.preset import Preset
from studio.painter.progress import Log, load_checkpoint, save_checkpoint, write_folder
from studio.painter.shards import Shard, open_pictures, to_floats
from studio.painter.training import Progress, TrainingStage, average_weights, seeded
from studio.painter.warm_start import grow_autoencoder

WEIGHTS = {"pixel": 0.5, "low": 1.0, "perceptual": 0.2}  # no gradient loss: it wants every grain in its place
ADVERSARIAL_WEIGHT = 0.7  # length of the discriminator's gradient on a picture, as a share of the reconstruction's
MEMORY = 0.998  # of the averaged weights, per step
MAGNIFIED = 5.0  # how much the discriminator is shown of the fine detail
ALONE = 200  # steps before the discriminator is listened to: added layers find their place, and it learns to see
MEASURE_EVERY = 250  # steps
BANDS = 3  # of detail, fine to coarse, whose strength is measured


class Discriminator(nn.Module):
    """Tells rendered pictures from decoded ones, patch by patch, given the latent that they belong to.

    Two verdicts: on patches of 13 pixels, for grain, and on larger ones at a cell of the latent each. It is shown the
    fine detail magnified beside the picture: grain is a few levels of 255, and easily overlooked.
    """

    def __init__(self, latent_channels: int, reduction: int, width: int = 32) -> None:
        super().__init__()
        halvings = max(reduction.bit_length() - 3, 0)
        self.fine = nn.Sequential(_halving(6, width), _halving(width, 2 * width))
        self.coarse = nn.Sequential(*(_halving(2 * width, 2 * width) for _ in range(halvings)))
        self.on_fine = _verdict(2 * width + latent_channels, 2 * width)
        self.on_coarse = _verdict(2 * width + latent_channels, 3 * width)

    def forward(self, pictures: Tensor, latents: Tensor) -> list[Tensor]:
        """(B, 3, H, W) and (B, C, h, w) -> verdicts (B, 1, H/4, W/4) and (B, 1, h', w'), high for rendered ones."""
        smooth = F.avg_pool2d(pictures, 3, stride=1, padding=1, count_include_pad=False)
        fine = self.fine(torch.cat([pictures, MAGNIFIED * (pictures - smooth)], dim=1))
        coarse = self.coarse(fine)
        heads = ((self.on_fine, fine), (self.on_coarse, coarse))
        return [
            head(torch.cat([seen, F.interpolate(latents, size=seen.shape[2:]).to(seen.dtype)], dim=1))
            for head, seen in heads
        ]


def _halving(old: int, new: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(old, new, 4, stride=2, padding=1), nn.LeakyReLU(0.2))


def _verdict(old: int, inside: int) -> nn.Module:
    first, last = nn.Conv2d(old, inside, 3, padding=1), nn.Conv2d(inside, 1, 3, padding=1)
    return nn.Sequential(first, nn.LeakyReLU(0.2), last)


def discriminator_loss(of_rendered: list[Tensor], of_decoded: list[Tensor]) -> Tensor:
    """What the discriminator pays: a hinge on either side. Scalar."""
    pairs = zip(of_rendered, of_decoded, strict=True)
    return torch.stack([F.relu(1 - real).mean() + F.relu(1 + made).mean() for real, made in pairs]).mean()


def adversarial_loss(of_decoded: list[Tensor]) -> Tensor:
    """What the decoder pays for being told apart. Scalar."""
    return torch.stack([-made.mean() for made in of_decoded]).mean()


def tolerant_reconstruction_loss(made: Tensor, wanted: Tensor, perception: Perception) -> Tensor:
    """Distance of (B, 3, H, W) pictures in [-1, 1] that leaves fine texture its freedom. Scalar."""
    error = made - wanted
    low = sum((F.avg_pool2d(error, size).abs().mean() for size in (2, 4, 8)), error.new_zeros(()))
    perceptual = perception.distance(made.clamp(-1, 1), wanted).mean()
    return WEIGHTS["pixel"] * error.abs().mean() + WEIGHTS["low"] * low + WEIGHTS["perceptual"] * perceptual


def joined_gradient(made: Tensor, reconstruction: Tensor, adversarial: Tensor, share: float) -> Tensor:
    """The gradient of `reconstruction` on `made`, and that of `adversarial` at `share` of its length, added."""
    near, real = (torch.autograd.grad(loss, made, retain_graph=True)[0] for loss in (reconstruction, adversarial))
    joined: Tensor = near + share * near.norm() / real.norm().clamp_min(1e-12) * real
    return joined


@dataclass(frozen=True, eq=False)
class Encoded:
    """Pictures with their latents. Whole ones: a decoder that never sees a picture's edge draws a frame there."""

    shards: list[Shard]
    latents: list[np.ndarray]  # float16 (N, 2, C, h, w) per shard: the picture, then its mirror image
    rows: np.ndarray  # (shard, picture) of those to train on, (N, 2)

    @classmethod
    def of(cls, data: Path, out: Path) -> Encoded:
        """All pictures in `data` that have latents in `out`, but those kept for validation."""
        shards = encoded_shards(data, out)
        latents = [np.load(out / "latents" / shard.path.name, mmap_mode="r") for shard in shards]
        spared = open_pictures(data).validation
        rows = [
            np.stack([np.full(len(shard.pictures), number), np.arange(len(shard.pictures))], axis=1)
            for number, shard in enumerate(shards)
        ]
        return cls(shards, latents, np.concatenate(rows)[spared:])

    def draw(self, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Pictures uint8 (count, S, S, 3), half of them mirrored, and their latents float32 (count, C, h, w)."""
        pictures, latents = [], []
        for shard, index in self.rows[random.integers(len(self.rows), size=count)]:
            mirrored = int(random.integers(2))
            picture = self.shards[shard].pictures[index]
            pictures.append(picture[:, ::-1] if mirrored else picture)
            latents.append(self.latents[shard][index, mirrored])
        return np.stack(pictures), np.stack(latents).astype(np.float32)


@torch.no_grad()
def detail(autoencoder: AutoencoderTiny, pictures: Tensor) -> list[float]:
    """How strong the detail of decoded pictures is next to the pictures', fine to coarse: 1 is as strong."""
    some = torch.split(pictures, 16)
    made = torch.cat([autoencoder.decode(autoencoder.encode(each).latents).sample for each in some]).clamp(-1, 1)
    return [float(ours / theirs) for ours, theirs in zip(_strengths(made), _strengths(pictures), strict=True)]


def _strengths(pictures: Tensor) -> list[Tensor]:
    found = []
    for _ in range(BANDS):
        coarse = F.avg_pool2d(pictures, 2)
        found.append((pictures - F.interpolate(coarse, scale_factor=2)).square().mean().sqrt())
        pictures = coarse
    return found


class AdversarialTraining:
    """The decoder, its discriminator, and one step of both."""

    def __init__(self, started_from: AutoencoderTiny, preset: Preset, device: torch.device) -> None:
        torch.manual_seed(0)
        self.autoencoder, self.averaged = (build_autoencoder(preset) for _ in range(2))
        for some in (self.autoencoder, self.averaged):
            grow_autoencoder(started_from, some)
            some.to(device, memory_format=torch.channels_last).requires_grad_(False)  # type: ignore[call-overload]
        self.decoder = self.autoencoder.decoder.requires_grad_(True)
        self.discriminator = Discriminator(preset.latent_channels, preset.reduction).to(device)
        self.discriminator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.perception = Perception().to(device)
        self.rates = (preset.coder_rate / 3, preset.coder_rate / 2)  # the discriminator has to be ahead
        self.optimizer, self.discriminator_optimizer = (
            torch.optim.AdamW(network.parameters(), rate, betas=(0.5, 0.95), weight_decay=1e-4)
            for network, rate in zip((self.decoder, self.discriminator), self.rates, strict=True)
        )
        self.device, self.mixed = device, computes_in_bfloat16(device)

    def step(self, pictures: Tensor, latents: Tensor, *, rate: float, adversarial_weight: float) -> dict[str, float]:
        """One step on (B, 3, S, S) pictures and their (B, C, s, s) latents at `rate` times the full rate.

        `adversarial_weight` is the weight of the discriminator, see `joined_gradient`. Returns the losses by name.
        """
        for optimizer, full in zip((self.optimizer, self.discriminator_optimizer), self.rates, strict=True):
            optimizer.param_groups[0]["lr"] = full * rate
        wanted = pictures.contiguous(memory_format=torch.channels_last)
        with self._mixed():
            noisy = latents + NOISE * torch.randn_like(latents)
            made = self.autoencoder.decode(noisy).sample.float()
            shown = made.detach().contiguous(memory_format=torch.channels_last)
            hinge = discriminator_loss(self.discriminator(wanted, latents), self.discriminator(shown, latents))
        _descend(self.discriminator_optimizer, hinge.float())
        shown.requires_grad_()
        with self._mixed():
            reconstruction = tolerant_reconstruction_loss(shown, wanted, self.perception)
            adversarial = adversarial_loss(self.discriminator(shown, latents))
        gradient = joined_gradient(shown, reconstruction, adversarial, adversarial_weight)
        _descend(self.optimizer, (made * gradient).sum(), clip=1.0)
        return {
            "reconstruction": float(reconstruction.detach()),
            "adversarial": float(adversarial.detach()),
            "discriminator": float(hinge.detach()),
        }

    def facts(self, pictures: Tensor) -> dict[str, object]:
        """How near the averaged decoder comes to held-back pictures, and how much of their detail it gives back."""
        found = measure(self.averaged, pictures, self.perception)
        strengths = [round(share, 4) for share in detail(self.averaged, pictures)]
        return {"psnr": found["psnr"], "perceptual": found["perceptual"], "detail": strengths}

    def state(self) -> dict[str, object]:
        """All that the next step depends on."""
        parts = {"decoder": self.decoder, "averaged": self.averaged.decoder, "discriminator": self.discriminator}
        parts |= {"optimizer": self.optimizer, "discriminator_optimizer": self.discriminator_optimizer}
        return {name: part.state_dict() for name, part in parts.items()}

    def load(self, state: dict[str, Any]) -> None:
        """Goes on from what `state` returned."""
        self.decoder.load_state_dict(state["decoder"])
        self.averaged.decoder.load_state_dict(state["averaged"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])

    def _mixed(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed)


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor, clip: float = float("inf")) -> None:
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], clip)
    optimizer.step()


def train_decoder(stage: TrainingStage) -> None:
    """Train the decoder of `out/vae` on the encoded pictures until the budget is spent or `stop` is set; resumes.

    Leaves `out/decoder.pt` (everything) and the averaged decoder in `out/vae`, whose encoder stays to the bit.
    `stage.init` is not looked at.
    """
    preset, out, device = stage.preset, stage.out, stage.device
    log = Log(out / "decoder.jsonl")
    checkpoint = out / "decoder.pt"
    encoded = Encoded.of(stage.data, out)
    validation = to_floats(open_pictures(stage.data).held_back(), device)
    training = AdversarialTraining(
        AutoencoderTiny.from_pretrained(out / "vae", low_cpu_mem_usage=False), preset, device
    )
    batch = max(preset.coder_batch // 2, 1)  # whole pictures, where the autoencoder learns from as many crops

    state = load_checkpoint(checkpoint)
    if state:
        training.load(state)
    progress = Progress(stage, state, log)

    def save() -> None:
        save_checkpoint(checkpoint, training.state() | progress.state())
        write_folder(out / "vae", training.averaged.save_pretrained)

    losses: list[dict[str, float]] = []
    while not (progress.over or stage.stop):
        pictures, latents = encoded.draw(batch, seeded(progress.step))
        found = training.step(
            to_floats(pictures, device),
            torch.from_numpy(latents).to(device),
            rate=progress.rate(1.0, WARM_UP, LAST_RATE),
            adversarial_weight=ADVERSARIAL_WEIGHT if progress.step >= ALONE else 0.0,
        )
        losses.append(found)
        progress.advance()
        average_weights(training.averaged.decoder, training.decoder, min(MEMORY, progress.step / (progress.step + 10)))
        if progress.step % MEASURE_EVERY == 0:
            means = {name: float(np.mean([each[name] for each in losses])) for name in found}
            progress.log(speed=progress.speed(batch), **means, **training.facts(validation))
            losses = []
        if progress.saving_is_due():
            save()
    save()
    progress.log(**training.facts(validation), stopped=bool(stage.stop))
