"""Strengths that close a model's SNR-t gap: the search, and the second measurement that confirms or rejects it.

The gap changes almost in proportion to a strength, so a run with a small strength gives its slope, and the strength
that leaves the least is known in closed form. Bands come one after the other, the approximation first and the details
with it fixed, as the paper advises (Yu et al. 2026, arXiv:2604.16044, section 5).

Whether there is a gap at all is asked by a sign-flip test: if there were none, every sample's differences could as
well have the opposite sign, so the measured sum of squares, weighted by precision, is compared with that of random
sign flips. Flipping whole samples respects that their steps and bands belong together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from studio.diffusion.calibration import CLOSES, NOTHING, UNCONFIRMED, Calibration
from studio.diffusion.correction import Correction
from studio.diffusion.gap import Array, Energies, Meter, differences, summary
from studio.diffusion.strengths import Schedule, Strengths

SCHEDULES = ("constant", "sigma", "1 - sigma")
SIGNIFICANT = 0.01  # p below which a gap counts as there
PROBE = 0.1  # divided by the number of steps: a strength acts on every step, and what it adds stays
REACH = 4.0  # divided by the number of steps: the largest strength that is tried
FLIPS = 2000
SECANTS = 2  # strengths that are tried for one band after its probes
_SMALLEST = 1e-4  # share of the energy below which no gap is told from another


def calibrate(
    meter: Meter,
    search: Sequence[int],
    check: Sequence[int],
    facts: Mapping[str, str | int | float] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Calibration:
    """Measures the gap on the samples `search`, finds strengths, and measures again on the samples `check`.

    `tell` is called with a few words before each pass over the samples.
    """
    tell("the runs as they are")
    reverse, clean = meter.reverse(search)
    tell("forward noise, for comparison")
    forward = meter.forward(search, clean)
    gaps = differences(reverse, forward)
    p_value = sign_flip_test(gaps)

    found = Calibration(
        verdict=NOTHING,
        strengths=None,
        tried=None,
        before=summary(gaps, reverse, forward),
        after=None,
        p_value=p_value,
        closed=None,
        wavelet=meter.wavelet,
        levels=meter.levels,
        facts={**(facts or {}), "samples": len(search), "samples_of_the_check": len(check)},
    )
    if p_value >= SIGNIFICANT:
        return found
    tried = _Search(meter, search, forward, weights_of(gaps, forward), tell).strengths(gaps)
    return _checked(found, tried, meter, check, tell)


def _checked(
    found: Calibration, tried: Strengths, meter: Meter, samples: Sequence[int], tell: Callable[[str], None]
) -> Calibration:
    """What `found` becomes when `tried` are measured on samples that the search has not seen."""
    tell("new samples as they are")
    reverse, clean = meter.reverse(samples)
    tell("forward noise for the new samples")
    forward = meter.forward(samples, clean)
    tell("new samples, corrected")
    corrected, _ = meter.reverse(samples, [Correction(strengths=tried)])
    before, after = differences(reverse, forward), differences(corrected, forward)
    closed = share_closed(before, after, weights_of(before, forward))
    confirmed = not tried.is_off and closed[0] > 0
    return replace(
        found,
        verdict=CLOSES if confirmed else UNCONFIRMED,
        strengths=tried if confirmed else None,
        tried=tried,
        before=summary(before, reverse, forward),
        after=summary(after, corrected, forward),
        closed=closed,
    )


def passes(levels: int) -> int:
    """The most passes over its samples that `calibrate` makes with so many wavelet levels."""
    return 2 + (levels + 1) * (len(SCHEDULES) + SECANTS) + 3


def closed_form(gap: Array, slope: Array, weights: Array) -> tuple[float, float]:
    """The strength that leaves the least weighted squared gap, if `gap` grows by `slope` per unit of it, and what it
    leaves: -sum(w g s) / sum(w s²). Arrays of one shape. 0 where the strength moves nothing.
    """
    steepness = float((weights * slope**2).sum())
    strength = -float((weights * gap * slope).sum()) / steepness if steepness > 0 else 0.0
    return strength, float((weights * (gap + strength * slope) ** 2).sum())


def sign_flip_test(gaps: Array, flips: int = FLIPS) -> float:
    """The chance p of differences (K, ...) as large as these if their mean were 0. Deterministic; at least 1 /
    (flips + 1).
    """
    flat = gaps.reshape(len(gaps), -1)
    scale = np.sqrt((flat**2).mean(axis=0))  # the same whatever the signs
    flat = flat[:, scale > 0] / scale[scale > 0]
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(flips, len(flat)))
    measured = float((flat.sum(axis=0) ** 2).sum())
    by_chance = ((signs @ flat) ** 2).sum(axis=1)
    return float((1 + np.count_nonzero(by_chance >= measured * (1 - 1e-12))) / (flips + 1))


def share_closed(before: Array, after: Array, weights: Array, resamples: int = 2000) -> tuple[float, float, float]:
    """How much smaller the weighted squared gap is after than before, as a share of before: the ends of a 95 %
    bootstrap interval and, between them, the value. Samples are drawn again with replacement, the same on both sides.

    Both sides hold about the same squared error of measurement, which is taken off below the line.
    """
    count = len(before)
    chance = float((weights * before.var(axis=0, ddof=1) / count).sum())

    def share(first: Array, second: Array) -> float:
        large, small = (float((weights * side**2).sum()) for side in (first, second))
        return (large - small) / max(large - chance, 1e-3 * large, 1e-300)

    random = np.random.default_rng(0)
    value = share(before.mean(axis=0), after.mean(axis=0))
    shares = []
    for _ in range(resamples):
        drawn = random.integers(count, size=count)
        shares.append(share(before[drawn].mean(axis=0), after[drawn].mean(axis=0)))
    low, high = np.quantile(shares, [0.025, 0.975])
    return min(float(low), value), value, max(float(high), value)


def weights_of(gaps: Array, forward: Energies) -> Array:
    """How much each step's and band's gap counts (T, bands): alike as shares of the energy, less where it is not well
    known.

    One over the sum of the squared standard error and the mean square of the gap itself. The error alone would let the
    first steps decide, where the gap is known a hundred times better than it is large, and no strength makes all of
    the gap vanish (the weights of a random-effects model: DerSimonian and Laird 1986).
    """
    mean, energy = gaps.mean(axis=0), forward.values.mean(axis=0)
    error = gaps.std(axis=0, ddof=1) / np.sqrt(len(gaps))
    square = max(float(((mean**2 - error**2) / energy**2).mean()), _SMALLEST**2)
    weights: Array = 1 / (error**2 + square * energy**2)
    return weights


@dataclass(frozen=True, eq=False)
class _Search:
    """The search on one set of samples, against one forward side."""

    meter: Meter
    samples: Sequence[int]
    forward: Energies
    weights: Array  # (T, bands)
    tell: Callable[[str], None]

    def strengths(self, start: Array) -> Strengths:
        """What leaves the least gap, band after band; `start` are the gaps (K, T, bands) with no correction."""
        bands = self.meter.levels + 1
        found = Strengths((0.0,) * bands, ("constant",) * bands, self.meter.wavelet, self.meter.levels)  # type: ignore[arg-type]
        gap = start.mean(axis=0)
        for band in range(bands):
            name = "approximation" if band == 0 else f"details, level {band} of {self.meter.levels}"
            found, gap = self._band(found, gap, band, name)
        return found

    def _band(self, fixed: Strengths, gap: Array, band: int, name: str) -> tuple[Strengths, Array]:
        """The best strength and schedule of one band beside those that are fixed, and the gap they leave.

        What is fixed stays as it is if no strength was measured to leave less.
        """
        steps = self.forward.steps[-1] + 1
        candidates = []
        for schedule in SCHEDULES:
            self.tell(f"{name}: how the gap answers to '{schedule}'")
            slope = (self._gap(with_band(fixed, band, PROBE / steps, schedule)) - gap) / (PROBE / steps)
            strength, remains = closed_form(gap, slope, self.weights)
            candidates.append((remains, schedule, strength))
        _, schedule, strength = min(candidates)
        best = (self._left(gap), fixed, gap)
        for _ in range(SECANTS):
            strength = min(max(strength, -REACH / steps), REACH / steps)
            if strength == 0:
                break
            self.tell(f"{name}: trying {strength:+.4f}, '{schedule}'")
            tried = with_band(fixed, band, strength, schedule)
            there = self._gap(tried)
            best = min(best, (self._left(there), tried, there), key=lambda some: some[0])
            # the slope over the whole way tells whether the small probe saw straight ahead
            better, _ = closed_form(gap, (there - gap) / strength, self.weights)
            if abs(better - strength) < 0.2 * abs(strength) or abs(strength) == REACH / steps:
                break
            strength = better
        return best[1], best[2]

    def _gap(self, strengths: Strengths) -> Array:
        run, _ = self.meter.reverse(self.samples, [Correction(strengths=strengths)])
        gap: Array = differences(run, self.forward).mean(axis=0)
        return gap

    def _left(self, gap: Array) -> float:
        return float((self.weights * gap**2).sum())


def with_band(strengths: Strengths, band: int, value: float, schedule: str) -> Strengths:
    """These strengths with those of one band replaced."""
    values, schedules = list(strengths.values), list(strengths.schedules)
    values[band], schedules[band] = value, Schedule(schedule)
    return replace(strengths, values=tuple(values), schedules=tuple(schedules))
