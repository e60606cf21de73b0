"""Wavelet bands of pictures and latents: from coarse composition to fine texture.

Filters come from PyWavelets. Bands are ordered coarse to fine, as `pywt.wavedec2` returns them: the approximation is
band 0, the details are bands 1 to `levels`. Everything works on tensors of any device, over their last `axes` axes
(2 for planes, 1 for lines), with any leading axes; half precision is computed in float32.

What a plane is beyond its border matters to every filter longer than Haar's. Two answers are offered:

- `periodization`: the plane repeats. There are as many coefficients as cells and an orthogonal wavelet keeps energy:
  the energies of all bands add up to the energy of the plane, if its sides can be halved that often (an odd side is
  halved as if its last cell stood there twice). For whatever is measured, shown, exchanged or held: `split_bands`,
  `band_energy`.
- `zero`: nothing is there. A few more coefficients, which are those of the plane in an endless emptiness, so the bands
  add up to the plane again. For the correction, whose authors publish it so: `add_bands`, `add_blocks`, `projections`.

The filters are applied tap by tap, not as a convolution: the convolutions of graphics cards round to ten bits unless
told otherwise, and may add up in another order on another day, while a run that is resumed should not differ by a bit.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pywt
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from numpy.typing import NDArray
from torch import Tensor

from studio.diffusion.shares import shares as shares  # what is asked of energies first
from studio.diffusion.strengths import check_levels, check_wavelet
from studio.errors import StudioError

PERIODIZATION = "periodization"
ZERO = "zero"
BOUNDARIES = (PERIODIZATION, ZERO)


@dataclass(frozen=True, eq=False)
class Bands:
    """The bands of a plane, as coefficients, and what it takes to put them together again.

    `low` is the approximation (..., h, w). `details` has one tensor (3, ..., h, w) per level, coarse to fine, with the
    horizontal, vertical and diagonal details; of a line it is (1, ..., l). Coefficients of half-precision planes are
    float32.
    """

    low: Tensor
    details: tuple[Tensor, ...]
    wavelet: str
    axes: int
    boundary: str
    sizes: tuple[tuple[int, ...], ...]  # of the plane before each halving, fine to coarse
    dtype: torch.dtype  # of the plane

    @property
    def levels(self) -> int:
        return len(self.details)

    def __len__(self) -> int:
        return len(self.details) + 1

    def __getitem__(self, band: int) -> Tensor:
        """Band 0 is `low`, band 1 the coarsest details."""
        return (self.low, *self.details)[band]

    def with_band(self, band: int, tensor: Tensor) -> Bands:
        """The same bands, but for one."""
        self._check(band)
        if tensor.shape != self[band].shape:
            raise StudioError(
                f"Band {band} is shaped {tuple(self[band].shape)}, but its replacement is {tuple(tensor.shape)}."
            )
        tensor = tensor.to(self[band])
        if band == 0:
            return replace(self, low=tensor)
        return replace(self, details=(*self.details[: band - 1], tensor, *self.details[band:]))

    def only(self, *bands: int) -> Bands:
        """The same bands, all others being 0."""
        for band in bands:
            self._check(band)
        kept = [self[k] if k in bands else torch.zeros_like(self[k]) for k in range(len(self))]
        return replace(self, low=kept[0], details=tuple(kept[1:]))

    def scaled(self, weights: Sequence[float]) -> Bands:
        """Every band times its weight, the approximation's first."""
        if len(weights) != len(self):
            raise StudioError(f"There are {len(self)} bands, but {len(weights)} weights.")
        details = tuple(detail * weight for detail, weight in zip(self.details, weights[1:], strict=True))
        return replace(self, low=self.low * weights[0], details=details)

    def _check(self, band: int) -> None:
        if isinstance(band, bool) or not isinstance(band, int) or not 0 <= band < len(self):
            raise StudioError(
                f"There is no band {band!r}: 0 is the approximation, 1 to {self.levels} are the details, finest last."
            )


