"""`verify`: paints what a PNG says it is once more, and says whether the same came out."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from studio.commands.fill import read_mask
from studio.engine import Engine, Progress
from studio.errors import InvalidRequest, ModelNotFound, StudioError, UnreadablePicture, shown
from studio.imaging.png import MAX_FILE, read_picture
from studio.models import catalogue
from studio.picture import Picture
from studio.project.store import note_in, request_in
from studio.requests import Fill, TextToImage

if TYPE_CHECKING:
    from studio.filling import Filling

Pixels = NDArray[np.uint8]

IDENTICAL, DIFFERENT = 0, 1  # exit codes; 2 is an error, as everywhere
THREADS_LIMIT = 256
_NAMES = {"weights": "the model's weights", "machine": "the processor", "dtype": "the kind of numbers"}
_FILE_ONLY = ("picture", "source", "mask")  # of a fill's note: facts about its inputs, no part of the request


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

    file: Path
    identical: bool
    distance: Distance | None = None  # None for equal pictures, and for those of different sizes
    differs: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    sizes: tuple[str, str] | None = None  # the file's and the one painted, where they differ

    def words(self) -> str:
        return "\n".join([self._first(), *self._reasons()])

    def _first(self) -> str:
        if self.identical:
            return f"{self.file}: identical"
        if self.distance is None:
            was, now = self.sizes or ("", "")
            return f"{self.file}: different. It is {was} px, its request paints {now} px."
        return (
            f"{self.file}: different. {100 * self.distance.share:.1f} % of the values differ, by "
            f"{self.distance.largest} of 255 at most and {self.distance.mean:.3f} on average "
            f"(PSNR {self.distance.psnr:.1f} dB)."
        )

    def _reasons(self) -> list[str]:
        lines = [f"  {_NAMES.get(name, name)}: was {was}, is {now}" for name, (was, now) in self.differs.items()]
        if not self.identical and not lines:
            lines.append("  Everything that the file says it was made with is the same here. Was the picture changed?")
        return lines


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "verify", help="paint a PNG again from what it carries, and compare", allow_abbrev=False
    )
    parser.add_argument("file", type=Path, metavar="FILE.png", help="a picture that was painted by this studio")
    parser.add_argument(
        "--model", default=None, metavar="NAME|FOLDER|FILE|ID", help="where its model is, if not in the catalogue"
    )
    parser.add_argument("--source", type=Path, default=None, metavar="FILE.png", help="of a fill: the picture before")
    parser.add_argument("--mask", type=Path, default=None, metavar="FILE.png", help="of a fill: its mask, grey")
    parser.add_argument("--json", action="store_true", help="tell as JSON on stdout")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    found = verify(options.file, options.model, options.source, options.mask)
    if options.json:
        told = {**dataclasses.asdict(found), "file": str(found.file)}
        print(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        print(found.words())
    return IDENTICAL if found.identical else DIFFERENT


def verify(file: Path, model: str | None = None, source: Path | None = None, mask: Path | None = None) -> Verdict:
    """Paints the picture in `file` again and compares. Raises StudioError where that is not possible."""
    png = _bytes_of(file)
    note = note_in(png)
    request, stopped_at = request_in(png)
    _check_branch(note)
    engine = Engine(model or _model(request.model))
    request = dataclasses.replace(request, model=engine.default_model)
    painted = read_picture(png)
    filling = _filling(note, request, engine, source, mask)
    engine.load()
    found = None
    for stop in _stops(request, stopped_at):
        with _threads(note.get("made_with")):
            again = engine.run(
                filling.painting if filling is not None else request,
                on_progress=stop.passed if stop else None,
                cancelled=stop.is_there if stop else None,
                previews=False,
                approach=filling.approach if filling is not None else None,
            )
        pixels = _as_in_file(filling, again, painted, source) if filling is not None else again.pixels
        found = _compared(file, painted, pixels, note.get("made_with"), again.made_with)
        if found.identical:
            break
    assert found is not None
    return found


def _compared(file: Path, painted: Pixels, pixels: Pixels, was: object, now: Mapping[str, str]) -> Verdict:
    before = was if isinstance(was, dict) else {}
    differs = {
        name: (shown(str(before[name])), now[name])
        for name in sorted(now.keys() & before.keys())
        if str(before[name]) != now[name]
    }
    if painted.shape != pixels.shape:
        file_size, here = (f"{p.shape[1]} × {p.shape[0]}" for p in (painted, pixels))
        return Verdict(file, False, differs=differs, sizes=(file_size, here))
    if np.array_equal(painted, pixels):
        return Verdict(file, True, differs=differs)
    return Verdict(file, False, Distance.between(painted, pixels), differs)


@contextlib.contextmanager
def _threads(was: object) -> Iterator[None]:
    """As many threads as the picture was painted with: sums are added up in another order with another number."""
    import torch

    said = str(was.get("threads", "")) if isinstance(was, dict) else ""
    before = torch.get_num_threads()
    if said.isascii() and said.isdigit() and 1 <= int(said[:4]) <= THREADS_LIMIT:
        torch.set_num_threads(int(said[:4]))
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Stop:
    """Ends a run where a person did: after `evaluations` of the model beyond step `after`."""

    def __init__(self, after: int, evaluations: int) -> None:
        self._after = after
        self._evaluations = evaluations
        self._finished = 0
        self._beyond = 0

    def passed(self, progress: Progress) -> None:
        self._finished = progress.number

    def is_there(self) -> bool:
        self._beyond += self._finished >= self._after
        return self._beyond >= self._evaluations


def _stops(request: TextToImage, stopped_at: int | None) -> list[_Stop | None]:
    """Where the picture can have been stopped. Heun evaluates twice a step, and the file says only the step."""
    if stopped_at is None:
        return [None]
    if request.solver != "Heun":
        return [_Stop(stopped_at - 1, 1)]
    return [*([_Stop(stopped_at - 1, 2)] if stopped_at else []), _Stop(stopped_at, 1)]


def _check_branch(note: Mapping[str, Any]) -> None:
    branch = note.get("branch")
    if isinstance(branch, dict) and (branch.get("from") or len(branch) > 2):
        at = branch.get("from")
        where = f"at step {at + 1}" if isinstance(at, int) and not isinstance(at, bool) else "on its way"
        raise StudioError(
            f"This picture left another run {where}. The steps before that, and what was painted into them, are in "
            "the studio's data and not in the file, so the file alone cannot be painted again. The picture of the "
            "run that it left can."
        )


def _model(name: str) -> str:
    """The name of the model that a file asks for, if it is one that may be loaded at a file's word."""
    try:
        return catalogue.named(name).name
    except ModelNotFound as problem:
        raise ModelNotFound(
            f"The picture was painted by '{shown(name)}', which is not in the catalogue. Say where that model is with "
            "--model; a file may not choose what is loaded."
        ) from problem


