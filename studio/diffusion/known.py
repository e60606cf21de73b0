"""Holding what is known of a picture while the rest is painted: fills by any text-to-image model.

    keep = KeepKnown(known, mask, seed=7)  # clean latents of the picture; 1 where it is painted anew
    with observe(pipe, hooks=[correction, keep]):
        image = pipe("a lighthouse on a cliff").images[0]

After every evaluation the known cells of the sample are those of the picture, noised to the level that the solver has
come to; the model sees them beside the unknown ones and continues them. At the end they are the picture's own.

Sources: Lugmayr et al. 2022, RePaint (arXiv:2201.09865), Eq. 8; Avrahami et al. 2022, blended diffusion
(arXiv:2111.14818); for masks of more than two values Levin and Fried 2023, differential diffusion (arXiv:2306.00950).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from studio.diffusion.layout import Layout
from studio.diffusion.masks import checked_mask, fit_mask
from studio.diffusion.start import check_latents, check_seed, noised, seeded_noise
from studio.diffusion.steps import Step
from studio.errors import StudioError


@dataclass(frozen=True, eq=False)
class KeepKnown:
    """Hook that holds the known cells of the sample at `known`, noised to each step's level. Give it as the last hook.

    `known` are clean latents laid out as the sample, in the units of the run's clean estimates; one picture may serve
    a whole batch. `mask` (H, W), or (L,) for sound, in [0, 1], at the size of the picture or of the latents, says how
    much every pixel may change: 0 is known and stays, 1 is painted anew, and in between it is a strength as that of
    image-to-image, for this place alone: 0.3 holds a pixel for the first 70 % of the run's steps and leaves it to the
    model for the last 30 %.

    A latent cell stands for many pixels. While all of them are known, its sample is held. Where the model was given
    some, it has them in that share: its clean estimate is mixed with the known one, and the noise is left as it is. So
    the rim of a fill runs through cells that belong to both sides.

    The noise is drawn on the CPU from `seed` and is the same at every step: what the hook does follows from its three
    fields and the step alone, so that a run goes on from any of its steps with another KeepKnown of the same fields.

    A mask of 1 everywhere changes no bit. Raises StudioError, in words, for what cannot be used; at the first step for
    shapes that do not fit the latents, and for schedulers whose noise levels or clean estimates are not known.
    """

    known: Tensor
    mask: Tensor
    seed: int = 0
    firm: ClassVar[bool] = True  # no solver may take back what this hook does: see `run.Hook`
    _strengths: Tensor = field(init=False, repr=False)  # the mask, checked, in float64
    _fitted: dict[tuple[object, ...], _Fitted] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        check_latents("The known latents", self.known)
        check_seed(self.seed)
        object.__setattr__(self, "_strengths", checked_mask(self.mask))

    def reseeded(self, seed: int) -> KeepKnown:
        """The same with other noise."""
        return KeepKnown(self.known, self.mask, seed)

    def __call__(self, step: Step) -> Tensor:
        """The sample that should leave the step, shaped and typed as `step.x_next`; that itself if nothing is held."""
        fitted = self._fit(step, step.x_next)
        cells = fitted.cells(step.number)
        if cells.held is None:
            return step.x_next
        return torch.where(cells.held, self._at_level(step, fitted).to(step.x_next.dtype), step.x_next)

    def before(self, step: Step) -> Tensor:
        """The clean estimate that the solver should use: the known one where nothing is the model's, mixed at the rim.

        A cell that waits for the model keeps the model's own estimates, of which its solver then remembers a course
        without a jump.
        """
        clean = step.denoised
        fitted = self._fit(step, step.x)
        cells = fitted.cells(step.number)
        if cells.share is None:
            return clean  # type: ignore[return-value]
        if clean is None:
            raise StudioError(
                "This scheduler gives no clean estimate that could be mixed with what is known. Choose another solver."
            )
        return torch.lerp(fitted.known, clean.to(fitted.known.dtype), cells.share).to(clean.dtype)

    def _at_level(self, step: Step, fitted: _Fitted) -> Tensor:
        """The known picture at the level that the solver has come to."""
        if step.final:
            return fitted.known  # also where the solver leaves a rest of noise
        if step.signal_next is None or step.noise_next is None:
            raise StudioError(
                "The noise levels of this run's scheduler are not known, so that nothing can be held at them. "
                "Choose another solver."
            )
        return noised(fitted.known, fitted.noise, step.signal_next, step.noise_next * step.deviation)

    def _fit(self, step: Step, like: Tensor) -> _Fitted:
        """What is held, laid out as `like`. Raises StudioError where it does not fit."""
        key = (like.shape, like.device, like.dtype, step.layout, step.count)
        if key not in self._fitted:
            self._fitted[key] = self._made(step, like)
        return self._fitted[key]

    def _made(self, step: Step, like: Tensor) -> _Fitted:
        known = self.known
        if known.shape[1:] != like.shape[1:] or known.shape[0] not in (1, like.shape[0]):
            raise StudioError(
                f"The known latents are shaped {tuple(known.shape)}, the run's are {tuple(like.shape)}. Encode the "
                "known picture at the size that is painted, and lay it out as the sample."
            )
        layout, exact = step.layout, torch.promote_types(like.dtype, torch.float32)
        space = tuple(layout.to_space(like).shape[-layout.axes :])
        fit_mask(self._strengths, space)  # refuses now what does not fit
        return _Fitted(
            known=known.to(like.device, exact).expand(like.shape),
            noise=seeded_noise(like, self.seed, layout).to(exact),
            given=step.count - (self._strengths * step.count).round(),
            count=step.count,
            layout=layout,
            space=space,
        )


@dataclass(frozen=True, eq=False)
class _Cells:
    """Which latents belong to whom at one step, laid out as the sample."""

    held: Tensor | None  # whether nothing of a latent is the model's yet; None if there is none of those
    share: Tensor | None  # how much of its clean estimate is the model's; None for all of all


@dataclass(frozen=True, eq=False)
class _Fitted:
    """The fields of a KeepKnown for one run."""

    known: Tensor
    noise: Tensor
    given: Tensor  # (H, W) the step, counted from 0, from which on a pixel is the model's; `count` for never
    count: int
    layout: Layout
    space: tuple[int, ...]  # of the latents
    _cells: dict[int, _Cells] = field(default_factory=dict)

    def cells(self, number: int) -> _Cells:
        """Who has which cells at step `number`, counted from 1."""
        kind = int((self.given < number).sum())  # pixels are only ever given, so that equal numbers are equal pixels
        if kind not in self._cells:
            self._cells[kind] = self._made(number)
        return self._cells[kind]

    def _made(self, number: int) -> _Cells:
        models = fit_mask((self.given < number).double(), self.space)
        waiting = fit_mask((self.given < self.count).double(), self.space) > 0
        share = torch.where((models == 0) & waiting, 1.0, models)
        return _Cells(
            held=self._laid_out(models == 0) if bool((models == 0).any()) else None,
            share=self._laid_out(share.to(self.known.dtype)) if bool((share < 1).any()) else None,
        )

    def _laid_out(self, cells: Tensor) -> Tensor:
        shape = self.layout.to_space(self.known).shape
        return self.layout.from_space(cells.expand(shape), self.known).to(self.known.device)
