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
from studio.imaging.png import MAX_FILE, read_picture
from studio.models import catalogue
from studio.picture import Picture, Pixels
from studio.project.store import note_in
from studio.requests import Fill, TextToImage
from studio.verifying import Verdict, checked, paint_again

if TYPE_CHECKING:
    from studio.filling import Filling

IDENTICAL, DIFFERENT = 0, 1  # exit codes; 2 is an error, as everywhere
_FILE_ONLY = ("picture", "source", "mask")  # of a fill's note: facts about its inputs, no part of the request


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
    filling = _filling(note_in(png), request, engine, source, mask)
    engine.load()

    def as_in_file(again: Picture, painted: Pixels) -> Pixels:
        return _as_in_file(filling, again, painted, source) if filling is not None else again.pixels

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
