"""A recorded run as pictures: its steps, their bands, what differs between two runs, all of it on one sheet."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from studio.engine import CannotShow
from studio.errors import InvalidRequest, UnreadablePicture
from studio.imaging.geometry import Extent
from studio.imaging.png import read_picture
from studio.project.runs import BandNumbers, KeptRun
from studio.viewer import drawing, numbers
from studio.viewer.keeping import STRIP_SIDE
from studio.viewer.source import (
    DEFAULT_LEVELS,
    DEFAULT_WAVELET,
    LOOKS,
    SIZES,
    NotThere,
    Source,
    check_bands,
    check_look,
    check_size,
    check_step,
    checked_gain,
)

THUMBNAIL_SIDE = 160  # px
FPS = (1.0, 30.0)
ANIMATION_SIDE = 512  # px
ANIMATION_PIXELS = 64_000_000  # of all its pictures together: 240 at 512 px, 15 at 2,048 px
_ENTRY = 1024  # bytes that a cached file takes beside its own


@dataclass(frozen=True)
class BandWish:
    """How the bands of a step are to be drawn. Raises InvalidRequest, naming the field, for what cannot be.

    `show`: signed around mid-grey, or magnitude. `added`: of what the step changed. `gain`: how often the run's common
    scale is amplified; what goes beyond black and white is clipped. `size`: longest side of a tile in pixels.
    `channel`: of the latent (default: the first where signed, all together as magnitude). `only`: one band.
    """

    wavelet: str = DEFAULT_WAVELET
    levels: int = DEFAULT_LEVELS
    space: str = "picture"
    show: str = "signed"
    added: bool = False
    look: str = "fast"
    size: int = 256
    channel: int | None = None
    only: int | None = None
    gain: float = 1.0

    def __post_init__(self) -> None:
        check_bands(self.wavelet, self.levels)
        check_look(self.look, LOOKS[1:])
        check_size(self.size)
        object.__setattr__(self, "gain", checked_gain(self.gain))
        if self.space not in ("picture", "latent"):
            raise InvalidRequest(
                f"Bands are those of the picture or of the latent, not of {self.space[:40]!r}.", "space"
            )
        if self.show not in ("signed", "magnitude"):
            raise InvalidRequest(f"Bands are shown signed or as magnitude, not {self.show[:40]!r}.", "show")
        if self.only is not None and not 0 <= self.only <= self.levels:
            raise InvalidRequest(f"Bands run from 0 to {self.levels}, not {self.only}.", "band")
        if self.channel is not None and self.channel < 0:
            raise InvalidRequest(f"Channels are counted from 0, not {self.channel}.", "channel")

    @property
    def chosen(self) -> tuple[int, ...]:
        """The bands that are drawn, coarse to fine."""
        return tuple(range(self.levels + 1)) if self.only is None else (self.only,)


class Viewer(Source):
    """What can be seen of the runs in a store: bytes of PNG and GIF files."""

    def strip(self, owner: str, run_id: str) -> bytes:
        """All small previews in one PNG. Raises NotThere."""
        found = self.runs.strip(owner, run_id)
        if found is None:
            raise NotThere("There are no previews of this run.")
        return found

    def thumbnail(self, owner: str, run_id: str) -> bytes:
        """The last small preview as PNG. Raises NotThere."""
        run = self.run(owner, run_id)
        return self._png(("thumbnail", owner, run.id), lambda: self._last_tile(owner, run))

    def step(
        self,
        owner: str,
        run_id: str,
        index: int,
        look: str = "full",
        show: str = "estimate",
        size: int | None = None,
        gain: float = 1.0,
    ) -> bytes:
        """One step as PNG at the picture's size, or with its longest side at most `size` px.

        `show` is the clean `estimate`, what the step `added` to it (grey is no change; `gain` amplifies the run's
        common scale), or the sample as it entered, still `noisy`. Raises NotThere, LatentsGone, CannotShow,
        InvalidRequest.
        """
        run = self.run(owner, run_id)
        check_step(run, index)
        check_look(look, LOOKS[1:])
        check_size(size)
        gain = checked_gain(gain)
        if show not in ("estimate", "added", "noisy"):
            raise InvalidRequest(f"{show[:40]!r} cannot be shown. Choose estimate, added or noisy.", "show")

        def make() -> drawing.Pixels:
            if show == "noisy":
                frame = self.frames(owner, run)[index]
                plane = self.pixels_of(run, frame.step.x, look, frame.step.layout)
            elif show == "added":
                scale = self._added_scale(owner, run) / gain
                return drawing.fitted(
                    drawing.signed(self.added(owner, run, index, look), scale).transpose(1, 2, 0), side
                )
            else:
                plane = self.plane(owner, run, index, look)
            return drawing.fitted(drawing.pixels_of(plane), side)

        side = size or SIZES[1]
        return self._png(("step", owner, run.id, index, look, show, size, gain if show == "added" else 1.0), make)

    def bands(self, owner: str, run_id: str, index: int, wish: BandWish) -> tuple[bytes, int, int]:
        """The bands of a step in one PNG, coarse to fine from top to bottom, and the width and height of a tile.

        Raises NotThere, LatentsGone, CannotShow, and InvalidRequest for a channel that the run does not have.
        """
        run = self.run(owner, run_id)
        check_step(run, index)
        if wish.channel is not None and wish.channel >= run.channels:
            raise InvalidRequest(f"Channels run from 0 to {run.channels - 1}, not {wish.channel}.", "channel")
        if wish.space == "picture":
            tile = Extent(run.request.width, run.request.height).fitted(wish.size)
        else:
            factor = max(wish.size // max(run.latent_height, run.latent_width), 1)
            tile = Extent(run.latent_width * factor, run.latent_height * factor)
        draw = self._picture_tiles if wish.space == "picture" else self._latent_tiles
        png = self._png(("bands", owner, run.id, index, wish), lambda: drawing.stacked(draw(owner, run, index, wish)))
        return png, tile.width, tile.height

    def difference(
        self, owner: str, run_id: str, other_id: str, index: int, other: int, gain: float, look: str
    ) -> tuple[bytes, float]:
        """What differs between a step of one run and a step of another, amplified around mid-grey; and the mean
        absolute difference in levels of 255.

        Raises NotThere, LatentsGone, CannotShow, InvalidRequest.
        """
        one, two = self.run(owner, run_id), self.run(owner, other_id)
        check_step(one, index)
        check_step(two, other)
        check_look(look, LOOKS[1:])
        if not (math.isfinite(gain) and 1 <= gain <= 64):
            raise InvalidRequest(f"The gain runs from 1 to 64, not {gain:g}.", "gain")
        if (one.request.width, one.request.height) != (two.request.width, two.request.height):
            raise InvalidRequest(
                f"These two cannot be laid over each other: {one.request.width} × {one.request.height} and "
                f"{two.request.width} × {two.request.height} pixels.",
                "other",
            )
        pixels = [
            drawing.pixels_of(self.plane(owner, run, k, look)).astype(np.float32)
            for run, k in ((one, index), (two, other))
        ]
        apart = pixels[0] - pixels[1]
        gain = round(gain, 1)  # finer ones look the same, and each would be kept
        key = ("difference", owner, one.id, two.id, index, other, gain, look)
        return self._png(key, lambda: drawing.signed(apart, 255 / gain)), float(np.abs(apart).mean())

    def contact_sheet(self, owner: str, run_id: str) -> bytes:
        """Every step with its number on one PNG. Raises NotThere, LatentsGone, CannotShow."""
        run = self.run(owner, run_id)

        def make() -> bytes:
            tiles = self._all_pixels(owner, run, STRIP_SIDE)
            labels = [str(number) for number in range(1, len(tiles) + 1)]
            return drawing.contact_sheet(tiles, labels, drawing.sheet_columns(len(tiles)))

        return self.cache.get(("contact", owner, run.id), make, len)

    def animation(self, owner: str, run_id: str, size: int = ANIMATION_SIDE, fps: float = 8.0) -> bytes:
        """The run as a looping GIF. Raises NotThere, LatentsGone, CannotShow, InvalidRequest."""
        run = self.run(owner, run_id)
        check_size(size)
        if not (math.isfinite(fps) and FPS[0] <= fps <= FPS[1]):
            raise InvalidRequest(f"An animation has {FPS[0]:g} to {FPS[1]:g} pictures a second, not {fps:g}.", "fps")

        extent = Extent(run.request.width, run.request.height).fitted(size)
        pixels = extent.width * extent.height * len(run.steps)
        if pixels > ANIMATION_PIXELS:
            most = int(max(extent.width, extent.height) * math.sqrt(ANIMATION_PIXELS / pixels)) - 1
            raise InvalidRequest(
                f"{len(run.steps)} pictures of {extent.width} × {extent.height} pixels are too much for one "
                f"animation. Choose a size of at most {most}.",
                "size",
            )
        fps = 100 / drawing.hundredths(fps)  # what a GIF can say: finer ones would be the same file again

        def make() -> bytes:
            return drawing.animation(self._all_pixels(owner, run, size), fps)

        return self.cache.get(("animation", owner, run.id, extent, fps), make, len)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _added_scale(self, owner: str, run: KeptRun) -> float:
        """What white stands for where a step's whole change is shown, in [-1, 1] units: common over the run."""
        picture, _, _ = self.measured(owner, run, DEFAULT_WAVELET, DEFAULT_LEVELS, "auto")
        if picture is None:
            raise CannotShow("This model's steps cannot be shown as pictures.")
        return numbers.whole_added_scale(picture.change, run.request.width * run.request.height * 3)

    def _picture_tiles(self, owner: str, run: KeptRun, index: int, wish: BandWish) -> list[drawing.Pixels]:
        found, _, _ = self.measured(owner, run, wish.wavelet, wish.levels, "auto")
        assert found is not None  # or there would be no plane
        samples = run.request.width * run.request.height * 3
        scale = _scales(found, samples, wish)
        plane = (self.added if wish.added else self.plane)(owner, run, index, wish.look)
        split = wish.wavelet, wish.levels
        paint = drawing.signed if wish.show == "signed" else drawing.magnitude
        tiles = []
        for band, part in zip(wish.chosen, numbers.band_planes(drawing.luma(plane), *split, wish.only), strict=True):
            if band == 0 and wish.show == "signed" and not wish.added:  # what is left of the picture, in colour
                pixels = drawing.pixels_of(numbers.band_planes(plane, *split, 0)[0])
            else:
                pixels = drawing.coloured(paint(part, scale[band]))
            tiles.append(drawing.fitted(pixels, wish.size))
        return tiles

    def _latent_tiles(self, owner: str, run: KeptRun, index: int, wish: BandWish) -> list[drawing.Pixels]:
        frames = self.frames(owner, run)
        _, found, _ = self.measured(owner, run, wish.wavelet, wish.levels, "fast")
        samples = run.channels * run.latent_height * run.latent_width
        scale = _scales(found, samples, wish)
        plane = frames[index].latents
        if wish.added and index:
            plane = plane - frames[index - 1].latents
        tiles = []
        parts = numbers.band_planes(plane, wish.wavelet, wish.levels, wish.only)
        for band, part in zip(wish.chosen, parts, strict=True):
            if wish.show == "signed":
                grey = drawing.signed(part[wish.channel or 0], scale[band])
            else:
                one = part[wish.channel] if wish.channel is not None else np.sqrt(np.square(part).mean(axis=0))
                grey = drawing.magnitude(one, scale[band])
            tiles.append(drawing.coloured(drawing.enlarged(grey, wish.size)))
        return tiles

    def _all_pixels(self, owner: str, run: KeptRun, longest: int) -> list[drawing.Pixels]:
        """Every step, each made smaller before the next is looked at: all of them at full size may be gigabytes."""
        frames = self.frames(owner, run)
        look = self.usual_look(owner, run, frames)
        return [
            drawing.fitted(drawing.pixels_of(self.plane(owner, run, k, look)), longest) for k in range(len(frames))
        ]

    def _last_tile(self, owner: str, run: KeptRun) -> drawing.Pixels:
        if run.strip is None:
            raise NotThere("There is no small picture of this run.")
        index = len(run.steps) - 1
        left = index % run.strip.columns * run.strip.tile_width
        top = index // run.strip.columns * run.strip.tile_height
        box = left, top, left + run.strip.tile_width, top + run.strip.tile_height
        try:
            sprite = Image.fromarray(read_picture(self.strip(owner, run.id))[..., :3])
        except UnreadablePicture as problem:
            raise NotThere("The small picture of this run is damaged.") from problem
        tile = sprite.crop(box)
        return drawing.fitted(np.asarray(tile, dtype=np.uint8), THUMBNAIL_SIDE)

    def _png(self, key: tuple[object, ...], make: Callable[[], drawing.Pixels]) -> bytes:
        return self.cache.get(("png", *key), lambda: drawing.quick_png(make()), lambda png: len(png) + _ENTRY)


def _scales(found: BandNumbers, samples: int, wish: BandWish) -> list[float]:
    """What white stands for in each band, common over the run."""
    common = numbers.added_scales(found.change, samples) if wish.added else numbers.scales(found.energy, samples)
    return [scale / wish.gain for scale in common]
