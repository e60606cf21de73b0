"""What was measured of a model beforehand: its SNR-t gap beside a run's curves, and strengths to start from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from studio.diffusion.calibration import Calibration
from studio.diffusion.strengths import AFTER, BEFORE, KINDS, Strengths
from studio.errors import StudioError
from studio.models import presets
from studio.requests import TextToImage
from studio.viewer.numbers import bands_of

RANGE = (-0.1, 0.1)  # strengths that the page offers; all that are useful lie in it
UNIT = "root mean square of the implied noise, 1 is white noise"
_VARIANTS = {AFTER: "After each step", BEFORE: "Before each step, on the clean estimate"}


def gap_beside(request: TextToImage, noise_levels: Sequence[float], data: Path | None) -> dict[str, Any] | None:
    """The gap of the request's model, solver and number of steps, placed along a run's steps; None if not measured.

    `noise_levels` are those of the run's steps, falling. Where the calibration had another number of steps, its points
    lie between the run's.
    """
    try:
        found = presets.find(request.model, request.solver, request.num_inference_steps, data)
    except StudioError:  # the model is not on this computer any more
        return None
    if found is None:
        return None
    before, after = found.before, found.after
    # np.interp wants rising places, and noise falls
    places = np.interp(
        before.noise_levels[::-1], np.array(noise_levels)[::-1], np.arange(len(noise_levels), dtype=float)[::-1]
    )[::-1]
    corrected = after is not None and after.steps == before.steps
    return {
        "wavelet": found.wavelet,
        "levels": found.levels,
        "bands": [band.label for band in bands_of(found.levels)],
        "noise_level": list(before.noise_levels),
        "at": [float(place) for place in places],
        "mean": [list(row) for row in before.mean],
        "error": [list(row) for row in before.error],
        "mean_corrected": [list(row) for row in after.mean] if after is not None and corrected else None,
        "error_corrected": [list(row) for row in after.error] if after is not None and corrected else None,
        "samples": before.samples,
        "unit": UNIT,
        "verdict": found.verdict,
        "closed": found.closed[1] if found.closed is not None else None,  # share of the squared gap, on new samples
    }


def strengths_to_start_from(model: str, data: Path | None) -> dict[str, Any]:
    """What the page's strength curves can be set to for a model, and the calibrated settings that there are."""
    try:
        known = presets.known(model, data)
    except StudioError:
        known = ()
    return {
        "off": Strengths().to_dict(),
        "variants": [{"id": variant, "label": label} for variant, label in _VARIANTS.items()],
        "schedules": list(KINDS),
        "range": list(RANGE),
        "presets": [_preset(number, calibration) for number, calibration in enumerate(known)],
        "calibrated": bool(known),
    }


def _preset(number: int, calibration: Calibration) -> dict[str, Any]:
    strengths = calibration.strengths
    return {
        "id": f"calibrated-{number}",
        "label": f"Calibrated for {calibration.solver}, {calibration.num_inference_steps} steps",
        "note": calibration.sentence(),
        "strengths": strengths.to_dict() if strengths is not None else None,
    }
