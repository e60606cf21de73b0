"""Long measurements in batches on disk: the same command goes on where an earlier one stopped."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Kept:
    """The batches of one cell: `count` samples, `batch` in a file, each file a set of named arrays."""

    folder: Path
    batch: int
    count: int

    def path(self, start: int) -> Path:
        return self.folder / f"{start:05d}-{min(self.batch, self.count - start)}.npz"

    def is_there(self, start: int) -> bool:
        return self.path(start).exists()

    def save(self, start: int, values: dict[str, np.ndarray]) -> None:
        """Writes one batch whole or not at all."""
        from studio.painter.progress import write_file

        def write(beside: Path) -> None:
            with beside.open("wb") as file:
                np.savez(file, **values)

        write_file(self.path(start), write)

    def load(self, alike: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
        """All batches up to the first that is missing, one after the other along the first axis.

        Arrays whose name ends in one of `alike` are the same in every batch and come once. An array that only some
        batches have is made of those.
        """
        parts: list[dict[str, np.ndarray]] = []
        for start in range(0, self.count, self.batch):
            if not self.is_there(start):
                break
            with np.load(self.path(start)) as stored:
                parts.append(dict(stored))
        return {
            name: first if name.endswith(alike) else np.concatenate([part[name] for part in parts if name in part])
            for name, first in (parts[0] if parts else {}).items()
        }


def follow(what: str, futures: Sequence[Future[Any]]) -> None:
    """Waits for all `futures` and tells on stderr how many are done; raises what one of them raised."""
    began = time.monotonic()
    for done, future in enumerate(as_completed(futures), start=1):
        future.result()
        left = (time.monotonic() - began) / done * (len(futures) - done) / 60
        if sys.stderr.isatty() or done % max(len(futures) // 20, 1) == 0:
            print(f"{done} of {len(futures)} {what}, {left:.0f} min left", file=sys.stderr, flush=True)
