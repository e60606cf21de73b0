"""Rendered pictures on disk: pairs of NAME.npy (uint8 (N, S, S, 3)) and NAME.json (captions), readable while
more arrive.

The JSON file is a list of N captions, or an object with `captions`, and beside it `variants` (N lists of
training captions) and `scenes`. It is written last, so a pair whose JSON file exists is whole.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from studio.errors import StudioError

VALIDATION = 64  # pictures at the start of the first shard that no stage trains on


@dataclass(frozen=True, eq=False)
class Shard:
    """Pictures of one file, mapped from disk."""

    path: Path
    pictures: np.ndarray  # uint8 (N, S, S, 3)

    @property
    def facts(self) -> Path:
        return self.path.with_suffix(".json")


@dataclass(frozen=True, eq=False)
class Pictures:
    """All pictures of a folder as one row, shard after shard. The first shard's head is for validation."""

    shards: tuple[Shard, ...]
    validation: int  # pictures of the first shard set aside

    @property
    def training(self) -> np.ndarray:
        """(shard, picture) of every training picture, (N, 2)."""
        rows = []
        for number, shard in enumerate(self.shards):
            inside = np.arange(self.validation if number == 0 else 0, len(shard.pictures))
            rows.append(np.stack([np.full_like(inside, number), inside], axis=1))
        return np.concatenate(rows)

    def held_back(self) -> np.ndarray:
        """The validation pictures, uint8 (V, S, S, 3)."""
        return np.asarray(self.shards[0].pictures[: self.validation])


def open_pictures(folder: Path) -> Pictures:
    """Open what a folder holds now. Raises StudioError when there is nothing whole in it yet."""
    paths = sorted(
        path for path in folder.glob("*.npy") if path.with_suffix(".json").exists() and ".tmp" not in path.name
    )
    shards = tuple(Shard(path, np.load(path, mmap_mode="r")) for path in paths)
    if not shards:
        raise StudioError(f"No pictures in '{folder}'. Render some first: python -m studio.painter.train render.")
    return Pictures(shards, min(VALIDATION, len(shards[0].pictures) // 4))


def captions(shard: Shard) -> list[list[str]]:
    """Training captions of every picture: the full sentence first, then its variants."""
    facts = json.loads(shard.facts.read_text())
    if isinstance(facts, list):  # sentences only: the empty caption takes a tenth
        return [[sentence] * 9 + [""] for sentence in facts[: len(shard.pictures)]]
    return [[sentence, *variants] for sentence, variants in zip(facts["captions"], facts["variants"], strict=True)]


def to_floats(pictures: np.ndarray | Sequence[np.ndarray], device: torch.device) -> Tensor:
    """uint8 (B, H, W, 3) to float (B, 3, H, W) in [-1, 1], channels last in memory."""
    pixels = torch.from_numpy(np.array(pictures, dtype=np.uint8)).to(device)
    return pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