def _filling(
    note: Mapping[str, Any], request: TextToImage, engine: Engine, source: Path | None, mask: Path | None
) -> Filling | None:
    """The fill that the picture is, with its source and mask, or None if it is none."""
    values = note.get("fill")
    if not isinstance(values, dict):
        if source is not None or mask is not None:
            raise InvalidRequest("This picture is no fill: it has no source and no mask.", "source")
        return None
    if source is None or mask is None:
        raise InvalidRequest(
            "This picture is a fill. Give the picture before with --source and the mask with --mask: neither is in "
            "the file.",
            "source",
        )
    from studio.filling import Filling
    from studio.imaging.geometry import Extent

    fields = {key: value for key, value in values.items() if key not in _FILE_ONLY}
    fill = Fill.from_dict({**fields, "painting": request.to_dict()})
    before, region = read_picture(_bytes_of(source)), read_mask(mask)
    filling = Filling.of(fill, before, region, engine.card(), Extent(request.width, request.height))
    for name, said, digest, path in (
        ("source", values.get("source"), filling.source_digest, source),
        ("mask", values.get("mask"), filling.mask_digest, mask),
    ):
        if isinstance(said, str) and said != digest:
            raise InvalidRequest(
                f"{path} is not the {name} that this picture was filled from: its pixels differ.", name
            )
    return filling


def _as_in_file(filling: Filling, again: Picture, painted: Pixels, source: Path | None) -> Pixels:
    """The fill as the file shows it: as the model painted it, or put into the whole picture."""
    if painted.shape[:2] == again.pixels.shape[:2] or source is None:
        return again.pixels
    from studio.imaging import compositing

    layer = filling.finished(again).layer
    before = read_picture(_bytes_of(source))
    return compositing.paste(before, layer.pixels, layer.x, layer.y)


def _bytes_of(file: Path) -> bytes:
    try:
        if file.stat().st_size > MAX_FILE:
            raise UnreadablePicture(f"{file} is larger than any picture of the studio's.")
        return file.read_bytes()
    except OSError as problem:
        raise StudioError(f"{file} cannot be read: {problem.strerror or problem}.") from problem
