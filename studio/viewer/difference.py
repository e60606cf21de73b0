"""What one picture has that another has not: amplified, and band by band. Two pictures of one size; knows no run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from studio.errors import StudioError
from studio.viewer.numbers import Band, bands_of, foremost

WAVELET, LEVELS = "db2", 4
BRIGHT = 99.5  # percentile of the differences that is drawn at full strength
MOST_GAIN = 32.0
NOTHING = 0.02  # of 255 on average: below it no eye sees a difference

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Difference:
    """`first` less `second`. Shares are percentages of the difference's energy, coarse to fine."""

    bands: tuple[Band, ...]
    shares: tuple[float, ...]
    mean: float  # absolute, of 255
    changed: float  # percent of the pixels that differ by more than 8 of 255 somewhere
    gain: float  # how many times stronger `picture` is drawn
    picture: Pixels  # (H, W, 3): mid-grey where nothing differs

    def sentence(self, word: str) -> list[tuple[str, bool]]:
        """What a word did, as pieces (text, whether it is emphasised). `word` is shown as it stands."""
        if self.mean < NOTHING:
            return [(f"“{word}” changed nothing that can be seen.", True)]
        percent, what = foremost(self.shares, [band.label for band in self.bands])
        return [
            (f"“{word}” changed {_share(self.changed)} of the picture. ", False),
            (f"{percent} %", True),
            (f" of that is {what}.", False),
        ]


def difference(first: Pixels, second: Pixels) -> Difference:
    """The difference of two pictures (H, W, 3). Raises StudioError for pictures of different sizes."""
    from studio.diffusion.wavelets import band_energies, shares

    if first.shape != second.shape:
        raise StudioError("These two pictures have different sizes, so they cannot be compared.")
    apart = first.astype(np.int16) - second.astype(np.int16)
    size = np.abs(apart)
    bright = max(float(np.percentile(size, BRIGHT)), 1.0)
    gain = float(np.clip(round(127 / bright, 1), 1.0, MOST_GAIN))
    drawn = np.clip(np.rint(128 + gain * apart), 0, 255).astype(np.uint8)
    plane = np.moveaxis(apart.astype(np.float64), -1, 0)
    return Difference(
        bands=bands_of(LEVELS),
        shares=tuple(shares(band_energies(plane, WAVELET, LEVELS))),
        mean=float(size.mean()),
        changed=100 * float((size.max(axis=-1) > 8).mean()),
        gain=gain,
        picture=drawn,
    )


def _share(percent: float) -> str:
    return "under 1 %" if percent < 1 else f"{percent:.0f} %"
