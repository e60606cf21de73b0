"""How a training stage spends its time: a budget that survives interruptions, a log, and a clean stop.

Knows nothing of models. Every file appears whole or not at all: it is written beside its place and renamed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

SAVE_EVERY = 180.0  # seconds between checkpoints


@dataclass(frozen=True)
class Budget:
    """When a stage ends and how its learning rate fades. Counts everything spent on the stage, earlier runs
    included.

    `end` and `fade` are seconds, or steps where `counts_steps`.
    """

    end: float
    fade: float
    counts_steps: bool = False

    @classmethod
    def of(
        cls,
        seconds: float | None,
        steps: int | None,
        fade: float,
        decay: float | None,
        spent: float,
        step: int,
    ) -> Budget:
        """The budget asked for: `seconds` or `steps` in all with a final fade (a share of it), or, with
        `decay`, that many more seconds (steps where `steps` is given) from (spent, step), fading all the way.
        """
        counts_steps = steps is not None
        if decay is not None:
            return cls((step if counts_steps else spent) + decay, decay, counts_steps)
        end = float(steps) if steps is not None else float(seconds or 0)
        return cls(end, fade * end, counts_steps)

    def over(self, spent: float, step: int) -> bool:
        return (step if self.counts_steps else spent) >= self.end

    def rate(self, spent: float, step: int) -> float:
        """Factor of the learning rate: 1, then linearly down to 0 at the end."""
        left = self.end - (step if self.counts_steps else spent)
        return max(0.0, min(1.0, left / self.fade)) if self.fade > 0 else 1.0


class StopSignal:
    """True after SIGTERM or Ctrl+C, so that a loop can finish its step, save and leave."""

    def __init__(self) -> None:
        self.asked = False

    def __bool__(self) -> bool:
        return self.asked

    def ask(self, number: int = 0, frame: FrameType | None = None) -> None:
        self.asked = True


@contextmanager
def stop_signal() -> Iterator[StopSignal]:
    """Catch SIGTERM and SIGINT while the block runs. Off the main thread, where Python has no signals, never
    set.
    """
    stop = StopSignal()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Log:
    """Measurements of one stage, one JSON object per line, appended to a file and shown."""

    def __init__(self, path: Path, quiet: bool = False) -> None:
        self.path = path
        self.quiet = quiet
        path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, **facts: object) -> None:
        line = json.dumps({key: round(v, 5) if isinstance(v, float) else v for key, v in facts.items()})
        with self.path.open("a") as file:
            file.write(line + "\n")
        if not self.quiet:
            print(line, flush=True)


class Every:
    """True once per `seconds`, counted from its making."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.last = time.monotonic()

    def due(self) -> bool:
        now = time.monotonic()
        if now - self.last < self.seconds:
            return False
        self.last = now
        return True


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, then rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_folder(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a folder beside `path`, then put it into the place of what is there."""
    beside, old = (path.with_name(f".{path.name}.{os.getpid()}.{end}") for end in ("tmp", "old"))
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        write(beside)
        if path.exists():
            path.rename(old)
        beside.rename(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def save_array(path: Path, values: np.ndarray) -> None:
    """Write one array as .npy."""

    def write(beside: Path) -> None:
        with beside.open("wb") as file:
            np.save(file, values)

    write_file(path, write)


def save_checkpoint(path: Path, state: Mapping[str, object]) -> None:
    """Write a state of tensors and plain values."""
    write_file(path, lambda beside: torch.save(dict(state), beside))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The state that was written to `path`, on the CPU; empty where there is none yet."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True) if path.exists() else {}
    return state
