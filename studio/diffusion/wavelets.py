"""Wavelet bands of pictures and latents: from coarse composition to fine texture.

Filters come from PyWavelets. Bands are ordered coarse to fine, as `pywt.wavedec2` returns them; boundaries are
periodic, so that an orthogonal wavelet keeps energy: the energies of all bands add up to the energy of the picture, if
its sides can be halved that often.
"""

from __future__ import annotations

import numpy as np
import pywt
from numpy.typing import NDArray


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


def shares(energies: NDArray[np.floating]) -> list[float]:
    """Percentages with one decimal that add up to exactly 100.0 (largest remainder); all 0 if there is no energy."""
    total = float(energies.sum())
    if not np.isfinite(total) or total <= 0:
        return [0.0] * len(energies)
    tenths = np.asarray(energies, dtype=np.float64) / total * 1000
    whole = np.floor(tenths)
    missing = round(1000 - float(whole.sum()))
    for index in np.argsort(whole - tenths, kind="stable")[:missing]:
        whole[index] += 1
    return [float(t) / 10 for t in whole]
