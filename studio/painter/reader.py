"""Reads terrain, time of day and style off a picture: a small network on EfficientNet-lite0 features, taught
by rendering.

It judges whether a generated picture shows what its prompt asked for. It never sees the painter or its
prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from studio.painter.features import Perception
from studio.painter.progress import save_checkpoint
from studio.painter.shards import to_floats

Labels = Mapping[str, Sequence[str]]  # what is read (terrain, time, style) -> the names that it can have
HIDDEN = 512
EPOCHS = 40
BATCH = 256


@torch.no_grad()
def describe(perception: Perception, pictures: np.ndarray, *, mirrored: bool = False, batch: int = 64) -> Tensor:
    """Descriptions (N, 1920) of uint8 (N, S, S, 3) pictures, or of their mirror images."""
    device = next(perception.parameters()).device
    rows = []
    for start in range(0, len(pictures), batch):
        some = to_floats(pictures[start : start + batch], device)
        rows.append(perception.description(some.flip(3) if mirrored else some).cpu())
    return torch.cat(rows)


class SceneReader(nn.Module):
    """Descriptions (B, D) in, one row of scores per label out."""

    def __init__(self, labels: Labels, width: int) -> None:
        super().__init__()
        self.labels = {name: tuple(values) for name, values in labels.items()}
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.body = nn.Sequential(nn.Linear(width, HIDDEN), nn.GELU(), nn.Dropout(0.4))
        self.heads = nn.ModuleDict({name: nn.Linear(HIDDEN, len(values)) for name, values in self.labels.items()})

    def forward(self, descriptions: Tensor) -> dict[str, Tensor]:
        hidden = self.body((descriptions - self.mean) / self.deviation)
        return {name: head(hidden) for name, head in self.heads.items()}

    @torch.no_grad()
    def read(self, descriptions: Tensor) -> dict[str, list[str]]:
        """The most likely name per label for every picture."""
        self.eval()
        scores = self(descriptions)
        return {name: [values[i] for i in scores[name].argmax(1).tolist()] for name, values in self.labels.items()}


@dataclass(frozen=True)
class Accuracy:
    """Shares of pictures whose label was read as asked."""

    count: int
    shares: Mapping[str, float]  # per label
    every: float  # all labels right at once


def accuracy(read: Mapping[str, Sequence[str]], asked: Mapping[str, Sequence[str]]) -> Accuracy:
    """Compare what was read with what was asked, picture by picture."""
    right = {name: np.array([a == b for a, b in zip(read[name], asked[name], strict=True)]) for name in asked}
    every = np.logical_and.reduce(list(right.values()))
    return Accuracy(len(every), {name: float(hits.mean()) for name, hits in right.items()}, float(every.mean()))


def teach(
    descriptions: Tensor,
    truths: Mapping[str, Sequence[str]],
    labels: Labels,
    *,
    epochs: int = EPOCHS,
    seed: int = 0,
) -> SceneReader:
    """A reader trained on descriptions (N, D) of rendered pictures and their true names. Repeatable on one
    machine.
    """
    torch.manual_seed(seed)
    reader = SceneReader(labels, descriptions.shape[1])
    reader.mean.copy_(descriptions.mean(0))
    reader.deviation.copy_(descriptions.std(0).clamp_min(1e-4))
    targets = {
        name: torch.tensor([reader.labels[name].index(value) for value in truths[name]]) for name in reader.labels
    }
    steps = max(1, len(descriptions) // BATCH) * epochs
    optimizer = torch.optim.AdamW(reader.parameters(), 1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(descriptions), generator=generator)
    place = 0
    reader.train()
    for _ in range(steps):
        if place + BATCH > len(order):
            order, place = torch.randperm(len(descriptions), generator=generator), 0
        rows = order[place : place + BATCH]
        place += BATCH
        scores = reader(descriptions[rows])
        loss = torch.stack(
            [F.cross_entropy(scores[name], targets[name][rows], label_smoothing=0.05) for name in targets]
        ).sum()
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return reader.eval()


def save_reader(path: Path, reader: SceneReader) -> None:
    labels = {name: list(values) for name, values in reader.labels.items()}
    save_checkpoint(path, {"labels": labels, "weights": reader.state_dict()})


def load_reader(path: Path) -> SceneReader:
    state = torch.load(path, map_location="cpu", weights_only=True)
    reader = SceneReader(state["labels"], len(state["weights"]["mean"]))
    reader.load_state_dict(state["weights"])
    return reader.eval()
