"""`verify`: paints what a PNG says it is once more, and says whether the same came out."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.commands.fill import read_mask
from studio.engine import Engine
from studio.errors import InvalidRequest, ModelNotFound, StudioError, UnreadablePicture, shown
from studio.imaging.geometry import Extent
from studio.imaging.png import MAX_FILE, read_picture
from studio.models import catalogue
from studio.picture import Picture, Pixels
from studio.project.carried_fill import KEPT_BACK, LEFT_OUT, NOT_ASKED
from studio.project.store import note_in
from studio.requests import Fill, TextToImage
from studio.verifying import Verdict, as_put_in, carried_filling, checked, paint_again, picture_before

if TYPE_CHECKING:
    from studio.filling import Filling

IDENTICAL, DIFFERENT = 0, 1  # exit codes; 2 is an error, as everywhere


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "verify", help="paint a PNG again from what it carries, and compare", allow_abbrev=False
    )
    parser.add_argument("file", type=Path, metavar="FILE.png", help="a picture that was painted by this studio")
    parser.add_argument(
        "--model", default=None, metavar="NAME|FOLDER|FILE|ID", help="where its model is, if not in the catalogue"
    )
    parser.add_argument(
        "--source", type=Path, default=None, metavar="FILE.png", help="of a fill that carries none: the picture before"
    )
    parser.add_argument(
        "--mask", type=Path, default=None, metavar="FILE.png", help="of a fill that carries none: its mask, grey"
    )
    parser.add_argument("--json", action="store_true", help="tell as JSON on stdout")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    found = verify(options.file, options.model, options.source, options.mask)
    if options.json:
        told = {"file": str(options.file), **dataclasses.asdict(found)}
        print(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        print("\n  ".join([f"{options.file}: {found.answer()}", *found.reasons()]))
    return IDENTICAL if found.identical else DIFFERENT


def verify(file: Path, model: str | None = None, source: Path | None = None, mask: Path | None = None) -> Verdict:
    """Paints the picture in `file` again and compares. Raises StudioError where that is not possible."""
    png = _bytes_of(file)
    request, _ = checked(png)
    engine = Engine(model or _model(request.model))
    request = dataclasses.replace(request, model=engine.default_model)
    filling, before = _filling(png, request, engine, source, mask)
    if filling is not None and before is None and _is_whole(filling, png):
        return Verdict(False, around=True)
    engine.load()

    def as_in_file(again: Picture, painted: Pixels) -> Pixels:
        return as_put_in(filling, again, painted, before) if filling is not None else again.pixels

    found = paint_again(png, request, engine, filling, as_in_file)
    assert found is not None  # nobody cancels it
    return found


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
    png: bytes, request: TextToImage, engine: Engine, source: Path | None, mask: Path | None
) -> tuple[Filling | None, Pixels | None]:
    """The fill that the picture is, or None if it is none; and the whole picture before it, as far as that is known.

    From `source` and `mask` if they are given, else from what the file carries.
    """
    note = note_in(png)
    values = note.get("fill")
    if not isinstance(values, dict):
        if source is not None or mask is not None:
            raise InvalidRequest("This picture is no fill: it has no source and no mask.", "source")
        return None, None
    if source is None and mask is None:
        carried = carried_filling(png, request)
        if carried is None:
            said = note.get("carried")
            why = "neither is in the file"
            if said == LEFT_OUT:
                why = "they are too large to be in the file"
            elif said == KEPT_BACK:
                why = "what was to be taken away is not in the file"
            raise InvalidRequest(
                f"This picture is a fill. Give the picture before with --source and the mask with --mask: {why}.",
                "source",
            )
        return carried, picture_before(carried, read_picture(png))
    if source is None or mask is None:
        raise InvalidRequest(
            "Give both the picture before with --source and the mask with --mask, or neither.",
            "source" if source is None else "mask",
        )
    return _given(values, request, engine, source, mask)


def _given(
    values: Mapping[str, Any], request: TextToImage, engine: Engine, source: Path, mask: Path
) -> tuple[Filling, Pixels]:
    from studio.filling import Filling

    fields = {key: value for key, value in values.items() if key not in NOT_ASKED}
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
    return filling, before


def _is_whole(filling: Filling, png: bytes) -> bool:
    """Whether the file shows the whole picture, and not what the model painted."""
    height, width = read_picture(png).shape[:2]
    size = Extent(width, height)
    return size == filling.picture and size != filling.working


def _bytes_of(file: Path) -> bytes:
    try:
        if file.stat().st_size > MAX_FILE:
            raise UnreadablePicture(f"{file} is larger than any picture of the studio's.")
        return file.read_bytes()
    except OSError as problem:
        raise StudioError(f"{file} cannot be read: {problem.strerror or problem}.") from problem
