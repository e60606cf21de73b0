"""Shares of a whole in percent. torch is not loaded: a run is told of before a model has woken."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
