"""Generative fill: a region of a picture and what is around it, painted anew by the engine and put back exactly.

    filling = Filling.of(Fill(engine.card().request("a lighthouse")), picture, mask, engine.card())
    filled = filling.finished(engine.run(filling.painting, approach=filling.approach))
    filled.layer  # lies over the picture; where the mask is 0 it is transparent

The model sees a frame of the picture, scaled to the size that it paints best. What it makes is scaled back, its
colours are brought to those around it, and it becomes a layer whose alpha is the mask: no pixel outside can change.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from studio.errors import InvalidRequest
from studio.imaging.geometry import Bounds, Extent
from studio.imaging.plain_png import digest_of
from studio.models.catalogue import ModelCard
from studio.passage import Passage
from studio.picture import Picture, Pixels, software_of_fills
from studio.project.carried_fill import Region
from studio.project.kept_fill import KeptFill
from studio.requests import INTENTS, NOT_HARMONISED, Fill, TextToImage

if TYPE_CHECKING:
    from studio.diffusion.harmonise import Rewind
    from studio.diffusion.resume import ResumePoint
    from studio.diffusion.start import Start
    from studio.imaging.compositing import Layer

LEAST_SIDE = 16  # px of a picture that is filled
SKEW = 1.25  # how differently the two directions may be scaled
JUMP = 4  # steps that are made again together where a fill is harmonised


@dataclass(frozen=True)
class Count:
    """A byte for byte comparison of a picture before and after: pixels, not bytes."""

    changed: int
    untouched: int  # outside of the mask
    outside_changed: int  # outside of the mask, and different all the same: 0

    def to_dict(self) -> dict[str, int]:
        return dataclasses.asdict(self)


@dataclass(frozen=True, eq=False)
class Filled:
    """What a fill came to."""

    picture: Picture  # at the working size
    layer: Layer
    count: Count


@dataclass(frozen=True, eq=False)
class Filling:
    """A fill with the pixels that it is about. Nothing here is loaded or painted.

    `source` and `mask` are those of the frame alone; `fill` has the frame as its context and the working size as that
    of its painting.
    """

    fill: Fill
    frame: Bounds  # in the picture
    picture: Extent  # the size of the whole picture
    source: Pixels  # (h, w, 4)
    mask: NDArray[np.uint8]  # (h, w): how much of the new content is put in
    free: NDArray[np.uint8]  # (h, w): where the model may paint; the mask without its feather
    source_digest: str  # of the whole picture's pixels
    mask_digest: str

    @classmethod
    def of(
        cls, fill: Fill, source: Pixels, mask: NDArray[np.uint8], card: ModelCard, size: Extent | None = None
    ) -> Filling:
        """The fill of `source`, uint8 (H, W, 3) or (H, W, 4), where `mask`, uint8 (H, W), is above 0.

        Worked at `size`, or at what suits the frame and the model of `card`. Transparent pixels are unknown to the
        model. Raises InvalidRequest for a mask that is empty or of another size than the picture.
        """
        from studio.imaging import masks
        from studio.imaging.context import context_around

        height, width = source.shape[:2]
        _check_sizes(source, mask)
        spot = masks.bounds(mask)
        if spot is None:
            raise InvalidRequest("The mask is empty. Paint over the area that you want to fill.", "mask")
        # all that matters lies here; around it the mask is 0, which is what a feather measures its distance to
        near = _grown(spot, max(fill.grow, 0) + 1, Extent(width, height))
        free = masks.grown(mask[near.slices], fill.grow)
        acting = masks.feathered(free, fill.feather)
        bounds = masks.bounds(acting)
        if bounds is None:
            raise InvalidRequest(_nothing_left(fill), "mask")
        bounds = Bounds(near.x + bounds.x, near.y + bounds.y, bounds.width, bounds.height)
        whole = Extent(width, height)
        context = context_around(bounds, whole, Extent(card.width, card.height), fill.margin, fill.context)
        working = size or _rounded(context.working, card.multiple)
        _check_shape(context.frame, working)
        painting = replace(fill.painting, width=working.width, height=working.height)
        resolved = replace(fill, painting=painting, context=context.frame, margin=None)
        return cls(
            fill=resolved,
            frame=context.frame,
            picture=whole,
            source=_rgba(source[context.frame.slices]),
            mask=_moved(acting, near, context.frame),
            free=_moved(free, near, context.frame),
            source_digest=digest_of(source),
            mask_digest=digest_of(mask),
        )

    @classmethod
    def again(cls, kept: KeptFill, region: Region, fill: Fill | None = None) -> Filling:
        """A fill that was made before, from what is kept of it, perhaps asked for otherwise: `fill`."""
        return cls(
            fill=fill if fill is not None else kept.fill,
            frame=kept.frame,
            picture=kept.picture,
            source=region.source,
            mask=region.mask,
            free=region.free,
            source_digest=kept.source,
            mask_digest=kept.mask,
        )

    @property
    def painting(self) -> TextToImage:
        """What the engine is asked for."""
        return self.fill.painting

    @property
    def working(self) -> Extent:
        return Extent(self.painting.width, self.painting.height)

    @property
    def nbytes(self) -> int:
        return self.source.nbytes + self.mask.nbytes + self.free.nbytes

    @cached_property
    def region(self) -> Region:
        """What is kept of it, beside its run and in its PNG."""
        return Region(self.source, self.mask, self.free)

    def with_seed(self, seed: int) -> Filling:
        return replace(self, fill=self.fill.with_seed(seed))

    def note(self) -> dict[str, Any]:
        """What a picture says about being a fill: the request but for its painting, and what it is a fill of."""
        values = self.fill.to_dict()
        del values["painting"]
        return {
            **values,
            "picture": {"width": self.picture.width, "height": self.picture.height},
            "source": self.source_digest,
            "mask": self.mask_digest,
        }

    # -- what the model sees ------------------------------------------------------------------------------------------

    @cached_property
    def opening(self) -> NDArray[np.float32]:
        """How much the model may paint, (H, W) in [0, 1] at the working size: the mask, and what is transparent.

        As it is drawn, up to its rim: what a picture comes to be is settled in the first steps, and a hole that is
        held at its pre-fill for those comes out as the pre-fill. Latent cells at the rim belong to both sides already.
        """
        from studio.imaging.scaling import scaled

        unknown = 255 - self.source[..., 3]
        return scaled(np.maximum(self.free, unknown), self.working).astype(np.float32) / np.float32(255)

    @cached_property
    def seen(self) -> Pixels:
        """The frame at the working size, (H, W, 3), with its hole filled as the request says."""
        from studio.imaging.prefill import prefilled
        from studio.imaging.scaling import scaled

        small = scaled(self.source, self.working)
        colours, alpha = small[..., :3], small[..., 3]
        kind = INTENTS[self.fill.intent].prefill if self.fill.prefill == "auto" else self.fill.prefill
        hole = scaled(self.free, self.working)
        if kind == "none":  # but what is transparent has no colours to keep
            if alpha.min() == 255:
                return colours
            kind, hole = "blur", np.zeros_like(hole)
        return prefilled(colours, np.maximum(hole, 255 - alpha), kind, self.fill.seed)

    def approach(self, pipe: Any) -> Passage:
        """How the engine's run goes, for `Engine.run`. Raises StudioError where the model cannot do it."""
        from studio.models import inpaint

        own = self.fill.method == "own" or (self.fill.method == "auto" and inpaint.only_fills(pipe))
        if own and self.fill.harmonise:
            raise InvalidRequest(NOT_HARMONISED, "harmonise")
        return self._own(pipe) if own else self._known(pipe)

    def _own(self, pipe: Any) -> Passage:
        from studio.models import inpaint

        own = inpaint.own_pipeline(pipe)
        steps = self.painting.num_inference_steps
        return Passage(pipe=own, arguments=inpaint.arguments(own, self.seen, self.opening, self.fill.start, steps))

    def _known(self, pipe: Any) -> Passage:
        import torch

        from studio.diffusion.known import KeepKnown
        from studio.diffusion.start import seeded_noise, start_at
        from studio.imaging.pixels import to_float
        from studio.models.encode import clean_latents

        found = clean_latents(pipe, to_float(self.seen), self.working)
        if found is None:
            raise InvalidRequest(
                f"A {type(pipe).__name__} cannot be told what is known: its encoder cannot be called alone.", "method"
            )
        clean, layout = found
        seed, start = self.fill.seed, self.fill.start
        return Passage(
            hooks=(KeepKnown(clean, torch.from_numpy(self.opening), seed),),
            start=start_at(start, clean, seeded_noise(clean, seed, layout)) if start else None,
            rewinding=self._rewound if self.fill.harmonise else None,
        )

    def _rewound(self, start: ResumePoint | Start | None, whole: bool) -> Rewind:
        """The steps with those that are made again, from the beginning or from where a branch goes on."""
        from studio.diffusion.harmonise import Rewind, harmonising
        from studio.diffusion.resume import ResumePoint

        steps = self.painting.num_inference_steps
        plan = harmonising(steps, JUMP, self.fill.harmonise, self.fill.start)
        if isinstance(start, ResumePoint):
            plan = plan.after(start.index // start.facts.order)
        return Rewind(plan, self.fill.seed, start, whole)

    # -- what becomes of it -------------------------------------------------------------------------------------------

    def finished(self, picture: Picture) -> Filled:
        """The layer that the engine's picture makes, and what it changes."""
        from studio.imaging import compositing, masks, rim
        from studio.imaging.scaling import scaled

        fresh = scaled(picture.pixels, self.frame.extent)
        if self.fill.match_colour:
            fresh = rim.matched(fresh, self.source, self.mask)
        spot = masks.bounds(self.mask)
        assert spot is not None  # `of` refuses empty masks
        alpha = self.mask[spot.slices][..., None]
        pixels = np.concatenate([np.where(alpha > 0, fresh[spot.slices], 0).astype(np.uint8), alpha], axis=2)
        layer = compositing.Layer(pixels, self.frame.x + spot.x, self.frame.y + spot.y)
        after = compositing.paste(self.source, pixels, spot.x, spot.y)
        made_with = {**picture.made_with, **software_of_fills()}
        told = replace(picture, fill=self.note(), region=self.region, made_with=made_with)
        return Filled(told, layer, self._count(after))

    def _count(self, after: Pixels) -> Count:
        differs = (after != self.source).any(axis=2)
        outside = self.mask == 0
        return Count(
            changed=int(np.count_nonzero(differs)),
            untouched=self.picture.area - int(np.count_nonzero(~outside)),
            outside_changed=int(np.count_nonzero(differs & outside)),
        )


def _check_sizes(source: Pixels, mask: NDArray[np.uint8]) -> None:
    height, width = source.shape[:2]
    if min(width, height) < LEAST_SIDE:
        raise InvalidRequest(
            f"This picture is {width} × {height} pixels. A fill needs at least {LEAST_SIDE} on each side.", "source"
        )
    if mask.ndim != 2:
        raise InvalidRequest("A mask is a grey picture: black stays, white is filled. This one has colours.", "mask")
    if mask.shape != (height, width):
        raise InvalidRequest(
            f"The mask is {mask.shape[1]} × {mask.shape[0]} pixels; the picture is {width} × {height}.", "mask"
        )


def _check_shape(frame: Bounds, working: Extent) -> None:
    across, down = working.width / frame.width, working.height / frame.height
    if max(across / down, down / across) > SKEW:
        height = max(round(working.width * frame.height / frame.width / 16) * 16, 64)
        raise InvalidRequest(
            f"What the model sees is {frame.width} × {frame.height} pixels, which has another shape than "
            f"{working.width} × {working.height}. Use about {working.width} × {height}, or leave the size to the "
            "studio.",
            "width",
        )


def _rounded(size: Extent, multiple: int) -> Extent:
    """The size with sides that are multiples, for models that want coarser ones than the rule for contexts gives."""
    width, height = (max((side + multiple // 2) // multiple, 1) * multiple for side in (size.width, size.height))
    return Extent(width, height)


def _nothing_left(fill: Fill) -> str:
    if fill.grow < 0:
        return f"Nothing is left of the mask when it shrinks by {-fill.grow} pixels. Shrink it less, or paint more."
    if fill.feather:
        return f"Nothing is left of the mask with a feather of {fill.feather} pixels. Feather less, or paint more."
    return "The mask is too faint. Paint over the area that you want to fill."


def _grown(bounds: Bounds, by: int, whole: Extent) -> Bounds:
    x, y = max(bounds.x - by, 0), max(bounds.y - by, 0)
    right, bottom = min(bounds.right + by, whole.width), min(bounds.bottom + by, whole.height)
    return Bounds(x, y, right - x, bottom - y)


def _moved(values: NDArray[np.uint8], place: Bounds, frame: Bounds) -> NDArray[np.uint8]:
    """Values that lie at `place`, as they lie in `frame`; 0 where they say nothing."""
    result = np.zeros((frame.height, frame.width), np.uint8)
    common = place.intersection(frame)
    if common is not None:
        target = Bounds(common.x - frame.x, common.y - frame.y, common.width, common.height)
        origin = Bounds(common.x - place.x, common.y - place.y, common.width, common.height)
        result[target.slices] = values[origin.slices]
    return result


def _rgba(pixels: Pixels) -> Pixels:
    if pixels.shape[2] == 4:
        return np.array(pixels)
    return np.concatenate([pixels, np.full((*pixels.shape[:2], 1), 255, np.uint8)], axis=2)
