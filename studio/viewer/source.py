"""Recorded runs as clean estimates, pixels and numbers: what every view of a run is made from, cached.

A run's clean estimates become pixels in two ways: `fast`, by the linear preview, in about a millisecond, and `full`,
by the model's decoder. The steps that a branch shares are those of the run that made them.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from studio.engine import CannotShow, Engine
from studio.errors import InvalidRequest, StudioError
from studio.project.runs import BandNumbers, KeptRun, LatentsGone, RunStore
from studio.viewer import numbers
from studio.viewer.cache import ByteCache
from studio.viewer.numbers import Plane

if TYPE_CHECKING:
    from torch import Tensor

    from studio.diffusion.layout import Layout
    from studio.diffusion.recording import Recording
    from studio.diffusion.steps import Step

CACHE_BUDGET = 512 * 1024**2  # bytes of decoded steps, recordings and PNGs
QUICK = 1.0  # seconds for decoding a whole run, up to which the decoder is used unasked
DEFAULT_WAVELET, DEFAULT_LEVELS = "db2", 4
LOOKS = ("auto", "fast", "full")
SIZES = (16, 2048)  # px
GAINS = (1 / 64, 64.0)  # times what a scale shows

_WANTED: ContextVar[Callable[[], bool]] = ContextVar("wanted", default=lambda: True)


class NotWanted(StudioError):
    """Whoever asked for this has left."""


@contextlib.contextmanager
def only_while_wanted(wanted: Callable[[], bool]) -> Iterator[None]:
    """Inside, what takes long asks `wanted` between two steps of a run, and ends with NotWanted if it says no."""
    token = _WANTED.set(wanted)
    try:
        yield
    finally:
        _WANTED.reset(token)


def nobody_waits() -> bool:
    """Whether whoever asked for what is being done has left."""
    return not _WANTED.get()()


class NotThere(StudioError):
    """There is no such run, or no such step of it, for this owner."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One step of a run: the evaluation that ends it, and its clean estimate in space, (C, h, w)."""

    step: Step
    latents: NDArray[np.float32]

    @property
    def clean(self) -> Tensor:
        """The clean estimate as the scheduler saw it; for schedulers that have none, the sample that left."""
        return self.step.denoised if self.step.denoised is not None else self.step.x_next

    @property
    def nbytes(self) -> int:
        return self.latents.nbytes + self.clean.nbytes + self.step.x.nbytes


class Source:
    """The runs in a store, opened. Safe to call from several threads."""

    def __init__(self, engine: Engine, runs: RunStore, budget: int = CACHE_BUDGET, data: Path | None = None) -> None:
        self.runs = runs
        self.engine = engine
        self.data = data  # the studio's data folder, where calibrations are
        self.cache = ByteCache(budget)

    def run(self, owner: str, run_id: str) -> KeptRun:
        """This owner's run. Raises NotThere."""
        run = self.runs.get(owner, run_id)
        if run is None:
            raise NotThere("There is no such run here. Pictures made before the studio recorded runs have none.")
        return run

    def frames(self, owner: str, run: KeptRun) -> list[Frame]:
        """The run's steps, those that it shares first. Raises LatentsGone."""
        line = self.runs.lineage(owner, run)
        if line[-1].branch_at:
            raise LatentsGone("The run that this one came from is not there any more.")
        frames: list[Frame] = []
        for each in reversed(line):
            frames = [*frames[: each.branch_at or 0], *self._own(owner, each)]
        return frames

    def _own(self, owner: str, run: KeptRun) -> list[Frame]:
        """The steps that the run made itself. Cached alone: what a branch shares is held and counted once."""

        def make() -> list[Frame]:
            own = [frame_of(step) for step in whole_steps(self.runs.recording(owner, run.id))]
            shape = (run.channels, run.latent_height, run.latent_width)
            if len(own) + (run.branch_at or 0) != len(run.steps) or any(f.latents.shape != shape for f in own):
                raise StudioError("The recorded steps of this run are not those that it tells of. Paint it again.")
            return own

        return self.cache.get(("frames", owner, run.id), make, lambda own: sum(frame.nbytes for frame in own))

    def holder(self, owner: str, run: KeptRun, index: int) -> KeptRun:
        """The run that made step `index` of `run`: itself, or the one that it shares the step with."""
        return next((r for r in self.runs.lineage(owner, run) if index >= (r.branch_at or 0)), run)

    def plane(self, owner: str, run: KeptRun, index: int, look: str) -> Plane:
        """The clean estimate of a step as float pixels (3, H, W) in [-1, 1]. Raises NotWanted."""
        if nobody_waits():
            raise NotWanted("Nobody waits for this any more.")
        frame = self.frames(owner, run)[index]
        run = self.holder(owner, run, index)
        if look == "fast":
            return self.pixels_of(run, frame.clean, look, frame.step.layout)
        return self.cache.get(
            ("plane", owner, run.id, index),
            lambda: self.pixels_of(run, frame.clean, look, frame.step.layout),
            lambda p: p.nbytes,
        )

    def pixels_of(self, run: KeptRun, latents: Tensor, look: str, layout: Layout) -> Plane:
        """Latents as float pixels (3, H, W). Raises CannotShow."""
        if look == "fast":
            linear = self.engine.look(run.request.model)
            if linear is not None:
                return looked(linear, layout.to_space(latents)[0].float().cpu().numpy())
        plane = self.engine.decode(run.request, latents)
        if plane is None:
            raise CannotShow("This model's steps cannot be shown as pictures: its decoder cannot be called alone.")
        return plane

    def added(self, owner: str, run: KeptRun, index: int, look: str) -> Plane:
        """What step `index` changed of the estimate before it."""
        here = self.plane(owner, run, index, look)
        return here - self.plane(owner, run, index - 1, look) if index else here

    def measured(
        self, owner: str, run: KeptRun, wavelet: str, levels: int, look: str
    ) -> tuple[BandNumbers | None, BandNumbers, str]:
        """Numbers of the run as a picture (None if it cannot be one) and as latents, and the look they are of.

        While the model is not in memory yet, those that were kept with the run are answered where they will do.
        """
        kept = run.measured
        usual = kept is not None and (kept.wavelet, kept.levels) == (wavelet, levels)
        if kept is not None and usual and look in ("auto", kept.look) and self.waking(run):
            return kept.picture, kept.latent, kept.look
        try:
            frames = self.frames(owner, run)
            used = self.usual_look(owner, run, frames) if look == "auto" else look
            latent = self._numbers(
                ("latent", owner, run.id, wavelet, levels),
                lambda: numbers.measure((frame.latents for frame in frames), wavelet, levels),
            )
            picture = self._numbers(
                ("picture", owner, run.id, wavelet, levels, used),
                lambda: numbers.measure(
                    (self.plane(owner, run, k, used) for k in range(len(frames))), wavelet, levels
                ),
            )
            return picture, latent, used
        except (LatentsGone, CannotShow):
            if kept is None or not usual or look == "full":
                raise
            return kept.picture, kept.latent, kept.look

    def waking(self, run: KeptRun) -> bool:
        """Whether the model that could show the run is not in memory yet, and will be."""
        return self.engine.loaded_model is None and run.request.model == self.engine.default_model

    def _numbers(self, key: tuple[object, ...], make: Callable[[], BandNumbers]) -> BandNumbers:
        return self.cache.get(("numbers", *key), make, lambda n: 64 * 2 * len(n.energy) * len(n.energy[0]))

    def usual_look(self, owner: str, run: KeptRun, frames: Sequence[Frame]) -> str:
        """`full` where every step is decoded already or that is a matter of a second, else `fast`."""
        if all(("plane", owner, self.holder(owner, run, k).id, k) in self.cache for k in range(len(frames))):
            return "full"
        if self.engine.look(run.request.model) is None:
            return "full"
        if self.engine.decode_seconds(run.request) is None:
            self.plane(owner, run, len(frames) - 1, "full")
        seconds = self.engine.decode_seconds(run.request)
        return "full" if seconds is not None and seconds * len(frames) <= QUICK else "fast"


