"""Training pictures: paint scenes from seeds on all cores, into shards that other stages can read at once."""

from __future__ import annotations

import json
import multiprocessing
import signal
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from studio.painter import Painting, is_held_out, paint, paraphrase
from studio.painter.preset import Preset
from studio.painter.progress import Log, StopSignal, save_array, write_file

VARIANTS = 8  # training captions drawn per picture


@dataclass(frozen=True)
class ShardOrder:
    """The pictures of one shard: seeds [first, first + count), less those that are held out."""

    path: Path  # NAME.npy
    first: int
    count: int
    preset: Preset

    @property
    def done(self) -> bool:
        return self.path.exists() and self.path.with_suffix(".json").exists()


def paint_at(preset: Preset, seed: int, **chosen: str) -> Painting:
    """A painting of the preset's size; painted larger and averaged down where the preset says so: crisper."""
    painting = paint(seed, preset.painted, **chosen)
    size = preset.picture
    if size == preset.painted:
        return painting
    return replace(painting, pixels=cv2.resize(painting.pixels, (size, size), interpolation=cv2.INTER_AREA))


def render_shard(order: ShardOrder) -> int:
    """Paint one shard and write it, captions last. Returns the number of pictures."""

    pictures: list[np.ndarray] = []
    facts: dict[str, list[object]] = {"seeds": [], "captions": [], "variants": [], "scenes": []}
    for seed in range(order.first, order.first + order.count):
        painting = paint_at(order.preset, seed)
        if is_held_out(painting.scene):
            continue
        random = np.random.default_rng((seed, 1))
        pictures.append(painting.pixels)
        facts["seeds"].append(seed)
        facts["captions"].append(painting.caption)
        facts["variants"].append([paraphrase(painting.scene, random) for _ in range(VARIANTS)])
        facts["scenes"].append(asdict(painting.scene))

    save_array(order.path, np.stack(pictures))
    write_file(order.path.with_suffix(".json"), lambda beside: beside.write_text(json.dumps(facts)))
    return len(pictures)


def _quietly() -> None:
    """Workers leave signals to the parent and use one core each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    cv2.setNumThreads(1)


def render_pictures(
    folder: Path,
    preset: Preset,
    count: int,
    *,
    workers: int,
    stop: StopSignal,
    seconds: float | None = None,
    first: int = 0,
    shard: int = 500,
) -> None:
    """Paint seeds [first, first + count) at the preset's size into shards of `folder`; shards that exist are
    kept.

    Ends early after `seconds` or when `stop` is set, dropping the shards in work.
    """
    orders = [
        ShardOrder(folder / f"shard-{start:08d}.npy", start, min(shard, first + count - start), preset)
        for start in range(first, first + count, shard)
    ]
    todo = [order for order in orders if not order.done]
    log = Log(folder.parent / "render.jsonl")
    began, painted = time.monotonic(), 0
    # Spawned, not forked: the parent may already run torch's threads.
    with multiprocessing.get_context("spawn").Pool(workers, _quietly) as pool:
        finished = pool.imap_unordered(render_shard, todo)
        while not stop and (seconds is None or time.monotonic() - began < seconds):
            try:
                painted += finished.next(timeout=0.5)
            except multiprocessing.TimeoutError:
                continue
            except StopIteration:
                break
            spent = time.monotonic() - began
            log.write(pictures=painted, seconds=spent, speed=painted / spent)
