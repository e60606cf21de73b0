"""What a branch of a run changes, as plain values: everything that leads from one recorded run to another.

Knows no store, no queue and no page; `viewer.branching` paints what is described here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.errors import InvalidRequest
from studio.requests import TextToImage

Pixels = NDArray[np.uint8]
Mask = NDArray[np.float32]  # (H, W) in [0, 1]; 1 is where something happens

MODES = ("content", "energy")
LABEL_LIMIT = 80  # characters


@dataclass(frozen=True, eq=False)
class Edit:
    """A clean estimate as a person has changed it: (H, W, 3), over the whole picture or where `mask` is 1.

    `look` says which pixels they were given to paint on.
    """

    picture: Pixels
    mask: Mask | None = None
    look: str = "full"


@dataclass(frozen=True)
class Lock:
    """Wavelet bands of the latent's clean estimate that follow the recorded run.

    `content` keeps what is in them, `energy` only how much. It lets go where the noise level falls below `release`.
    Raises InvalidRequest for values that cannot be.
    """

    bands: tuple[int, ...]
    mode: str = "content"
    wavelet: str = "db2"
    levels: int = 4
    release: float = 0.0

    def __post_init__(self) -> None:
        _check_bands(self.bands, self.levels, "lock")
        if self.mode not in MODES:
            raise InvalidRequest(f"Bands are kept by {' or '.join(MODES)}, not by {str(self.mode)[:40]!r}.", "lock")
        if not 0 <= self.release <= 1:
            raise InvalidRequest(f"A lock lets go at a noise level from 0 to 1, not {self.release:g}.", "lock")


@dataclass(frozen=True)
class Mix:
    """Wavelet bands of the latent's clean estimate that are taken from another run. Raises InvalidRequest."""

    run: str
    bands: tuple[int, ...]
    wavelet: str = "db2"
    levels: int = 4

    def __post_init__(self) -> None:
        _check_bands(self.bands, self.levels, "mix")


@dataclass(frozen=True, eq=False)
class Branch:
    """A run that shares the steps of `parent` before step `at`, counted from 0, and goes its own way from there."""

    parent: str
    at: int
    request: TextToImage  # whole: the parent's with what changes
    label: str
    mask: Mask | None = None  # where the request's correction acts
    edit: Edit | None = None
    noise_seed: int | None = None  # fresh noise at step `at`; None keeps the run's own
    lock: Lock | None = None
    mix: Mix | None = None
    within: Mask | None = None  # where anything may change at all: elsewhere the parent's picture is held

    @property
    def steps_in(self) -> bool:
        """Whether it changes the sample itself, and not only what is asked for from there on."""
        put_in = (self.edit, self.noise_seed, self.lock, self.mix, self.within)
        return any(value is not None for value in put_in)

    def goes_elsewhere(self, before: TextToImage) -> bool:
        """Whether it goes on with another solver or number of steps than those of `before`."""
        return (self.request.solver, self.request.num_inference_steps) != (before.solver, before.num_inference_steps)

    def note(self) -> dict[str, Any]:
        """What a picture says about having come this way."""
        note: dict[str, Any] = {"parent": self.parent, "from": self.at}
        if self.edit is not None:
            note["edited"] = True
        if self.mask is not None:
            note["masked"] = True
        if self.within is not None:
            note["within"] = True
        if self.noise_seed is not None:
            note["noise_seed"] = self.noise_seed
        for name in ("lock", "mix"):
            if (value := getattr(self, name)) is not None:
                note[name] = {key: list(v) if isinstance(v, tuple) else v for key, v in vars(value).items()}
        return note


def label_of(branch: Branch, before: TextToImage, bands: Sequence[str]) -> str:
    """What a branch is called unless a person names it: the first thing that it changes, and from where."""
    request = branch.request
    if branch.edit is not None:
        what = "Painted over"
    elif branch.mix is not None:
        what = f"{_names(branch.mix.bands, bands)} of another run"
    elif branch.lock is not None:
        what = f"{_names(branch.lock.bands, bands)} kept"
    elif request.prompt != before.prompt or request.negative_prompt != before.negative_prompt:
        what = "Other words"
    elif request.correction != before.correction:
        what = "Other strengths" if request.correction is not None else "No correction"
    elif request.guidance_scale != before.guidance_scale:
        what = f"Guidance {request.guidance_scale:g}"
    elif request.solver != before.solver:
        what = request.solver
    elif request.num_inference_steps != before.num_inference_steps:
        what = f"{request.num_inference_steps} steps"
    elif branch.noise_seed is not None:
        what = "Other noise"
    else:
        what = "Again"
    return what if branch.at == 0 else f"{what} from step {branch.at + 1}"


def _names(chosen: Sequence[int], bands: Sequence[str]) -> str:
    names = [bands[b].lower() for b in sorted(chosen) if b < len(bands)]
    text = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return text[0].upper() + text[1:]


def _check_bands(bands: tuple[int, ...], levels: int, field: str) -> None:
    whole = all(isinstance(band, int) and not isinstance(band, bool) for band in (*bands, levels))
    if not whole or not 1 <= levels <= 5:
        raise InvalidRequest(f"Wavelet levels run from 1 to 5, and bands are whole numbers, not {bands!r:.60}.", field)
    if not bands or len(set(bands)) != len(bands) or not all(0 <= band <= levels for band in bands):
        raise InvalidRequest(f"Name one or more bands from 0 to {levels}, each once, not {list(bands)!r:.60}.", field)
