"""`fill`: a region of a picture painted anew, without a page. What is outside of the mask stays byte for byte."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from studio.commands.generate import (
    ProgressBar,
    corrected,
    files_for,
    find_solver,
    integer,
    read_size,
    told_of,
)
from studio.engine import Engine
from studio.errors import InvalidRequest, StudioError, UnreadablePicture
from studio.imaging.geometry import Bounds, Extent
from studio.imaging.png import MAX_FILE, read_picture
from studio.prompts.prepared import prepared
from studio.requests import INTENTS, METHODS, PREFILLS, SOLVERS, Fill, TextToImage, batch
from studio.whole_file import write_whole

if TYPE_CHECKING:
    from studio.filling import Count, Filling

Pixels = NDArray[np.uint8]

_MEANINGS = "fill, replace: with what the prompt says; remove: continue what is around; expand: the same, beyond the \
picture's transparent border; refine, vary: keep the content, more or less"


def add_to(commands: Any) -> None:
    parser = commands.add_parser("fill", help="paint a region of a picture anew", allow_abbrev=False)
    parser.add_argument("image", metavar="IMAGE", type=Path, help="a PNG, JPEG, WebP or TIFF; transparent is unknown")
    parser.add_argument("mask", metavar="MASK", type=Path, help="of the same size: white is filled, black stays")
    parser.add_argument("prompt", metavar="PROMPT", nargs="?", default="", help="what shall be there; behind MASK")
    parser.add_argument("--intent", default="fill", metavar="INTENT", help=f"{_MEANINGS} (default fill)")
    parser.add_argument(
        "--start", type=integer, default=None, help="steps left out at the beginning: 0 invents, later keeps more"
    )
    parser.add_argument("--grow", type=integer, default=0, help="pixels to grow the mask by; negative shrinks")
    parser.add_argument("--feather", type=integer, default=Fill.feather, help="pixels, inward (default %(default)s)")
    parser.add_argument("--margin", type=integer, default=None, help="pixels around the mask that the model sees")
    parser.add_argument("--context", default=None, metavar="X,Y,WxH", help="what the model sees, instead of a margin")
    parser.add_argument("--prefill", default="auto", help=f"one of: {', '.join(PREFILLS)} (default auto)")
    parser.add_argument("--harmonise", type=integer, default=None, help="rounds in which steps are made again")
    parser.add_argument("--keep-colours", action="store_true", help="do not match the new colours to those around")
    parser.add_argument("--method", default="auto", help=f"one of: {', '.join(METHODS)} (default auto)")
    parser.add_argument("--negative", default="", metavar="TEXT", help="words to steer away from")
    parser.add_argument("--seed", type=integer, default=0, help="0 to 4294967295 (default 0)")
    parser.add_argument("--steps", type=integer, default=None, help="denoising steps (default: the model's own)")
    parser.add_argument("--guidance", type=float, default=None, help="0 loose to 30 to the word")
    parser.add_argument("--solver", default=None, help=f"one of: {', '.join(SOLVERS)}")
    parser.add_argument("--size", default=None, metavar="WxH", help="to work at (default: what suits the model)")
    parser.add_argument("--model", default="painter", metavar="NAME|FOLDER|FILE|ID", help="default: painter")
    parser.add_argument("--correction", default="off", metavar="FILE|calibrated|off", help="as for `generate`")
    parser.add_argument("--count", type=integer, default=1, help="variations, with seeds counting up from --seed")
    parser.add_argument("--json", action="store_true", help="tell about the fills as JSON on stdout")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.png|FOLDER", help="where to write")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from studio.filling import Filling
    from studio.imaging.compositing import paste

    source, mask = read_file(options.image), read_mask(options.mask)
    engine = Engine(options.model)
    size = Extent(*read_size(options.size)) if options.size is not None else None
    first = Filling.of(_fill(options, engine), source, mask, engine.card(), size)
    fillings = [first.with_seed(fill.seed) for fill in batch(first.fill, options.count)]
    files = files_for(options.out, [filling.painting for filling in fillings])
    told = []
    for index, (filling, file) in enumerate(zip(fillings, files, strict=True), start=1):
        bar = ProgressBar(index, len(fillings)) if sys.stderr.isatty() else None
        try:
            picture = engine.run(filling.painting, on_progress=bar, previews=False, approach=filling.approach)
        finally:
            if bar is not None:
                bar.close()
        done = filling.finished(picture)
        whole = paste(source, done.layer.pixels, done.layer.x, done.layer.y)
        _check(source, whole, done.count)
        write_whole(file, done.picture.to_png(whole))
        told.append(told_of(file, picture) | {"fill": done.picture.fill, "count": done.count.to_dict()})
        if not options.json:
            print(_line(file, filling, done.count, picture.seconds))
    if options.json:
        print(json.dumps(told, indent=2, ensure_ascii=False))
    return 0


def read_file(path: Path) -> Pixels:
    """A picture from a file, uint8 (H, W, 3) or (H, W, 4). Raises StudioError, naming the file."""
    try:
        if path.stat().st_size > MAX_FILE:
            raise UnreadablePicture(f"it is larger than {MAX_FILE >> 20} MB")
        return read_picture(path.read_bytes())
    except OSError as problem:
        raise StudioError(f"{path} cannot be read: {problem.strerror or problem}.") from problem
    except UnreadablePicture as problem:
        raise UnreadablePicture(f"{path}: {problem}") from problem


def read_mask(path: Path) -> Pixels:
    """A mask from a file, uint8 (H, W): how bright it is, or how opaque where that varies. Raises StudioError."""
    from studio.imaging.masks import mask_of

    return mask_of(read_file(path))


def _fill(options: argparse.Namespace, engine: Engine) -> Fill:
    card = engine.card()
    if options.intent not in INTENTS:
        raise InvalidRequest(
            f"'{options.intent[:40]}' is not an intent. Choose one of {', '.join(INTENTS)}.", "intent"
        )
    guidance = INTENTS[options.intent].guidance_for(card.guidance_scale)
    painting = TextToImage(
        prompt=options.prompt,
        negative_prompt=options.negative,
        width=card.width,
        height=card.height,
        num_inference_steps=card.num_inference_steps if options.steps is None else options.steps,
        guidance_scale=guidance if options.guidance is None else options.guidance,
        solver=card.solver if options.solver is None else find_solver(options.solver),
        seed=options.seed,
        model=options.model,
    )
    return Fill.of(
        prepared(corrected(painting, options.correction), weighs=engine.weighs(options.model)),
        options.intent,
        start=options.start,
        grow=options.grow,
        feather=options.feather,
        margin=options.margin,
        context=_context(options.context) if options.context is not None else None,
        prefill=options.prefill,
        harmonise=options.harmonise,
        match_colour=not options.keep_colours,
        method=options.method,
    )


def _context(text: str) -> Bounds:
    """A rectangle from "40,0,256x192". Raises InvalidRequest."""
    parts = text.replace(" ", "").split(",")
    if len(parts) == 3 and all(part.isascii() and part.isdigit() and len(part) < 6 for part in parts[:2]):
        width, height = read_size(parts[2])
        if width and height:
            return Bounds(int(parts[0]), int(parts[1]), width, height)
    raise InvalidRequest(
        f"'{text[:40]}' is no rectangle. Write it like 40,0,256x192: from the left, from the top, width and height.",
        "context",
    )


def _check(before: Pixels, after: Pixels, count: Count) -> None:
    """Compares the whole pictures. Raises AssertionError if more changed than the fill says."""
    changed = int(np.count_nonzero((before != after).any(axis=2)))
    if changed != count.changed or count.outside_changed:
        raise AssertionError(f"{changed} pixels changed, {count} were to.")


def _line(file: Path, filling: Filling, count: Count, seconds: float) -> str:
    working = filling.working
    return (
        f"{file}  seed {filling.fill.seed}, {count.changed:,} pixels filled, {count.untouched:,} untouched, "
        f"worked at {working.width} × {working.height}, {seconds:.1f} s"
    )
