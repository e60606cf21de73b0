"""The numbers of a run: energies per wavelet band, what each step changed, when bands settle, and words for it.

Everything here is computed from clean estimates (N, C, H, W), one per step, and from nothing else. Bands run coarse to
fine. Knows no file, no model and no page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from studio.diffusion.shares import shares
from studio.errors import StudioError
from studio.project.runs import BandNumbers

WAVELETS = ("haar", "db2", "db4", "sym4", "sym8", "coif2")  # orthogonal: energies of bands add up
MAX_LEVELS = 5
SETTLED = 0.05  # of the final energy
FIVE_NAMES = ("Composition", "Forms", "Details", "Texture", "Grain")
SCALE = 4.0  # root mean squares that lie between mid-grey and white
ONE_BAND = 60.0  # percent; above it one band is named, otherwise the two largest

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Band:
    """A wavelet band as a person meets it. `low` and `high` are pixels; the coarsest has no `high`."""

    index: int
    label: str
    low: int
    high: int | None

    @property
    def pixels(self) -> str:
        return f"over {self.low} px" if self.high is None else f"{self.low}–{self.high} px"


def bands_of(levels: int) -> tuple[Band, ...]:
    """The levels + 1 bands, coarse to fine. Five have names; of others the ends keep theirs."""
    last = levels
    found = [Band(0, FIVE_NAMES[0], 2**levels, None)]
    for index in range(1, levels + 1):
        label = FIVE_NAMES[index] if levels == 4 else FIVE_NAMES[-1] if index == last else f"Band {index + 1}"
        found.append(Band(index, label, 2 ** (levels - index), 2 ** (levels - index + 1)))
    return tuple(found)


def measure(planes: Iterable[Plane], wavelet: str, levels: int) -> BandNumbers:
    """Energy and change of every band, over the clean estimates (C, H, W) of a run in order.

    Raises StudioError where they are beyond all numbers: strengths beyond reason can drive latents there.
    """
    from studio.diffusion.wavelets import band_energies

    energy, change = [], []
    before: Plane | None = None
    for plane in planes:
        with np.errstate(over="ignore", invalid="ignore"):
            here = band_energies(plane, wavelet, levels)
            moved = here if before is None else band_energies(plane - before, wavelet, levels)
        if not (np.isfinite(here).all() and np.isfinite(moved).all()):
            raise StudioError("The steps of this run hold values that are too large to be measured.")
        energy.append(tuple(float(v) for v in here))
        change.append(tuple(float(v) for v in moved))
        before = plane
    return BandNumbers(tuple(energy), tuple(change))


def moved(numbers: BandNumbers) -> list[list[float]]:
    """Shares of the bands in what each step changed, in percent; every row adds up to 100.0."""
    return [shares(np.array(row)) for row in numbers.change]


def share(numbers: BandNumbers) -> list[list[float]]:
    """Shares of the bands in the energy of each step's estimate, in percent; every row adds up to 100.0."""
    return [shares(np.array(row)) for row in numbers.energy]


def arrived(numbers: BandNumbers) -> list[list[float | None]]:
    """Energy of each band in percent of its final one; None for a band that ends without energy."""
    final = numbers.energy[-1]
    return [[100 * v / f if f > 0 else None for v, f in zip(row, final, strict=True)] for row in numbers.energy]


def settled_at(numbers: BandNumbers) -> list[int]:
    """The first step of each band from which on its energy stays within 5 % of the final one."""
    energy = np.array(numbers.energy)
    near = np.abs(energy - energy[-1]) <= SETTLED * energy[-1]
    found = []
    for column in near.T:
        away = np.flatnonzero(~column)
        found.append(int(away[-1]) + 1 if len(away) else 0)
    return found


def scales(rows: Sequence[Sequence[float]], samples: int) -> list[float]:
    """What a band's white stands for, common over the run: 4 times the largest root mean square of any step.

    `rows` are energies per step and band, `samples` the values in one plane.
    """
    return [float(v) for v in SCALE * np.sqrt(np.array(rows).max(axis=0) / max(samples, 1))]


