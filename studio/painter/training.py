"""What the trainings of the recipe share: what is asked of one, how far it has come, and its averaged weights."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from studio.painter.preset import Preset
from studio.painter.progress import SAVE_EVERY, Budget, Every, Log, StopSignal


@dataclass(frozen=True)
class TrainingStage:
    """What a network trains on and for how long. Picklable, so that processes can share the work."""

    preset: Preset
    data: Path  # folder of pictures
    out: Path
    device: torch.device
    seconds: float | None = None  # budget, see `Budget.of`
    steps: int | None = None
    decay: float | None = None
    save_every: float = SAVE_EVERY  # seconds
    init: Path | None = None  # older weights to start from when there is no checkpoint yet
    stop: StopSignal | None = None  # of the leading process


class Progress:
    """How far a training has come, in steps and seconds, earlier runs included. The clock runs from its making."""

    def __init__(self, stage: TrainingStage, state: Mapping[str, Any], log: Log) -> None:
        """Goes on from a checkpoint's `state`, or begins where that is empty."""
        self.step: int = state.get("step", 0)
        self.spent: float = state.get("spent", 0.0)  # seconds, at the end of the last step
        self._log = log
        self._budget = Budget.of(stage.seconds, stage.steps, stage.preset.fade, stage.decay, self.spent, self.step)
        self._saving = Every(stage.save_every)
        self._step_before: int = self.step  # before this run
        self._spent_before: float = self.spent
        self._began: float = time.monotonic() - self.spent

    @property
    def over(self) -> bool:
        return self._budget.over(self.spent, self.step)

    @property
    def seconds(self) -> float:
        """Spent until now."""
        return time.monotonic() - self._began

    def rate(self, peak: float, warm_up: int, floor: float = 0.0) -> float:
        """Learning rate of the coming step: rises over `warm_up` steps, fades with the budget to `floor` of `peak`."""
        return peak * min(1.0, (self.step + 1) / warm_up) * max(floor, self._budget.rate(self.spent, self.step))

    def advance(self, spent: float | None = None) -> None:
        """A step is made, after `spent` seconds in all; by this process's clock where nothing else is said."""
        self.step += 1
        self.spent = self.seconds if spent is None else spent

    def speed(self, batch: int) -> float:
        """Samples per second since this run began."""
        return (self.step - self._step_before) * batch / (self.spent - self._spent_before)

    def log(self, **facts: object) -> None:
        """Write measurements, and when they were taken."""
        self._log.write(step=self.step, seconds=self.spent, **facts)

    def saving_is_due(self) -> bool:
        """True once per `stage.save_every`."""
        return self._saving.due()

    def state(self) -> dict[str, object]:
        """What a checkpoint keeps of it."""
        return {"step": self.step, "spent": self.spent}


def seeded(step: int) -> np.random.Generator:
    """Random numbers of one step, torch's included: the same whether or not the run was interrupted before it."""
    torch.manual_seed(step)
    return np.random.default_rng(step)


@torch.no_grad()
def average_weights(averaged: nn.Module, trained: nn.Module, memory: float) -> None:
    """Move `averaged` towards `trained`; of what it was it keeps `memory`, a share."""
    torch._foreach_lerp_(list(averaged.parameters()), list(trained.parameters()), 1 - memory)
