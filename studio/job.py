"""A job and its pictures, as plain values; `Jobs` has the queue and the worker."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from studio.branches import Branch
from studio.filling import JUMP, Filling
from studio.picture import Pixels
from studio.requests import TextToImage

FINISHED = frozenset({"done", "stopped", "failed"})


@dataclass(eq=False)
class Slot:
    """One picture of a job."""

    request: TextToImage
    branch: Branch | None = None  # of which run it goes on from, and how
    filling: Filling | None = None  # of which region it is, with the pixels there, until it is painted
    filled: dict[str, Any] | None = None  # what is told of that, with the layer that came of it
    checks: str | None = None  # the id of a picture that is painted again, to be compared and not to be kept
    verdict: dict[str, Any] | None = None  # what that came to
    state: str = "waiting"  # waiting | running | done | stopped | failed
    id: str | None = None
    stopped_at: int | None = None
    seconds: float | None = None
    ribbon: list[tuple[float, ...]] = field(default_factory=list)

    def as_dict(self, with_ribbon: bool = True) -> dict[str, Any]:
        return {
            "state": self.state,
            "id": self.id,
            "stopped_at": self.stopped_at,
            "seconds": self.seconds,
            "seed": self.request.seed,
            "request": self.request.to_dict(),
            "ribbon": [list(column) for column in self.ribbon] if with_ribbon else [],
            "run": {"parent": self.branch.parent, "from": self.branch.at} if self.branch is not None else None,
            **(self.filled or {}),
            **({"checks": self.checks, "verdict": self.verdict} if self.checks is not None else {}),
        }

    @property
    def first_step(self) -> int:
        """The steps that are there before it is painted: those that a branch shares or a fill leaves out."""
        if self.branch is not None:
            return self.branch.at
        return self.filling.fill.start if self.filling is not None else 0

    @property
    def steps_to_make(self) -> int:
        """The steps that it takes: not those that a branch shares or a fill leaves out, but all that come again."""
        fill = self.filled["fill"] if self.filled is not None else {"start": 0, "harmonise": 0}
        shared = self.branch.at if self.branch is not None else 0
        steps = max(self.request.num_inference_steps - fill["start"] - shared, 1)
        alone = 0 if fill["start"] else 1  # the first step of all is made once
        # a branch goes on with the last pass of where it begins
        once = min(JUMP - (shared - alone) % JUMP, steps) if shared else alone
        return once + (steps - once) * (int(fill["harmonise"]) + 1)


@dataclass(eq=False)
class Job:
    """Changed only by `Jobs`, under its lock."""

    id: str
    owner: str
    slots: list[Slot]
    state: str = "queued"  # queued | loading | running | done | stopped | failed
    error: str | None = None
    version: int = 0
    index: int = 0
    step: int = 0
    began: float | None = None
    ended: float | None = None
    step_times: list[float] = field(default_factory=list)
    preview: Pixels | None = None
    preview_version: int | None = None
    stop_this: bool = False
    stop_all: bool = False
    kept: Callable[[int, str], None] | None = None  # told of every picture, by its place in the job and its id

    @property
    def nbytes(self) -> int:
        """Bytes that its fills hold. The variations share them, whatever each has scaled for itself."""
        return max((slot.filling.nbytes for slot in self.slots if slot.filling is not None), default=0)

    @property
    def open_slots(self) -> int:
        """Pictures that are still to be painted."""
        return 0 if self.state in FINISHED else sum(slot.state in ("waiting", "running") for slot in self.slots)

    def seconds_left(self, slot: Slot, expected: float | None) -> tuple[float | None, float | None]:
        """Seconds left for `slot`, which is being painted, and for the job: from this run's own pace, else from the
        `expected` seconds of a whole picture, which earlier runs took. None where nothing is known.
        """
        steps = slot.request.num_inference_steps
        made = len(self.step_times) - sum(s.steps_to_make for s in self.slots[: self.index])
        recent = self.step_times[-8:]
        if len(recent) >= 2 and self.state == "running":
            per_step = (recent[-1] - recent[0]) / (len(recent) - 1)
        elif expected is not None:
            per_step = expected / steps
        else:
            return None, None
        # a picture before that was stopped has made fewer: then by where this one stands
        left = slot.steps_to_make - made if 0 <= made <= slot.steps_to_make else steps - self.step
        here = per_step * left
        later = per_step * sum(s.steps_to_make for s in self.slots[self.index + 1 :])
        return here, here + later


def too_many(kept: Sequence[tuple[str, str]], limit: int) -> list[str]:
    """Which of the things that are kept, (id, owner) from old to new, have to go so that `limit` are left: the oldest
    of whoever has most, so that nobody pushes out what others have.
    """
    left = list(kept)
    going: list[str] = []
    while len(left) > limit:
        most, _ = Counter(owner for _, owner in left).most_common(1)[0]
        going.append(left.pop(next(k for k, (_, owner) in enumerate(left) if owner == most))[0])
    return going


def told_of(filling: Filling) -> dict[str, Any]:
    """What is told of a fill before it is painted."""
    return {
        "fill": filling.fill.to_dict(),
        "frame": dataclasses.asdict(filling.frame),
        "working": dataclasses.asdict(filling.working),
        "layer": None,
        "count": None,
    }
