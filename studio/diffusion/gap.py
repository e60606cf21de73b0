"""The SNR-t gap: how far the samples of a run are from what the model was trained to see, per step and wavelet band.

In training, a sample is a clean latent with exactly as much noise as its timestep says. In a run it comes from the
model's own earlier predictions, and is a little noisier or a little cleaner. The model cannot know; what it takes for
noise, n_hat = (x - signal * denoised) / noise, then has another energy. So the energies of n_hat are measured twice:

    reverse   an ordinary run, watched;
    forward   the same call of the same pipeline, where a hook replaces every sample that leaves a step by
              signal * clean + noise * (fresh noise), `clean` being what the same sample's reverse run ended in.

Prompts, guidance and solver are thereby the same on both sides, and no pipeline needs to be known. Differences are
taken sample by sample: both sides share the prompt and what the picture shows. What the drawn noise itself has too
much or too little of a band, which is known, is taken out by regression (control variates). Both make the standard
errors smaller and change no mean.

Source of the measure: Yu et al. 2026 (arXiv:2604.16044), section 3. Knows tensors and schedulers; no prompt, no model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from studio.diffusion.calibration import Gap
from studio.diffusion.layout import Layout
from studio.diffusion.observe import Hook, observe
from studio.diffusion.start import noised
from studio.diffusion.steps import Step
from studio.diffusion.wavelets import band_energy
from studio.errors import StudioError

Array = NDArray[np.float64]
Paint = Callable[[Sequence[int]], object]
"""Calls the pipeline once for the samples with these numbers, each from a prompt and a seed of its own."""

LEAST_FOR_REGRESSION = 12  # samples: with fewer, fitting the drawn noise's share costs more than it gains
_FRESH = 0x9E3779B1  # mixed into the seeds of the forward noise: it must not be the noise that the run started from


@dataclass(frozen=True, eq=False)
class Energies:
    """Root mean square of the implied noise, per sample, step and band (coarse to fine): 1 is white noise."""

    values: Array  # (K, T, bands)
    luck: Array  # (K, T, bands) the same of the noise that was drawn, less its expectation; 0 where it is not known
    steps: tuple[int, ...]  # (T,) numbers of the steps, counted from 0
    noise_levels: tuple[float, ...]  # (T,)


@dataclass(frozen=True, eq=False)
class Meter:
    """Measures the two sides of the gap on a pipeline.

    `paint` is called with up to `batch` sample numbers inside the `observe` block; the latents that its scheduler sees
    must have one entry per sample along their first axis. `layout` is for pipelines whose layout `observe` cannot
    tell. `on_batch` is told how many samples of the pass are done.
    """

    pipe: Any
    paint: Paint
    batch: int = 8
    wavelet: str = "haar"
    levels: int = 1
    layout: Layout | None = None
    on_batch: Callable[[int], None] = field(default=lambda _: None)

    def reverse(self, samples: Sequence[int], hooks: Sequence[Hook] = ()) -> tuple[Energies, Tensor]:
        """Energies of ordinary runs, watched, and the latents (K, ...) that they end in. `hooks` act on the runs."""
        parts, ends = [], []
        for some in self._batches(samples):
            watch = _Watch(self.wavelet, self.levels, len(some))
            # hooks may change the clean estimate that the solver uses; the gap is of what the model itself says
            self._run(some, [_Early(watch), *hooks] if hooks else [], watch)
            parts.append(watch.energies())
            ends.append(watch.end)
            self.on_batch(len(some))
        return _joined(parts), torch.cat(ends)

    def forward(self, samples: Sequence[int], clean: Tensor) -> Energies:
        """Energies where every entering sample is `clean` (K, ...), laid out as the scheduler sees it, with noise."""
        if len(clean) != len(samples):
            raise ValueError(f"{len(clean)} clean latents for {len(samples)} samples")
        parts, done = [], 0
        for some in self._batches(samples):
            watch = _Watch(self.wavelet, self.levels, len(some))
            renoise = _Renoise(clean[done : done + len(some)], some, watch)
            self._run(some, [renoise], watch)
            parts.append(watch.energies())
            done += len(some)
            self.on_batch(len(some))
        return _joined(parts)

    def _batches(self, samples: Sequence[int]) -> list[Sequence[int]]:
        return [samples[start : start + self.batch] for start in range(0, len(samples), self.batch)]

    def _run(self, samples: Sequence[int], hooks: list[Hook], watch: _Watch) -> None:
        with (
            torch.inference_mode(),
            observe(self.pipe, hooks=hooks, on_step=watch, record=False, layout=self.layout),
        ):
            self.paint(samples)


class _Watch:
    """Follows one batch and notes the energies of every step but the first, and of first evaluations only."""

    def __init__(self, wavelet: str, levels: int, samples: int) -> None:
        self.early: Tensor | None = None  # the implied noise before any hook, where that was asked for
        self.upcoming: Array | None = None  # (samples, bands) luck of the noise in what this step is made to leave
        self._wavelet, self._levels, self._samples = wavelet, levels, samples
        self._rows: list[Array] = []
        self._luck: list[Array] = []
        self._steps: list[int] = []
        self._noise_levels: list[float] = []
        self._drawn: Array | None = None  # the same for the sample that enters; None where it is not known
        self._end: Tensor | None = None

    def __call__(self, step: Step) -> None:
        self._note(step, step.n_hat if self.early is None else self.early)
        self.early = None
        if self.upcoming is not None:
            self._drawn, self.upcoming = self.upcoming, None

    def _note(self, step: Step, n_hat: Tensor | None) -> None:
        if len(step.x) != self._samples:
            raise StudioError(
                f"This pipeline's scheduler sees {len(step.x)} latents for {self._samples} samples, so that their gap "
                "cannot be told apart. Use a batch of 1."
            )
        self._end = step.x_next.detach().clone()
        if step.index % step.order:
            return  # the second look of a second-order step, at a sample of the solver's own making
        if step.index == 0:
            self._drawn = self.luck_of(step.x / (step.noise * step.deviation), step) if step.noise else None
            return
        if n_hat is None:
            if step.noise == 0:
                return  # some schedules end with a step from nothing to nothing
            raise StudioError(
                "The gap cannot be measured with this solver: it has no noise levels, or keeps no clean estimate. "
                "Try Euler or DPM++ 2M."
            )
        values, _ = band_lengths(n_hat, step.layout, self._wavelet, self._levels)
        self._rows.append(values)
        self._luck.append(np.zeros_like(values) if self._drawn is None else self._drawn)
        self._steps.append(step.index // step.order)
        self._noise_levels.append(step.noise_level)

    def luck_of(self, noise: Tensor, step: Step) -> Array | None:
        """What drawn white noise has too much of each band (samples, bands), or None where that is not known."""
        values, counts = band_lengths(noise, step.layout, self._wavelet, self._levels)
        if sum(counts) != noise[0].numel():
            return None  # sides that cannot be halved: the bands overlap at the border and are not quite white
        luck: Array = values - np.array([_mean_length(count) for count in counts])
        return luck

    @property
    def end(self) -> Tensor:
        if self._end is None:
            raise StudioError("The pipeline made no step: there is nothing to measure.")
        return self._end

    def energies(self) -> Energies:
        if not self._rows:
            raise StudioError("The gap needs runs of two steps or more: the first one starts from pure noise.")
        return Energies(
            np.stack(self._rows, axis=1), np.stack(self._luck, axis=1), tuple(self._steps), tuple(self._noise_levels)
        )


class _Early:
    """Hook that changes nothing: it shows the watch what the model says, before other hooks have a say."""

    def __init__(self, watch: _Watch) -> None:
        self._watch = watch

    def __call__(self, step: Step) -> Tensor:
        return step.x_next

    def before(self, step: Step) -> Tensor:
        self._watch.early = step.n_hat
        return step.denoised  # type: ignore[return-value]


class _Renoise:
    """Hook: what leaves a step is the clean latent with fresh noise, as much as its level says."""

    def __init__(self, clean: Tensor, samples: Sequence[int], watch: _Watch) -> None:
        self._clean = clean
        self._watch = watch
        # a generator for each sample: the noise does not depend on the batch
        self._generators = [torch.Generator().manual_seed((_FRESH ^ sample) % 2**32) for sample in samples]

    def __call__(self, step: Step) -> Tensor:
        if (step.index + 1) % step.order or step.index + 1 == step.total:
            return step.x_next
        if step.signal_next is None or step.noise_next is None:
            raise StudioError("The gap cannot be measured with this solver: it has no noise levels. Try Euler.")
        shape = step.x.shape[1:]
        rows = [torch.randn(shape, generator=generator) for generator in self._generators]
        noise = torch.stack(rows).to(device=step.x.device)
        self._watch.upcoming = self._watch.luck_of(noise, step)
        clean = self._clean.to(device=step.x.device, dtype=torch.float32)
        return noised(clean, noise, step.signal_next, step.noise_next * step.deviation).to(step.x_next.dtype)


def band_lengths(latents: Tensor, layout: Layout, wavelet: str, levels: int) -> tuple[Array, list[int]]:
    """Root mean square of every band, per sample (K, levels + 1), and how many coefficients each band has.

    `latents` are laid out as `layout` says. Raises StudioError where it does not know space, or where space is too
    small for so many levels.
    """
    plane = layout.to_space(latents.detach().float())
    squares = band_energy(plane, wavelet, levels, layout.axes)  # (K, ..., bands)
    planes = squares[0, ..., 0].numel()
    counts = [planes * count for count in _coefficients(tuple(plane.shape[-layout.axes :]), levels)]
    summed = squares.double().flatten(1, -2).sum(1) if squares.ndim > 2 else squares.double()
    values: Array = (summed.cpu() / torch.tensor(counts, dtype=torch.float64)).sqrt().numpy()
    return values, counts


def _coefficients(sides: tuple[int, ...], levels: int) -> list[int]:
    """How many coefficients the bands of one plane have, coarse to fine."""
    details = []
    for _ in range(levels):
        sides = tuple((side + 1) // 2 for side in sides)
        details.append((2 ** len(sides) - 1) * math.prod(sides))
    return [math.prod(sides), *reversed(details)]


def differences(reverse: Energies, forward: Energies) -> Array:
    """The gap of every sample (K, T, bands), with the share of the drawn noise taken out; its mean is the gap."""
    if reverse.steps != forward.steps or reverse.values.shape != forward.values.shape:
        raise ValueError("the two sides were measured at other steps or on other samples")
    gap: Array = reverse.values - forward.values
    count = len(gap)
    if count < LEAST_FOR_REGRESSION:
        return gap
    for place in np.ndindex(gap.shape[1:]):
        at = (slice(None), *place)
        known = np.stack([reverse.luck[at], forward.luck[at]], axis=1)
        known = known[:, known.std(axis=0) > 0]  # (K, 0 to 2)
        design = np.column_stack([np.ones(count), known])
        weights = np.linalg.lstsq(design, gap[at], rcond=None)[0][1:]
        gap[at] -= known @ weights
    return gap


def summary(gaps: Array, reverse: Energies, forward: Energies) -> Gap:
    """Mean and standard error of `differences`. Raises StudioError for a single sample, which has no error."""
    count = len(gaps)
    if count < 2:
        raise StudioError("The gap needs at least 2 samples to have an error. Take 32 or more.")

    def table(values: Array) -> tuple[tuple[float, ...], ...]:
        return tuple(tuple(float(value) for value in row) for row in values)

    return Gap(
        steps=reverse.steps,
        noise_levels=reverse.noise_levels,
        mean=table(gaps.mean(axis=0)),
        error=table(gaps.std(axis=0, ddof=1) / math.sqrt(count)),
        forward=table(forward.values.mean(axis=0)),
        samples=count,
    )


def _joined(parts: Sequence[Energies]) -> Energies:
    return Energies(
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.luck for part in parts]),
        parts[0].steps,
        parts[0].noise_levels,
    )


def _mean_length(count: int) -> float:
    """Expectation of the root mean square of `count` standard normal numbers: a little below 1."""
    return math.exp(math.lgamma((count + 1) / 2) - math.lgamma(count / 2)) * math.sqrt(2 / count)