def added_scales(rows: Sequence[Sequence[float]], samples: int) -> list[float]:
    """The same for what the steps changed: 4 times the root mean square of the step in the middle of their order.

    The first step changes the whole picture and those after it fifty times what the last ones do: measured on them,
    every later step would be plain grey. So the first step is left out, and what goes beyond the scale is clipped.
    """
    energy = np.array(rows[1:] if len(rows) > 1 else rows)
    return [float(v) for v in SCALE * np.sqrt(np.median(energy, axis=0) / max(samples, 1))]


def whole_added_scale(change: Sequence[Sequence[float]], samples: int) -> float:
    """The same for all bands of a change together."""
    return added_scales([[sum(row)] for row in change], samples)[0]


def sentence(
    number: int, settled: Sequence[bool], shares_moved: Sequence[float], names: Sequence[str]
) -> list[tuple[str, bool]]:
    """One plain sentence on a step as pieces (text, whether it is emphasised), computed from its numbers."""
    done = [name for name, is_settled in zip(names, settled, strict=True) if is_settled]
    if not done:
        head = "Nothing has settled yet."
    elif len(done) == len(names):
        head = "Every band has settled."
    else:
        listed = _listed([name.lower() for name in done])
        several = len(done) > 1 or listed.endswith("s")  # forms and details are more than one
        head = f"{listed[0].upper()}{listed[1:]} {'have' if several else 'has'} settled."
    pieces = [(f"Step {number}. ", False), (head, True)]
    if not any(shares_moved):
        return [*pieces, (" This step moved nothing.", False)]
    percent, what = foremost(shares_moved, names)
    return [*pieces, (" ", False), (f"{percent} %", True), (f" of what this step moved is {what}.", False)]


def foremost(percentages: Sequence[float], names: Sequence[str]) -> tuple[int, str]:
    """What the band that holds most has, and its name; the two largest, coarse first, where none holds over 60 %."""
    order = sorted(range(len(names)), key=lambda band: -percentages[band])
    named = order[:1] if percentages[order[0]] > ONE_BAND else sorted(order[:2])
    return round(sum(percentages[band] for band in named)), _listed([names[band].lower() for band in named])


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def band_planes(plane: Plane, wavelet: str, levels: int, only: int | None = None) -> list[Plane]:
    """`plane` (..., H, W) split into levels + 1 planes of the same size, coarse to fine, that add up to it.

    Each keeps one band of the wavelet transform (periodic boundaries) and drops the others. With `only`, that one band
    alone is returned. Where the plane is too small for so many levels, the coarse detail planes are 0, as in
    `wavelets.band_energies`.
    """
    import pywt

    height, width = plane.shape[-2:]
    feasible = min(levels, max(int(np.log2(max(min(height, width), 1))), 0))
    lows, details, shapes = [plane], [], []
    for _ in range(feasible):
        low, detail = pywt.dwt2(lows[-1], wavelet, mode="periodization")
        shapes.append(lows[-1].shape[-2:])
        lows.append(low)
        details.append(detail)

    def risen(low: Plane | None, detail: object, depth: int) -> Plane:
        """Coefficients of level `depth` alone, back at full size."""
        for level in range(depth, 0, -1):
            rows, columns = shapes[level - 1]
            low = pywt.idwt2((low, detail if level == depth else (None, None, None)), wavelet, mode="periodization")
            low = low[..., :rows, :columns]
        assert low is not None
        return low

    empty = levels - feasible
    found: list[Plane] = []
    for band in range(levels + 1) if only is None else (only,):
        if band == 0:
            found.append(risen(lows[-1], (None, None, None), feasible) if feasible else plane)
        elif band <= empty:
            found.append(np.zeros_like(plane))
        else:
            depth = levels - band + 1
            found.append(risen(None, details[depth - 1], depth))
    return found
