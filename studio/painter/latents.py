"""Latents of all pictures and their mirror images on disk, shard by shard, and in memory for training."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import load_file
from torch import Tensor

from studio.errors import StudioError
from studio.painter.progress import Log, StopSignal, save_array, write_file
from studio.painter.shards import Pictures, Shard, open_pictures, to_floats


@dataclass(frozen=True, eq=False)
class Latents:
    """Everything encoded so far. Row i is picture i of `Pictures`, shard after shard."""

    values: Tensor  # float16 (N, 2, C, h, w): the picture, then its mirror image
    validation: int  # leading rows that no stage trains on
    scale: float  # makes the deviation 1: the autoencoder's scaling_factor


WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"


def fingerprint(folder: Path) -> str:
    """A name for the weights in a diffusers folder."""
    return hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()[:16]


def encoder_fingerprint(folder: Path) -> str:
    """A name for the encoder's weights in an autoencoder's folder: the decoder can learn on, the latents stay."""
    whole = hashlib.sha256()
    for name, values in sorted(load_file(folder / WEIGHTS_FILE).items()):
        if name.startswith("encoder."):
            whole.update(f"{name} {tuple(values.shape)}".encode() + values.float().contiguous().numpy().tobytes())
    return whole.hexdigest()[:16]


@torch.no_grad()
def encode_shard(autoencoder: AutoencoderTiny, shard: Shard, device: torch.device, batch: int = 64) -> np.ndarray:
    """Latents of a shard's pictures and mirror images, float16 (N, 2, C, h, w)."""
    rows = []
    for start in range(0, len(shard.pictures), batch):
        pictures = to_floats(shard.pictures[start : start + batch], device)
        pair = [autoencoder.encode(view).latents for view in (pictures, pictures.flip(3))]
        rows.append(torch.stack(pair, dim=1).half().cpu().numpy())
    return np.concatenate(rows)


def encode_pictures(data: Path, out: Path, *, stop: StopSignal, device: torch.device) -> None:
    """Encode every shard in `data` with `out/vae` into `out/latents`. Keeps what the same weights encoded
    before.

    Writes `out/latents/statistics.json`: weights, count, scale, and each channel's mean and deviation.
    """
    folder, vae = out / "latents", out / "vae"
    if not vae.exists():
        raise StudioError(f"No autoencoder in '{vae}'. Train it first: python -m studio.painter.train autoencoder.")
    log = Log(out / "latents.jsonl")
    weights = encoder_fingerprint(vae)
    mark = folder / "weights.txt"
    if not mark.exists() or mark.read_text() != weights:
        for stale in folder.glob("*.npy"):
            stale.unlink()
        write_file(mark, lambda beside: beside.write_text(weights))
    autoencoder = AutoencoderTiny.from_pretrained(vae, low_cpu_mem_usage=False).to(device).eval()
    for shard in open_pictures(data).shards:
        if stop:
            return
        target = folder / shard.path.name
        if target.exists() and len(np.load(target, mmap_mode="r")) == len(shard.pictures):
            continue
        latents = encode_shard(autoencoder, shard, device)
        save_array(target, latents)
        log.write(shard=shard.path.stem, pictures=len(latents))
    facts = _statistics(folder, open_pictures(data)) | {"weights": weights}
    write_file(folder / "statistics.json", lambda beside: beside.write_text(json.dumps(facts, indent=1)))
    log.write(**facts)


def _statistics(folder: Path, pictures: Pictures) -> dict[str, object]:
    count, mean, square = 0, np.float64(0), np.float64(0)
    for shard in pictures.shards:
        path = folder / shard.path.name
        if not path.exists():
            continue
        values = np.load(path).astype(np.float32)
        mean = mean + values.mean((1, 3, 4), dtype=np.float64).sum(0)
        square = square + np.square(values).mean((1, 3, 4), dtype=np.float64).sum(0)
        count += len(values)
    mean, square = mean / count, square / count
    return {
        "pictures": count,
        "scale": float(1 / np.sqrt(square.mean() - np.square(mean.mean()))),
        "mean": np.round(mean, 4).tolist(),
        "deviation": np.round(np.sqrt(square - np.square(mean)), 4).tolist(),
    }


def encoded_shards(data: Path, out: Path) -> list[Shard]:
    """The shards of `data` that have latents in `out`, cut to what was encoded. Raises StudioError when none has."""
    folder = out / "latents"
    if not (folder / "statistics.json").exists():
        raise StudioError(f"No latents in '{folder}'. Encode first: python -m studio.painter.train latents.")
    shards = [shard for shard in open_pictures(data).shards if (folder / shard.path.name).exists()]
    counts = [len(np.load(folder / shard.path.name, mmap_mode="r")) for shard in shards]
    return [Shard(shard.path, shard.pictures[:count]) for shard, count in zip(shards, counts, strict=True)]


def load_latents(data: Path, out: Path, device: torch.device) -> tuple[Latents, list[Shard]]:
    """All encoded pictures on `device`, and the shards they are of, in the same order."""
    folder, pictures, shards = out / "latents", open_pictures(data), encoded_shards(data, out)
    values = torch.cat([torch.from_numpy(np.load(folder / shard.path.name)).to(device) for shard in shards])
    validation = pictures.validation if shards[0].path == pictures.shards[0].path else 0
    return Latents(values, validation, float(json.loads((folder / "statistics.json").read_text())["scale"])), shards
