"""The correction: a hook that closes the gap between the noise that a sample has and what the model expects there.

    with observe(pipe, hooks=[Correction(low=-0.015)]):
        image = pipe("a lake at dawn").images[0]

At every step the sample moves along its difference to the model's clean estimate, every wavelet band by a strength and
a weight of its own:

    x <- x + sum_b lambda_b * w_b(t) * P_b (x - x0)        P_b keeps band b of the wavelet transform, drops the others

Source: arXiv:2604.16044, Eqs. 17-21. Beyond the border of the plane there is nothing (`wavelets.ZERO`), as in the
authors' program, whose numbers these are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from studio.diffusion.masks import checked_mask, fit_mask
from studio.diffusion.steps import Step
from studio.diffusion.strengths import BEFORE, ONE_MINUS_SIGMA, SIGMA, Schedule, Strengths
from studio.diffusion.wavelets import add_bands, add_blocks, check_plane, projections
from studio.errors import StudioError

Mask = Tensor | None


@dataclass(frozen=True, eq=False)
class Correction:
    """Hook that moves the sample along (x - x0), band by band.

    Positive strengths keep more of the noise, negative ones less. `low` is the strength of the approximation, `high`
    that of all details; unless told otherwise they weigh as in the paper, `low` with the noise level and `high` with
    1 - noise level. `strengths` says more: a strength and a schedule for each band, and the variant. All of 0 is off
    and returns its input untouched, bit by bit.

    `mask` (H, W) in [0, 1], at the size of the picture or of the latents, says where (1 = fully); for sound it is
    (L,). One mask serves all bands, or give one per band, coarse to fine, with None where there is none.

    In solvers that evaluate the model twice per step, the sample is left alone between the two. The variant "before
    step" changes every clean estimate instead, since it is the model's answer that it changes and not the sample.

    Raises StudioError, in words, for strengths, wavelets and masks that cannot be used; at the first step for levels
    and masks that do not fit the latents, and for schedulers that have no clean estimate.
    """

    low: float = 0.0
    high: float = 0.0
    wavelet: str = "haar"
    levels: int = 1
    strengths: Strengths | None = None
    mask: Tensor | Sequence[Mask] | None = None
    low_schedule: Schedule | str = SIGMA
    high_schedule: Schedule | str = ONE_MINUS_SIGMA
    in_force: Strengths = field(init=False)  # `strengths`, or those that the other fields stand for
    _masks: tuple[Mask, ...] = field(init=False, repr=False)  # one per band
    _open: tuple[bool, ...] = field(init=False, repr=False)  # whether a band's mask lets anything through
    _fitted: dict[tuple[object, ...], Tensor] = field(init=False, repr=False, default_factory=dict)
    _seen: set[tuple[object, ...]] = field(init=False, repr=False, default_factory=set)  # shapes that were checked

    def __post_init__(self) -> None:
        plain = Strengths.double(self.low, self.high, self.wavelet, self.levels, self.low_schedule, self.high_schedule)
        if self.strengths is not None and plain != Strengths():
            raise StudioError(
                "A correction takes either `strengths`, which say everything, or `low`, `high`, `wavelet`, `levels` "
                "and schedules, but not both."
            )
        if self.strengths is not None and not isinstance(self.strengths, Strengths):
            raise StudioError(f"`strengths` should be Strengths, not {type(self.strengths).__name__}.")
        object.__setattr__(self, "in_force", self.strengths or plain)
        masks = _checked_masks(self.mask, self.in_force.levels + 1)
        object.__setattr__(self, "_masks", masks)
        # a band that is masked out is a band that is left alone
        object.__setattr__(self, "_open", tuple(mask is None or bool(mask.any()) for mask in masks))

    def __call__(self, step: Step) -> Tensor:
        """The sample that should leave the step. Shaped and typed as `step.x_next`."""
        if self.in_force.variant == BEFORE or not _ends_a_step(step):
            return step.x_next
        return self._moved(step, step.x_next, along=step.x_next)

    def before(self, step: Step) -> Tensor:
        """The clean estimate that the solver should be given: `step.denoised` itself unless the variant says so."""
        if self.in_force.variant != BEFORE:
            return step.denoised  # type: ignore[return-value]
        return self._moved(step, step.denoised, along=step.x)

    def _weights(self, step: Step) -> tuple[float, ...]:
        weights = self.in_force.at(step.noise_level, step.number, step.count)
        return tuple(weight if through else 0.0 for weight, through in zip(weights, self._open, strict=True))

    def _check(self, step: Step) -> None:
        """Raises StudioError if levels or masks do not fit, at the first step even where the weights begin later."""
        seen = (step.x.shape, step.layout)
        if seen in self._seen or self.in_force.is_off or self._needs_no_space:
            return
        plane = step.layout.to_space(step.x)
        check_plane(plane, self.in_force.wavelet, self.in_force.levels, step.layout.axes)
        for mask in self._masks:
            if mask is not None:
                fit_mask(mask, tuple(plane.shape[-step.layout.axes :]))
        self._seen.add(seen)

    @property
    def _needs_no_space(self) -> bool:
        alike = len(set(self.in_force.values)) == len(set(self.in_force.schedules)) == 1
        return alike and all(mask is None for mask in self._masks)

    def _moved(self, step: Step, start: Tensor | None, along: Tensor) -> Tensor:
        """start + sum_b weight_b P_b (along - x0), or `start` itself where nothing moves."""
        self._check(step)
        weights = self._weights(step)
        if not any(weights):
            return start  # type: ignore[return-value]
        clean = step.denoised
        if clean is None or start is None:
            raise StudioError(_NO_ESTIMATE)
        if clean.shape != along.shape:
            raise StudioError(
                f"The sample is shaped {tuple(along.shape)} and its clean estimate {tuple(clean.shape)}: this "
                "scheduler changes the size between steps, which a correction cannot follow. Set its strengths to 0."
            )
        exact = torch.promote_types(torch.promote_types(start.dtype, clean.dtype), torch.float32)
        unmasked = all(mask is None for mask, weight in zip(self._masks, weights, strict=True) if weight)
        if unmasked and len(set(weights)) == 1:
            # the bands add up to the difference, and where space is does not matter
            return _blended(start is along, along.to(exact), clean.to(exact), weights[0]).to(start.dtype)
        layout, from_sample = step.layout, start is along
        along, clean = (layout.to_space(tensor).to(exact) for tensor in (along, clean))
        base = along if from_sample else clean
        gap = along - clean
        if not unmasked:
            moved = self._masked(base, gap, weights, layout.axes)
        elif self.in_force.wavelet == "haar" and len(weights) == 2:
            moved = add_blocks(base, gap, *weights, layout.axes)
        else:
            moved = add_bands(base, gap, weights, self.in_force.wavelet, layout.axes)
        return layout.from_space(moved.to(start.dtype), like=start)

    def _masked(self, base: Tensor, gap: Tensor, weights: tuple[float, ...], axes: int) -> Tensor:
        wavelet = self.in_force.wavelet
        active = {id(mask): mask for mask, weight in zip(self._masks, weights, strict=True) if weight}
        if len(active) == 1:  # the same everywhere: it may be laid over the sum
            (mask,) = active.values()
            change = add_bands(torch.zeros_like(gap), gap, weights, wavelet, axes)
            return torch.addcmul(base, change, self._fitting(mask, change, axes))
        images = projections(gap, wavelet, len(weights) - 1, axes)
        for image, weight, mask in zip(images, weights, self._masks, strict=True):
            if weight:
                over = image if mask is None else image * self._fitting(mask, image, axes)
                base = base.add(over, alpha=weight)
        return base

    def _fitting(self, mask: Mask, plane: Tensor, axes: int) -> Tensor:
        """`mask` at the size of `plane`, averaged over the area of every latent."""
        assert mask is not None
        key = (id(mask), plane.shape[-axes:], plane.dtype, plane.device)
        if key not in self._fitted:
            self._fitted[key] = fit_mask(mask, tuple(plane.shape[-axes:])).to(plane)
        return self._fitted[key]


_NO_ESTIMATE = (
    "This scheduler gives no clean estimate, which a correction measures its distance to. Choose another solver, or "
    "set the correction's strengths to 0."
)


def _blended(from_sample: bool, along: Tensor, clean: Tensor, weight: float) -> Tensor:
    """start + weight * (along - clean), where the start is `along` or else `clean`. Always a new tensor."""
    return torch.lerp(along, clean, -weight) if from_sample else torch.lerp(clean, along, weight)


def _ends_a_step(step: Step) -> bool:
    return (step.index + 1) % step.order == 0 or step.index + 1 == step.total


def _checked_masks(given: object, bands: int) -> tuple[Mask, ...]:
    """One mask per band; those that are 1 everywhere are no masks."""
    if isinstance(given, (list, tuple)):
        if len(given) != bands:
            raise StudioError(f"There are {bands} bands, but {len(given)} masks. Give one for all, or one for each.")
        known: dict[int, Mask] = {}  # bands that share a mask go on sharing it
        return tuple(known.setdefault(id(mask), _mask_or_none(mask)) for mask in given)
    return (_mask_or_none(given),) * bands


def _mask_or_none(given: object) -> Mask:
    if given is None:
        return None
    mask = checked_mask(given)
    return None if bool((mask == 1).all()) else mask
