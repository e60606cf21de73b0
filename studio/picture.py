"""A finished picture: its pixels with everything that led to them, and the PNG that says so."""

from __future__ import annotations

import functools
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import studio
from studio.imaging.png import MAX_FILE, REQUEST_KEY, write_png
from studio.project.carried_branch import CarriedBranch
from studio.project.carried_fill import KEPT_BACK, LEFT_OUT, TAKING_AWAY, Region
from studio.requests import TextToImage

if TYPE_CHECKING:
    from studio.diffusion.recording import Recording

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Picture:
    """A finished picture (H, W, 3) with everything that led to it."""

    pixels: Pixels
    request: TextToImage
    seconds: float
    stopped_at: int | None = None  # the step after which a person stopped it; None if it ran to its end
    ribbon: tuple[tuple[float, ...], ...] = ()  # share of each wavelet band in what a step moved, for every step
    made_with: dict[str, str] = field(default_factory=dict)  # versions and the digest of the weights
    recording: Recording | None = None  # of the steps that this call made
    branch: Mapping[str, Any] | None = None  # where it left another run, and how: what the request alone does not say
    going: CarriedBranch | None = None  # how it goes on from there
    fill: Mapping[str, Any] | None = None  # which region of which picture it fills, and how
    region: Region | None = None  # that region

    def note(self) -> dict[str, Any]:
        """What the PNG says of itself, as JSON has it."""
        note: dict[str, Any] = {
            "format": 1,
            "request": self.request.to_dict(),
            "made_with": self.made_with,
        }
        if self.stopped_at is not None:
            note["stopped_at"] = self.stopped_at
        for name, value in (("branch", self.branch), ("fill", self.fill)):
            if value is not None:
                note[name] = dict(value)
        return note

    def to_png(self, pixels: Pixels | None = None) -> bytes:
        """Lossless PNG that carries the request, so that the same picture can be made again; of a fill, also the
        region that it was made of, and of a branch how it goes on, unless the file would become too large or something
        was to be taken away there.

        `pixels` (H, W, 3) or (H, W, 4) stand in for the picture's own: a larger one that it was put into.
        """
        whole = self.pixels if pixels is None else pixels
        region = self.region.chunks() if self.region is not None and not self._takes_away else {}
        going = self.going.chunks() if self.going is not None and not self._takes_away else {}
        png = self._written(whole, region, going)
        if going and len(png) > MAX_FILE:  # it could not be read any more
            png = self._written(whole, region, {})
        if region and len(png) > MAX_FILE:
            png = self._written(whole, {}, {})
        return png

    @property
    def _takes_away(self) -> bool:
        return self.fill is not None and self.fill.get("intent") in TAKING_AWAY

    def _written(self, pixels: Pixels, region: Mapping[bytes, bytes], going: Mapping[bytes, bytes]) -> bytes:
        note = self.note()
        left_out = KEPT_BACK if self._takes_away else LEFT_OUT
        if self.region is not None:
            note["carried"] = self.region.digests() if region else left_out
        if self.going is not None:
            note["going_on"] = left_out if self._takes_away else self.going.note(carried=bool(going))
        text = {
            REQUEST_KEY: json.dumps(note, sort_keys=True, ensure_ascii=False),
            "Software": f"wavebrush {studio.__version__}",
        }
        return write_png(pixels, text, {**region, **going})


def made_with(digest: str, surroundings: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a picture's bytes depend on beside its request: the weights' digest, the software, and where it ran."""
    return {**_software(), **(surroundings or {}), "weights": digest}


@functools.cache
def software_of_fills() -> dict[str, str]:
    """What the bytes of a fill depend on beside: masks, sizes and colours go through it."""
    return {"opencv": version("opencv-python-headless")}


@functools.cache
def _software() -> dict[str, str]:
    return {
        "wavebrush": studio.__version__,
        "numpy": version("numpy"),
        "torch": version("torch"),
        "diffusers": version("diffusers"),
        "transformers": version("transformers"),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