def split_bands(
    plane: Tensor, wavelet: str = "haar", levels: int = 1, axes: int = 2, boundary: str = PERIODIZATION
) -> Bands:
    """The bands of `plane` (..., H, W), or (..., L) with axes=1, of any floating dtype.

    Equal to `pywt.wavedec2(plane, wavelet, boundary, levels)`. Raises StudioError for an unknown or not orthogonal
    wavelet and for more levels than the plane can be halved.
    """
    check_plane(plane, wavelet, levels, axes)
    _check_boundary(boundary)
    low = _computable(plane)
    details: list[Tensor] = []
    sizes = []
    for _ in range(levels):
        sizes.append(tuple(low.shape[-axes:]))
        low, detail = _halved(low, wavelet, axes, boundary)
        details.append(detail)
    return Bands(low, tuple(reversed(details)), wavelet, axes, boundary, tuple(sizes), plane.dtype)


def merge_bands(bands: Bands) -> Tensor:
    """The plane with these bands, in the size and dtype of the one that was split."""
    plane = bands.low
    for detail, size in zip(bands.details, reversed(bands.sizes), strict=True):
        if bands.axes == 1:
            plane = _raised(plane, bands.wavelet, -1, size[-1], bands.boundary, detail[0])
            continue
        horizontal, vertical, diagonal = detail
        left = _raised(plane, bands.wavelet, -2, size[-2], bands.boundary, horizontal)
        right = _raised(vertical, bands.wavelet, -2, size[-2], bands.boundary, diagonal)
        plane = _raised(left, bands.wavelet, -1, size[-1], bands.boundary, right)
    return plane.to(bands.dtype)


def band_energy(plane: Tensor, wavelet: str = "haar", levels: int = 1, axes: int = 2) -> Tensor:
    """Sum of squares in every band of every plane: (..., levels + 1), the approximation first, then coarse to fine."""
    bands = split_bands(plane, wavelet, levels, axes)
    space = tuple(range(-axes, 0))
    details = [detail.square().sum(space).sum(0) for detail in bands.details]
    return torch.stack([bands.low.square().sum(space), *details], dim=-1)


def projections(
    plane: Tensor, wavelet: str = "haar", levels: int = 1, axes: int = 2, boundary: str = ZERO
) -> list[Tensor]:
    """`plane` with only one band kept, for every band, coarse to fine. Half precision comes back as float32."""
    check_plane(plane, wavelet, levels, axes)
    _check_boundary(boundary)
    finer = _computable(plane)
    ladder = _ladder(finer, wavelet, levels, axes, boundary)
    images = []
    for level in range(1, levels + 1):
        coarser = ladder[level]
        for below in reversed(range(level)):
            raised = torch.zeros_like(ladder[below])
            _add_raised(raised, coarser, wavelet, axes, boundary)
            coarser = raised
        images.append(finer - coarser)
        finer = coarser
    return [finer, *reversed(images)]


def add_bands(
    base: Tensor,
    plane: Tensor,
    weights: Sequence[float],
    wavelet: str = "haar",
    axes: int = 2,
    boundary: str = ZERO,
) -> Tensor:
    """base + sum_b weights[b] * P_b plane, where P_b keeps band b alone; weights are ordered coarse to fine.

    Details are never computed: what level j has kept of the plane, A_j, and what level j + 1 has, differ by the
    details between them, so that the sum is one of A_0 = plane, A_1, ... with the differences of the weights. Going
    down the approximations and up again is a quarter of a transform each way. `base` and `plane` have the same shape
    and a dtype of at least float32.
    """
    levels = len(weights) - 1
    check_plane(plane, wavelet, levels, axes)
    falling = list(reversed(weights))  # the finest details first
    factors = [falling[0], *(coarse - fine for fine, coarse in itertools.pairwise(falling))]
    deepest = max((level for level, factor in enumerate(factors) if factor), default=0)
    result = torch.add(base, plane, alpha=factors[0])
    if not deepest:
        return result
    ladder = _ladder(plane, wavelet, deepest, axes, boundary)
    raised = ladder[deepest] * factors[deepest]
    for level in reversed(range(1, deepest)):
        lower, raised = raised, ladder[level] * factors[level]
        _add_raised(raised, lower, wavelet, axes, boundary)
    _add_raised(result, raised, wavelet, axes, boundary)
    return result


