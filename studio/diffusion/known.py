"""Holding what is known of a picture while the rest is painted: fills by any text-to-image model.

    known, layout = clean_latents(pipe, pixels, Extent(512, 512))  # of studio.models.encode: (1, 4, 64, 64)
    mask = torch.zeros(512, 512)
    mask[:, 256:] = 1  # the right half is painted anew
    with observe(pipe, hooks=[KeepKnown(known, mask, seed=7)]):
        image = pipe("a lighthouse on a cliff", width=512, height=512).images[0]

After every evaluation the known cells of the sample are those of the picture, noised to the level that the solver has
come to; the model sees them beside the unknown ones and continues them. At the end they are the picture's own.

Sources: Lugmayr et al. 2022, RePaint (arXiv:2201.09865), Eq. 8; Avrahami et al. 2022, blended diffusion
(arXiv:2111.14818); for masks of more than two values Levin and Fried 2023, differential diffusion (arXiv:2306.00950).
"""

from __future__ import annotations

import math
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
    """Hook that holds the known cells of the sample at `known`, noised to each step's level. It runs after the others.

    `known` are clean latents laid out as the sample, in the units of the run's clean estimates: (B, C, h, w) for most
    families, (B, h/2 * w/2, 4 C) for FLUX, with B = 1 where one picture serves a whole batch. For a picture in pixels,
    `studio.models.encode.clean_latents` makes them.

    `mask` (H, W), or (L,) for sound, in [0, 1], at the size of the picture or of the latents, says how much every
    pixel may change: 0 is known and stays, 1 is painted anew, and in between it is a strength as that of
    image-to-image, for this place alone: 0.3 holds a pixel for the first 70 % of the run's steps and leaves it to the
    model for the last 30 %.

    A latent cell stands for many pixels. It is held until the mean strength of those that may change comes, and then
    left to the model. Where only some of them may, it is the model's in that share, from the first step to the last:
    its clean estimate is mixed with the known one, and the noise is left as it is. So the rim of a fill runs through
    cells that belong to both sides.

    The noise is drawn on the CPU from `seed` and is the same at every step: what the hook does follows from its three
    fields and the step alone, so that a run goes on from any of its steps with another KeepKnown of the same fields.

    A mask of 1 everywhere changes no bit. Raises StudioError, in words, for what cannot be used; at the first step for
    shapes that do not fit the latents, and for schedulers whose noise levels or clean estimates are not known.
    """

    known: Tensor
    mask: Tensor
    seed: int = 0
    firm: ClassVar[bool] = True  # no solver may take back what this hook does: see `hooks.Hook`
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
        held = fitted.held(step.number)
        if held is None:
            return step.x_next
        return torch.where(held, self._at_level(step, fitted).to(step.x_next.dtype), step.x_next)

    def before(self, step: Step) -> Tensor:
        """The clean estimate that the solver should use: the known one where nothing is the model's, mixed at the rim.

        In the same shares at every step, also while a cell is held: so the solver remembers a course without a jump.
        """
        clean = step.denoised
        fitted = self._fit(step, step.x)
        if fitted.share is None:
            return clean  # type: ignore[return-value]
        if clean is None:
            raise StudioError(
                "This scheduler gives no clean estimate that could be mixed with what is known. Choose another solver."
            )
        return torch.lerp(fitted.known, clean.to(fitted.known.dtype), fitted.share).to(clean.dtype)

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
        exact = torch.promote_types(like.dtype, torch.float32)
        return _Fitted.of(
            known.to(like.device, exact).expand(like.shape),
            seeded_noise(like, self.seed, step.layout).to(exact),
            self._strengths,
            step,
        )


@dataclass(frozen=True, eq=False)
class _Fitted:
    """The fields of a KeepKnown for one run, laid out as the sample but for `last_held`, which lies over space."""

    known: Tensor
    noise: Tensor
    # how much of a latent's clean estimate is the model's; None for all of all
    share: Tensor | None
    # the number of the last step that leaves a latent held: 0 for none, infinite for every one, however many there are
    last_held: Tensor
    layout: Layout
    _held: dict[int, Tensor | None] = field(default_factory=dict)

    @classmethod
    def of(cls, known: Tensor, noise: Tensor, strengths: Tensor, step: Step) -> _Fitted:
        """Fits `strengths` (H, W), in float64, to latents. A latent has one moment and one share: its pixels' mean
        strength, among those that may change, and how many these are. Raises StudioError where they do not fit.
        """
        layout, count = step.layout, step.count
        space = tuple(layout.to_space(known).shape[-layout.axes :])
        share = fit_mask((strengths > 0).double(), space)
        strength = fit_mask(strengths, space) / share.clamp(min=torch.finfo(share.dtype).tiny)
        # means of equal numbers differ from them in the last digits, which would decide where a half is rounded to
        free = (strength.round(decimals=9) * count).round()  # the last steps, which are the model's
        share = torch.where(free > 0, share, 0)
        last_held = torch.where(free > 0, count - free, math.inf)
        whole = bool((share == 1).all())
        return cls(known, noise, None if whole else _laid_out(share.to(known.dtype), known, layout), last_held, layout)

    def held(self, number: int) -> Tensor | None:
        """Whether a latent is held in what leaves step `number`; None if none is."""
        kind = int((self.last_held < number).sum())  # none is ever held again: equal numbers are equal ones
        if kind not in self._held:
            self._held.clear()  # the newest alone is asked for again
            held = self.last_held >= number
            self._held[kind] = _laid_out(held, self.known, self.layout) if bool(held.any()) else None
        return self._held[kind]


def _laid_out(values: Tensor, like: Tensor, layout: Layout) -> Tensor:
    """Values over space, as those of every channel and picture of `like`."""
    return layout.from_space(values.expand(layout.to_space(like).shape), like).to(like.device)
