"""Paints what a PNG says it is once more, and says whether the same came out.

Knows pictures and the engine that paints them, not where a file, a fill's source or a model were found.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from studio.engine import Engine, Progress
from studio.errors import OutOfMemory, StudioError, shown
from studio.imaging.geometry import Extent
from studio.imaging.plain_png import digest_of
from studio.imaging.png import read_picture
from studio.passage import Approach
from studio.picture import Picture, Pixels, software_of_fills
from studio.project import carried_branch
from studio.project.carried_fill import fill_of, region_in
from studio.project.store import note_in, request_in
from studio.requests import TextToImage
from studio.viewer.branching import approach_of
from studio.viewer.fills import filling_of

if TYPE_CHECKING:
    from studio.diffusion.continuation import Continuation
    from studio.filling import Filling
    from studio.viewer.source import Source

THREADS_LIMIT = 64  # that a file may ask for where there are not so many processors
_NAMES = {"weights": "the model's weights", "machine": "the processor", "dtype": "the kind of numbers"}


@dataclass(frozen=True)
class Distance:
    """How far two pictures are apart, over all values of all pixels."""

    largest: int  # of 255
    mean: float
    share: float  # of the values that differ at all
    psnr: float  # dB

    @classmethod
    def between(cls, one: Pixels, other: Pixels) -> Distance:
        """Of two pictures of one size that are not equal."""
        apart = np.abs(one.astype(np.int16) - other.astype(np.int16))
        power = float(np.mean(apart.astype(np.float64) ** 2))
        changed = float(np.count_nonzero(apart) / apart.size)
        return cls(int(apart.max()), float(apart.mean()), changed, 10 * math.log10(255**2 / power))


@dataclass(frozen=True)
class Verdict:
    """What painting again came to. `differs` names what the file was made with and what is here, where they differ."""

    identical: bool
    distance: Distance | None = None  # None for equal pictures, and for those of different sizes
    differs: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    sizes: tuple[str, str] | None = None  # the file's and the one painted, where they differ
    around: bool = False  # it differs in what is no part of the fill, and was not painted again

    def answer(self) -> str:
        """What came out, in a few words."""
        if self.identical:
            return "identical"
        if self.around:
            return "different. What is around the fill is not the picture that it was put into."
        if self.distance is None:
            was, now = self.sizes or ("", "")
            return f"different. It is {was} px, its request paints {now} px."
        return (
            f"different. {100 * self.distance.share:.1f} % of the values differ, by "
            f"{self.distance.largest} of 255 at most and {self.distance.mean:.3f} on average "
            f"(PSNR {self.distance.psnr:.1f} dB)."
        )

    def reasons(self) -> list[str]:
        """What is otherwise here than where the file was made, a line each."""
        lines = [f"{_NAMES.get(name, name)}: was {was}, is {now}" for name, (was, now) in self.differs.items()]
        if not self.identical and not lines and not self.around:
            lines.append("Everything that the file says it was made with is the same here. Was the picture changed?")
        return lines

    def told(self) -> dict[str, Any]:
        """As a page shows it."""
        return {"identical": self.identical, "answer": self.answer(), "reasons": self.reasons()}


def checked(png: bytes) -> tuple[TextToImage, int | None]:
    """The request of a PNG that can be painted again from it, and the step at which it was stopped.

    Raises StudioError for a file that is none of ours, or that alone cannot be painted again.
    """
    note = note_in(png)
    if carried_branch.is_more_than_asked(note) and not carried_branch.carries(png, note):
        raise StudioError(carried_branch.why_alone(note))
    return request_in(png)


def filling_beside(png: bytes, source: Source | None, owner: str, picture_id: str) -> Filling | None:
    """The fill that a kept picture is, with the pixels that are kept beside its run; None if it is none.

    Raises StudioError if they are not there any more.
    """
    if not isinstance(note_in(png).get("fill"), dict):
        return None
    run = source.runs.get(owner, picture_id) if source is not None else None
    filling = filling_of(source, owner, run) if source is not None and run is not None else None
    if filling is None:
        raise StudioError("What this picture was filled from is not here any more.")
    return filling


def carried_filling(png: bytes, request: TextToImage) -> Filling | None:
    """The fill that a PNG with this request is, with the pixels that it carries; None if it is none or carries none.

    Raises StudioError where what it carries is damaged, or is not what its note says.
    """
    from studio.filling import Filling

    note = note_in(png)
    found = fill_of(note, request) if "carried" in note else None
    region = region_in(png, note, found.frame.extent) if found is not None else None
    return Filling.again(found, region) if found is not None and region is not None else None


def picture_before(filling: Filling, painted: Pixels) -> Pixels | None:
    """The whole picture before its fill, from `painted`, into which the fill was put. None if it is another one.

    Outside of the frame nothing was changed, and what was inside is known: the digest tells whether that is so.
    """
    if Extent(painted.shape[1], painted.shape[0]) != filling.picture:
        return None
    before = np.array(painted)
    before[filling.frame.slices] = filling.source[..., : painted.shape[2]]
    return before if digest_of(before) == filling.source_digest else None


def as_put_in(filling: Filling, again: Picture, painted: Pixels, before: Pixels | None) -> Pixels:
    """A fill as its file shows it, whose pixels are `painted`: as the model painted it, or put into the picture that
    was there `before`. Both may have the same size; what is nearer is meant.
    """
    if before is None or before.shape != painted.shape:
        return again.pixels
    from studio.imaging import compositing

    layer = filling.finished(again).layer
    whole = compositing.paste(before, layer.pixels, layer.x, layer.y)
    if painted.shape != again.pixels.shape:
        return whole
    return min(whole, again.pixels, key=lambda pixels: np.count_nonzero(pixels != painted))


def paint_again(
    png: bytes,
    request: TextToImage,
    engine: Engine,
    filling: Filling | None = None,
    as_in_file: Callable[[Picture, Pixels], Pixels] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Verdict | None:
    """Paints the picture in `png` again and compares; None if it was `cancelled`.

    `request` is the file's, perhaps under the name that its model has here. A fill needs its `filling`; `as_in_file`
    gives the pixels of what was painted as the file shows them, whose own pixels it is told. A branch goes on as its
    file says. Raises StudioError.
    """
    note, (_, stopped_at) = note_in(png), checked(png)
    painted = read_picture(png)
    going = carried_branch.going_in(png, note)
    inner = filling.approach if filling is not None else None
    found = None
    for stop in _stops(request, stopped_at, going):
        with _threads(note.get("made_with")), _words_of_its_own(going, note.get("made_with")):
            again = engine.run(
                filling.painting if filling is not None else request,
                on_progress=_all_of(stop.passed if stop else None, on_progress),
                cancelled=_any_of(stop.is_there if stop else None, cancelled),
                previews=False,
                mask=_mask_of(going),
                approach=_approach(going, inner),
            )
        if cancelled is not None and cancelled():
            return None
        pixels = as_in_file(again, painted) if as_in_file is not None else again.pixels
        here = {**again.made_with, **software_of_fills()} if filling is not None else again.made_with
        found = _compared(painted, pixels, note.get("made_with"), here)
        if found.identical:
            break
    assert found is not None
    return found


def _approach(going: Continuation | None, inner: Approach | None) -> Approach | None:
    return approach_of(going, inner, elsewhere=True) if going is not None else inner


def _mask_of(going: Continuation | None) -> NDArray[np.float32] | None:
    return going.mask.float().numpy() if going is not None and going.mask is not None else None


@contextlib.contextmanager
def _words_of_its_own(going: Continuation | None, was: object) -> Iterator[None]:
    """What a file says of where a branch goes on is put into a solver that is here. Where the two do not fit, that is
    said, and with what the file was made.
    """
    if going is None:
        yield
        return
    software = was if isinstance(was, dict) else {}
    here = {name: version(name) for name in ("diffusers", "torch", "transformers")}
    others = [
        f"{name} {shown(str(software[name]))}, and {now} is here"
        for name, now in here.items()
        if str(software.get(name, now)) != now
    ]
    hint = f" It was made with {'; '.join(others)}." if others else ""
    try:
        yield
    except OutOfMemory:
        raise
    except StudioError as problem:
        raise StudioError(f"This branch cannot go on here. {problem}{hint}") from problem
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as problem:
        raise StudioError(
            f"What this PNG carries of its branch does not fit the solver that is here.{hint}"
        ) from problem


def _all_of(*told: Callable[[Progress], None] | None) -> Callable[[Progress], None] | None:
    known = [each for each in told if each is not None]

    def tell(progress: Progress) -> None:
        for each in known:
            each(progress)

    return tell if known else None


def _any_of(*asked: Callable[[], bool] | None) -> Callable[[], bool] | None:
    known = [each for each in asked if each is not None]
    return (lambda: any(each() for each in known)) if known else None  # the first is always asked: it may count


def _compared(painted: Pixels, pixels: Pixels, was: object, now: Mapping[str, str]) -> Verdict:
    before = was if isinstance(was, dict) else {}
    differs = {
        name: (shown(str(before[name])), now[name])
        for name in sorted(now.keys() & before.keys())
        if str(before[name]) != now[name]
    }
    if painted.shape != pixels.shape:
        file_size, here = (f"{p.shape[1]} × {p.shape[0]}" for p in (painted, pixels))
        return Verdict(False, differs=differs, sizes=(file_size, here))
    if np.array_equal(painted, pixels):
        return Verdict(True, differs=differs)
    return Verdict(False, Distance.between(painted, pixels), differs)


@contextlib.contextmanager
def _threads(was: object) -> Iterator[None]:
    """As many threads as the picture was painted with: sums are added up in another order with another number."""
    import torch

    said = str(was.get("threads", "")) if isinstance(was, dict) else ""
    before = torch.get_num_threads()
    if said.isascii() and said.isdigit() and 1 <= int(said[:4]) <= max(THREADS_LIMIT, os.cpu_count() or 1):
        torch.set_num_threads(int(said[:4]))
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Stop:
    """Ends a run, which begins after step `begun`, where a person did: after `evaluations` of the model beyond step
    `after`.
    """

    def __init__(self, after: int, evaluations: int, begun: int = 0) -> None:
        self._after = after
        self._evaluations = evaluations
        self._finished = begun
        self._beyond = 0

    def passed(self, progress: Progress) -> None:
        self._finished = progress.number

    def is_there(self) -> bool:
        self._beyond += self._finished >= self._after
        return self._beyond >= self._evaluations


def _stops(request: TextToImage, stopped_at: int | None, going: Continuation | None) -> list[_Stop | None]:
    """Where the picture can have been stopped. Heun evaluates twice a step, and the file says only the step."""
    if stopped_at is None:
        return [None]
    twice = request.solver == "Heun"
    point = going.point if going is not None else None
    begun = 0 if point is None else point.index // point.facts.order
    # with another number of steps, where a run goes on is not known: its first step may be the one
    begins = {begun} if point is None or not point.another_way else {0, max(stopped_at - 1, 0)}
    stops: list[_Stop | None] = []
    for first in sorted(begins):
        if stopped_at:
            stops.append(_Stop(stopped_at - 1, 2 if twice else 1, first))
        if twice or not stopped_at:
            stops.append(_Stop(stopped_at, 1, first))
    return stops