def whole_steps(recording: Recording) -> list[Step]:
    """The evaluation that ends each step of the request: of solvers that look twice per step, the second one."""
    return [s for s in recording.steps if (s.index + 1) % s.order == 0 or s.index + 1 == s.total]


def frame_of(step: Step) -> Frame:
    """A recorded step as a frame. Raises StudioError where its latents have no space."""
    clean = step.denoised if step.denoised is not None else step.x_next
    return Frame(step, step.layout.to_space(clean)[0].float().cpu().numpy())


def looked(look: Any, latents: NDArray[np.float32]) -> Plane:
    """(C, h, w) -> (3, H, W) by the linear preview."""
    import torch

    plane: Plane = look(torch.from_numpy(latents)[None])[0].numpy()
    return plane


def check_bands(wavelet: str, levels: int) -> None:
    """Raises InvalidRequest for a wavelet or a number of levels that is not offered."""
    if wavelet not in numbers.WAVELETS:
        raise InvalidRequest(
            f"{wavelet[:40]!r} is not a wavelet here. Choose one of {', '.join(numbers.WAVELETS)}.", "wavelet"
        )
    if not 1 <= levels <= numbers.MAX_LEVELS:
        raise InvalidRequest(f"Levels run from 1 to {numbers.MAX_LEVELS}, not {levels}.", "levels")


def check_look(look: str, allowed: Sequence[str]) -> None:
    """Raises InvalidRequest for a look that is not among those `allowed`."""
    if look not in allowed:
        raise InvalidRequest(f"{look[:40]!r} is not a look. Choose one of {', '.join(allowed)}.", "look")


def check_size(size: int | None) -> None:
    """Raises InvalidRequest for a longest side, in pixels, that no picture is drawn at."""
    if size is not None and not SIZES[0] <= size <= SIZES[1]:
        raise InvalidRequest(f"Sizes run from {SIZES[0]} to {SIZES[1]} pixels, not {size}.", "size")


def checked_gain(gain: float) -> float:
    """An amplification to two digits: finer ones look the same, and each would be kept.

    Raises InvalidRequest for one that nothing is drawn with.
    """
    if not (math.isfinite(gain) and GAINS[0] <= gain <= GAINS[1]):
        raise InvalidRequest(f"The gain runs from 1/64 to {GAINS[1]:g}, not {gain:g}.", "gain")
    return max(float(f"{gain:.2g}"), GAINS[0])


def check_step(run: KeptRun, index: int) -> None:
    """Raises NotThere for a step that the run does not have."""
    if not 0 <= index < len(run.steps):
        raise NotThere(f"There is no step {index + 1}: this run has {len(run.steps)}.")
