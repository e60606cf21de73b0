"""Going on with a recorded run from the step where one of its moments was taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from studio.diffusion.hooks import Hook
from studio.diffusion.recording import Moment, RunFacts
from studio.diffusion.steps import Step
from studio.diffusion.strengths import Schedule


@dataclass(frozen=True, eq=False)
class ResumePoint:
    """A place to go on from: `with observe(pipe, resume=run.at(7)): pipe(...)` runs steps 7 and later only.

    With nothing changed, the pipeline called with the same arguments gives the very bits of the uninterrupted run.
    """

    index: int  # the step that is made first
    moment: Moment
    facts: RunFacts
    step: Step  # that step, as it went in the recorded run
    hooks: tuple[Hook, ...] = ()  # that the point brings with it (locks): after the person's, before firm ones
    another_way: bool = False  # whether to leave the recorded solver and number of steps behind

    def edited(self, clean_new: Tensor, clean_shown: Tensor | None = None, mask: Tensor | None = None) -> ResumePoint:
        """The point with another clean estimate and the same implied noise: see `edits.edited`."""
        from studio.diffusion import edits

        return edits.edited(self, clean_new, clean_shown, mask)

    def with_band(
        self, level: int | Sequence[int], clean: Tensor, wavelet: str = "haar", levels: int = 1
    ) -> ResumePoint:
        """The point with wavelet bands of its clean estimate taken from another one: see `edits.with_band`."""
        from studio.diffusion import edits

        return edits.with_band(self, level, clean, wavelet, levels)

    def renoised(self, noise: Tensor) -> ResumePoint:
        """The point with the same clean estimate and other noise, shaped as the sample: see `edits.renoised`."""
        from studio.diffusion import edits

        return edits.renoised(self, noise)

    def lock(
        self,
        bands: Sequence[int],
        reference: Tensor | Sequence[Step] | None = None,
        wavelet: str = "haar",
        levels: int = 1,
        release: float | Schedule = 0.0,
        mode: str = "content",
    ) -> ResumePoint:
        """The point with bands of its clean estimate held for the rest of the run: see `edits.lock`."""
        from studio.diffusion import edits

        return edits.lock(self, bands, reference, wavelet, levels, release, mode)

    def elsewhere(self) -> ResumePoint:
        """The point for going on with another solver or number of steps, which then is no longer the same run.

        The solver's memory is forgotten, and the entering sample is made anew out of its clean estimate and its
        implied noise, at the level of the new schedule that is nearest.
        """
        return replace(self, another_way=True)