def add_blocks(base: Tensor, plane: Tensor, low: float, high: float, axes: int = 2) -> Tensor:
    """`add_bands(base, plane, (low, high), "haar", axes)` in its closed form, in the memory of `plane`.

    The approximation of one Haar level is the mean of every block of 2 × 2 cells, repeated. Beyond an odd border there
    is nothing: a block that is cut there counts its missing cells as 0.
    """
    check_plane(plane, "haar", 1, axes)
    size = plane.shape
    missing = [cells for side in reversed(size[-axes:]) for cells in (0, side % 2)]
    whole = F.pad(plane, missing) if any(missing) else plane
    rows = whole if axes == 1 else whole[..., 0::2, :] + whole[..., 1::2, :]
    sums = rows[..., 0::2] + rows[..., 1::2]
    # large temporaries are what costs: the sum takes the plane's place, unless a gradient needs the plane
    result = torch.add(base, plane, alpha=high, out=None if plane.requires_grad or base.requires_grad else plane)
    factor = (low - high) / 2**axes
    if axes == 1:
        result[..., 0::2].add_(sums, alpha=factor)
        result[..., 1::2].add_(sums[..., : size[-1] // 2], alpha=factor)
        return result
    rows[..., 0::2] = sums
    rows[..., 1::2] = sums
    rows = rows[..., : size[-1]]
    result[..., 0::2, :].add_(rows, alpha=factor)
    result[..., 1::2, :].add_(rows[..., : size[-2] // 2, :], alpha=factor)
    return result


def check_plane(plane: Tensor, wavelet: str, levels: int, axes: int = 2) -> None:
    """Raises StudioError if `plane` cannot be split like that."""
    check_wavelet(wavelet)
    check_levels(levels)
    if axes not in (1, 2):
        raise StudioError(f"Bands are made of 1 or 2 axes, not {axes!r}.")
    if not plane.is_floating_point():
        raise StudioError(f"Bands are made of floating-point numbers, not of {plane.dtype}.")
    if plane.ndim < axes:
        raise StudioError(f"A tensor shaped {tuple(plane.shape)} has fewer than {axes} axes to make bands of.")
    size = tuple(plane.shape[-axes:])
    if min(size) < 2**levels:
        most = min(size).bit_length() - 1
        fitting = f"at most {most} can" if most else "it is too small for any"
        raise StudioError(
            f"{levels} wavelet level{'s' * (levels > 1)} cannot be made of {' × '.join(map(str, size))} latents: "
            f"{fitting}."
        )


def _check_boundary(boundary: str) -> None:
    if boundary not in BOUNDARIES:
        raise StudioError(f"{boundary!r} is no boundary. Choose {' or '.join(BOUNDARIES)}.")


def _computable(plane: Tensor) -> Tensor:
    return plane.to(torch.promote_types(plane.dtype, torch.float32))


# -- one level --------------------------------------------------------------------------------------------------------


def _halved(plane: Tensor, wavelet: str, axes: int, boundary: str) -> tuple[Tensor, Tensor]:
    """Approximation (..., h, w) and details (3, ..., h, w); or (..., l) and (1, ..., l)."""
    low, high = _taps(wavelet)
    columns = _phases(plane, len(low), -1, boundary)
    if axes == 1:
        return _filtered(columns, low, -1), _filtered(columns, high, -1).unsqueeze(0)
    left = _phases(_filtered(columns, low, -1), len(low), -2, boundary)
    right = _phases(_filtered(columns, high, -1), len(low), -2, boundary)
    details = [_filtered(phases, taps, -2) for phases, taps in ((left, high), (right, low), (right, high))]
    return _filtered(left, low, -2), torch.stack(details)


def _ladder(plane: Tensor, wavelet: str, levels: int, axes: int, boundary: str) -> list[Tensor]:
    """`plane`, and its approximations after 1 to `levels` halvings."""
    low, _ = _taps(wavelet)
    ladder = [plane]
    for _ in range(levels):
        halved = ladder[-1]
        for axis in range(-axes, 0):
            halved = _filtered(_phases(halved, len(low), axis, boundary), low, axis)
        ladder.append(halved)
    return ladder


def _add_raised(target: Tensor, low: Tensor, wavelet: str, axes: int, boundary: str) -> None:
    """Adds to `target`, in place, the plane of its size whose only band is the approximation `low`."""
    for axis in range(-axes, 0):
        low = _raised(low, wavelet, axis, target.shape[axis], boundary)
    target.add_(low)


@functools.cache
def _taps(wavelet: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The synthesis filters, low and high. The analysis filters of an orthogonal wavelet are these, reversed."""
    filters: Any = pywt.Wavelet(wavelet)
    return tuple(map(float, filters.rec_lo)), tuple(map(float, filters.rec_hi))


def _phases(plane: Tensor, taps: int, axis: int, boundary: str) -> tuple[Tensor, Tensor]:
    """The even and the odd cells along `axis`, continued beyond the border as far as a filter of `taps` reaches."""
    size = plane.shape[axis]
    if boundary == PERIODIZATION:
        even, odd = _around(size, taps, plane.device)
        return plane.index_select(axis, even), plane.index_select(axis, odd)
    wanted = (size + taps - 1) // 2 + taps // 2 - 1
    phases = []
    for first in (0, 1):
        phase = _every_second(plane, first, axis)
        before = taps // 2 - 1
        after = wanted - before - phase.shape[axis]
        phases.append(F.pad(phase, (before, after) if axis == -1 else (0, 0, before, after)))
    return phases[0], phases[1]


@functools.lru_cache(maxsize=256)
@torch.inference_mode(False)  # what is kept must serve any later call
def _around(size: int, taps: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where the even and the odd cells of a plane that repeats itself lie, from half a filter before its border on."""
    even_size = size + size % 2
    cells = np.arange(even_size + taps - 2) + 1 - taps // 2
    cells = np.minimum(cells % even_size, size - 1)  # an odd plane has its last cell twice
    return torch.tensor(cells[0::2], device=device), torch.tensor(cells[1::2], device=device)


def _filtered(phases: tuple[Tensor, Tensor], taps: tuple[float, ...], axis: int) -> Tensor:
    """Every second cell of the correlation with `taps`."""
    size = phases[0].shape[axis] - len(taps) // 2 + 1
    result: Tensor | None = None
    for place, tap in enumerate(taps):
        cells = phases[place % 2].narrow(axis, place // 2, size)
        result = cells * tap if result is None else result.add_(cells, alpha=tap)
    assert result is not None
    return result


def _raised(low: Tensor, wavelet: str, axis: int, size: int, boundary: str, high: Tensor | None = None) -> Tensor:
    """The plane of `size` cells along `axis` whose approximation and details along it are `low` and `high`."""
    low_taps, high_taps = _taps(wavelet)
    half = len(low_taps) // 2
    cells, skipped = size, 0
    if boundary == PERIODIZATION:
        # the filter's middle stands over the cell; where that is between two, one cell more is made and left out
        skipped = (half + 1) % 2
        cells = size + skipped
        around = _around_halved(low.shape[axis], (cells + 1) // 2 + half - 1, (half - 1 + skipped) // 2, low.device)
        low = low.index_select(axis, around)
        high = None if high is None else high.index_select(axis, around)
    pairs = (cells + 1) // 2
    phases = []
    for first in (0, 1):
        phase: Tensor | None = None
        for band, taps in ((low, low_taps), (high, high_taps)):
            if band is None:
                continue
            for place in range(half):
                part = band.narrow(axis, half - 1 - place, pairs)
                tap = taps[2 * place + first]
                phase = part * tap if phase is None else phase.add_(part, alpha=tap)
        assert phase is not None
        phases.append(phase)
    woven = torch.stack(phases, dim=axis)  # (..., pairs, 2) or (..., pairs, 2, W)
    return woven.flatten(axis - 1, axis).narrow(axis, skipped, size)


@functools.lru_cache(maxsize=256)
@torch.inference_mode(False)
def _around_halved(size: int, wanted: int, before: int, device: torch.device) -> Tensor:
    return torch.tensor((np.arange(wanted) - before) % size, device=device)


def _every_second(plane: Tensor, first: int, axis: int) -> Tensor:
    return plane[..., first::2] if axis == -1 else plane[..., first::2, :]


# -- ndarrays: what the ribbon of the page shows ----------------------------------------------------------------------


def band_energies(plane: NDArray[np.floating], wavelet: str = "db2", levels: int = 4) -> NDArray[np.float64]:
    """Sum of squares in every band of `plane` (..., H, W): approximation first, then details coarse to fine.

    Returns (levels + 1,). Fewer levels are used where the plane is too small, the missing coarse detail bands are 0.
    """
    feasible = min(levels, max(int(np.log2(max(min(plane.shape[-2:]), 1))), 0))
    low = np.asarray(plane)
    details = []
    for _ in range(feasible):  # not wavedec2, which warns where a filter is longer than the plane
        low, level = pywt.dwt2(low, wavelet, mode="periodization")
        details.append(float(sum(np.square(band).sum() for band in level)))
    return np.array([float(np.square(low).sum()), *[0.0] * (levels - feasible), *reversed(details)])
