"""Changes to a recorded run at one of its steps: another clean estimate there, bands of another run, bands held.

    point = run.at(7).edited(painted, shown)  # what a person has painted over the preview of step 7
    point = run.at(7).with_band(0, other.steps[7].denoised, levels=3)  # the coarse bands of another run
    point = run.at(7).lock([0, 1], levels=3)  # keep the composition, redo the texture
    with observe(pipe, resume=point): ...

A sample is x = signal * clean + noise * n. An edit changes the clean part and keeps the noise that the model implied:
x' = x + signal * (new - shown). Early in a run, where the signal is small, it is a hint; late it stays. What the
solver remembers of earlier steps changes along (`parallel`), so that no solver takes the edit back or overshoots it.

Bands are those of `wavelets.split_bands`: 0 is the approximation, 1 to `levels` are the details, coarse to fine. They
are bands of space, whatever the layout of the latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from studio.diffusion.layout import Layout
from studio.diffusion.masks import checked_mask, fit_mask
from studio.diffusion.parallel import Change, moved
from studio.diffusion.resume import ResumePoint
from studio.diffusion.steps import Step
from studio.diffusion.strengths import Schedule, check_levels, check_wavelet
from studio.diffusion.wavelets import Bands, check_plane, merge_bands, split_bands
from studio.errors import StudioError

CONTENT, ENERGY = "content", "energy"
MODES = (CONTENT, ENERGY)


def edited(
    point: ResumePoint, clean_new: Tensor, clean_shown: Tensor | None = None, mask: Tensor | None = None
) -> ResumePoint:
    """The point with its clean estimate moved by (clean_new - clean_shown), and with the noise that it implied.

    Both are latents shaped as the sample. `clean_shown` is what the new one was made from, by default the recorded
    clean estimate; if both were encoded from pixels by the same autoencoder, its error cancels. `mask` (H, W), or
    (L,) for sound, in [0, 1] says where the edit counts (1 = fully), at the size of the picture or of the latents.

    With nothing changed, the point itself is returned. Raises StudioError for shapes and values that do not fit, for
    schedulers without clean estimates or noise levels, and where the sample is pure noise.
    """
    shown = _clean(point.step) if clean_shown is None else clean_shown
    for name, clean in (("The new clean estimate", clean_new), ("The shown one", shown)):
        _check_clean(name, clean, point)
    exact = torch.promote_types(torch.promote_types(clean_new.dtype, shown.dtype), torch.float32)
    change = clean_new.to(point.moment.x.device, exact) - shown.to(point.moment.x.device, exact)
    if mask is not None:
        change = _masked(change, mask, point.step.layout)
    return _with_change(point, change)


def with_band(
    point: ResumePoint, level: int | Sequence[int], clean: Tensor, wavelet: str = "haar", levels: int = 1
) -> ResumePoint:
    """The point with band `level` (or several) of its clean estimate replaced by those of another one, `clean`.

    `clean` is a clean estimate shaped as the sample, such as that of another run at the same step. Raises StudioError
    for bands, wavelets and levels that are not there, and as `edited` does.
    """
    chosen = _check_bands(level if isinstance(level, Sequence) else (level,), levels)
    _check_clean("The other clean estimate", clean, point)
    mine = _clean(point.step)
    exact = torch.promote_types(torch.promote_types(mine.dtype, clean.dtype), torch.float32)
    difference = clean.to(mine.device, exact) - mine.to(exact)
    return _with_change(point, _only(difference, point.step.layout, chosen, wavelet, levels))


def renoised(point: ResumePoint, noise: Tensor) -> ResumePoint:
    """The point with its clean estimate and other noise: `noise` (standard normal, shaped as the sample) for its own.

    The other half of an edit: the same picture so far, with other chances ahead. With bands locked, those are kept and
    everything else comes anew. Raises StudioError as `edited` does.
    """
    _check_clean("The noise", noise, point)
    _clean(point.step)
    implied = point.step.n_hat
    if implied is None:
        raise StudioError(f"Step {point.index} holds no noise that could be exchanged. Choose an earlier step.")
    exact = torch.promote_types(implied.dtype, torch.float32)
    change = noise.to(implied.device, exact) * point.step.deviation - implied.to(exact)
    return _moved(point, Change(noise=change))


def lock(
    point: ResumePoint,
    bands: Sequence[int],
    reference: Tensor | Sequence[Step] | None = None,
    wavelet: str = "haar",
    levels: int = 1,
    release: float | Schedule = 0.0,
    mode: str = CONTENT,
) -> ResumePoint:
    """The point with `bands` of every clean estimate held from here on: see `BandLock`.

    The reference is by default the clean estimate of the point. If it is another one, its bands are put in here first,
    as `with_band` does, so that sample and reference agree from the beginning. Raises StudioError for bands, wavelets
    and levels that are not there, and for references that do not fit.
    """
    held = BandLock(
        tuple(bands), _clean(point.step) if reference is None else reference, wavelet, levels, release, mode
    )
    layout = point.step.layout
    check_plane(layout.to_space(_clean(point.step)), wavelet, levels, layout.axes)
    _check_clean("The reference of the lock", held.reference_at(point.step), point)
    if mode == CONTENT and held.weight(point.step) == 1 and point.step.signal:
        there = held.reference_at(point.step)
        if there is not point.step.denoised:
            point = with_band(point, held.bands, there, wavelet, levels)
    return replace(point, hooks=(*point.hooks, held))


def held_alone(
    steps: Sequence[Step], bands: Sequence[int], wavelet: str = "haar", levels: int = 1
) -> tuple[Step, ...]:
    """Recorded steps as a lock of `bands` looks at them: nothing but those bands is left of their clean estimates.

    A lock that follows these holds the same, and whoever is given it does not find the recorded picture inside. Raises
    StudioError for bands, wavelets and levels that are not there.
    """
    chosen = _check_bands(bands, levels)

    def alone(step: Step) -> Step:
        clean = _clean(step)
        exact = torch.promote_types(clean.dtype, torch.float32)
        held = _only(clean.to(exact), step.layout, chosen, wavelet, levels)
        return replace(step, x=held, x_next=held, denoised=held)

    return tuple(alone(step) for step in steps if step.denoised is not None)


@dataclass(frozen=True, eq=False)
class BandLock:
    """Hook that holds bands of the clean estimate: the solver is given one whose `bands` are those of the reference.

    `reference` is a clean estimate, or the steps of a recorded run: then every step follows the one of nearest noise
    level. `content` holds what is in the bands, `energy` only how much, per channel and band. `release` lets go: a
    number is the noise level (1 at the beginning, 0 at the end) below which nothing is held any more, so that 0 holds
    to the end; a `Schedule` says how firmly (1 = held, 0 = free, negative weights and those above 1 are cut off).

    Not bound to a resume: as a hook of a run from its beginning, it lends the composition of one picture to another.
    """

    bands: Sequence[int]
    reference: Tensor | Sequence[Step]
    wavelet: str = "haar"
    levels: int = 1
    release: float | Schedule = 0.0
    mode: str = CONTENT

    def __post_init__(self) -> None:
        check_wavelet(self.wavelet)
        check_levels(self.levels)
        object.__setattr__(self, "bands", _check_bands(self.bands, self.levels))
        if self.mode not in MODES:
            raise StudioError(f"Bands are held by {' or '.join(MODES)}, not by {self.mode!r:.40}.")
        if not isinstance(self.release, Schedule) and not (
            isinstance(self.release, int | float) and 0 <= self.release <= 1
        ):
            raise StudioError(f"A lock lets go at a noise level from 0 (never) to 1, not at {self.release!r:.40}.")
        if not isinstance(self.reference, Tensor):
            steps = tuple(step for step in self.reference if step.denoised is not None)
            if not steps:
                raise StudioError("The reference of a lock has no step with a clean estimate.")
            object.__setattr__(self, "reference", steps)

    def __call__(self, step: Step) -> Tensor:
        return step.x_next

    def before(self, step: Step) -> Tensor:
        """The clean estimate that the solver should use; `step.denoised` itself where nothing is held."""
        clean = _clean(step)
        weight = self.weight(step)
        if weight == 0:
            return clean
        reference = self.reference_at(step)
        if reference.shape != clean.shape:
            raise StudioError(
                f"The reference of the lock is shaped {tuple(reference.shape)}, the run's latents are "
                f"{tuple(clean.shape)}. Use a run of the same size and number of pictures."
            )
        exact = torch.promote_types(clean.dtype, torch.float32)
        reference = reference.to(clean.device, exact)
        if self.mode == ENERGY:
            change = self._of_energy(clean.to(exact), reference, weight, step.layout)
        else:
            change = weight * _only(reference - clean.to(exact), step.layout, self.bands, self.wavelet, self.levels)
        return (clean.to(exact) + change).to(clean.dtype)

    def weight(self, step: Step) -> float:
        """How firmly the bands are held at this step, from 1 to 0."""
        if isinstance(self.release, Schedule):
            return min(max(self.release.weight(step.noise_level, step.number, step.count), 0.0), 1.0)
        return 1.0 if step.noise_level >= self.release else 0.0

    def reference_at(self, step: Step) -> Tensor:
        """The clean estimate whose bands are held at this step."""
        if isinstance(self.reference, Tensor):
            return self.reference
        # of two evaluations at one level, the one of the same place
        nearest = min(self.reference, key=lambda s: (abs(s.noise_level - step.noise_level), abs(s.index - step.index)))
        return _clean(nearest)

    def _of_energy(self, clean: Tensor, reference: Tensor, weight: float, layout: Layout) -> Tensor:
        """The change that gives every held band of every channel the energy that it has in the reference."""
        mine = split_bands(layout.to_space(clean), self.wavelet, self.levels, layout.axes)
        theirs = split_bands(layout.to_space(reference), self.wavelet, self.levels, layout.axes)
        changed = mine.only()
        space = tuple(range(-layout.axes, 0))
        limits = torch.finfo(clean.dtype)
        nothing = (clean.square().mean() * (16 * limits.eps) ** 2).clamp_min(limits.tiny)
        for band in self.bands:
            orientations = () if band == 0 else (0,)
            have = mine[band].square().sum((*orientations, *space), keepdim=True)
            want = theirs[band].square().sum((*orientations, *space), keepdim=True)
            # a band that holds nothing but rounding has no shape to scale
            gain = torch.where(have > nothing, (want / have.clamp_min(nothing)).sqrt(), 1.0)
            changed = changed.with_band(band, mine[band] * (gain**weight - 1))
        return layout.from_space(merge_bands(changed), like=clean)


# -- inside -----------------------------------------------------------------------------------------------------------


def _only(plane: Tensor, layout: Layout, bands: Sequence[int], wavelet: str, levels: int) -> Tensor:
    """Latents with all bands but `bands` taken out."""
    split: Bands = split_bands(layout.to_space(plane), wavelet, levels, layout.axes)
    return layout.from_space(merge_bands(split.only(*bands)), like=plane)


def _with_change(point: ResumePoint, change: Tensor) -> ResumePoint:
    if not bool(change.any()):
        return point
    if point.step.signal == 0:
        raise StudioError(
            f"Step {point.index} enters in pure noise, where an edit would leave no trace. Choose a later step."
        )
    return _moved(point, Change(clean=change))


def _moved(point: ResumePoint, change: Change) -> ResumePoint:
    step = point.step
    if step.signal is None or step.noise is None:
        raise StudioError(
            "The noise levels of this run's scheduler are not known, so it cannot be edited. Use another."
        )
    moment = moved(point.moment, point.index, point.facts, change)
    clean = _clean(step)
    changed = clean if change.clean is None else (clean + change.clean).to(clean.dtype)
    return replace(point, moment=moment, step=replace(step, x=moment.x, denoised=changed))


def _clean(step: Step) -> Tensor:
    if step.denoised is None:
        raise StudioError(
            "The scheduler of this run tells no clean estimate that could be edited or held. Use another."
        )
    return step.denoised


def _check_clean(name: str, clean: Tensor, point: ResumePoint) -> None:
    x = point.moment.x
    if not isinstance(clean, Tensor):
        raise StudioError(f"{name} should be a tensor of latents, not {type(clean).__name__}.")
    if not clean.is_floating_point():
        raise StudioError(f"{name} should be floating-point latents, not {clean.dtype}.")
    if clean.shape != x.shape:
        raise StudioError(
            f"{name} is shaped {tuple(clean.shape)}, the latents of step {point.index} are {tuple(x.shape)}."
        )
    if not bool(clean.isfinite().all()):
        raise StudioError(f"{name} holds numbers that are infinite or none at all (NaN).")


def _masked(change: Tensor, mask: Tensor, layout: Layout) -> Tensor:
    plane = layout.to_space(change)
    fitted = fit_mask(checked_mask(mask), tuple(plane.shape[-layout.axes :]))
    return layout.from_space(plane * fitted.to(plane), like=change)


def _check_bands(bands: Sequence[int], levels: int) -> tuple[int, ...]:
    chosen = tuple(bands)
    whole = all(isinstance(band, int) and not isinstance(band, bool) for band in chosen)
    if not chosen or not whole or not all(0 <= band <= levels for band in chosen):
        raise StudioError(
            f"Name one or more bands from 0 (the approximation) to {levels} (the finest details), not {chosen!r:.60}."
        )
    return tuple(sorted(set(chosen)))
